package simulation

import "math/rand/v2"

// tape is all that is left to chance in a history: what was drawn, in order. A history is a function of its tape, so that
// a part of a tape can be wiped and the history run again. Of the options of a draw the first is the simplest; beyond the
// tape's end it is always taken.
type tape struct {
	random *rand.Rand // draws what is not on the tape yet; nil once that is over
	drawn  []uint8
	at     int
}

func newTape(seed uint64) *tape { return &tape{random: rand.New(rand.NewPCG(seed, 0))} }

// draw chooses an option by the weights of all.
func (t *tape) draw(weights ...int) int {
	t.at++
	if t.at <= len(t.drawn) {
		if option := int(t.drawn[t.at-1]); option < len(weights) && weights[option] > 0 {
			return option
		}
		return 0
	}
	if t.random == nil {
		return 0
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n, option := t.random.IntN(sum), 0
	for ; n >= weights[option]; option++ {
		n -= weights[option]
	}
	t.drawn = append(t.drawn, uint8(option))
	return option
}

// oneOf chooses among options alike.
func oneOf[Option any](t *tape, options ...Option) Option {
	weights := make([]int, len(options))
	for i := range weights {
		weights[i] = 1
	}
	return options[t.draw(weights...)]
}
