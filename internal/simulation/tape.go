package simulation

import "math/rand/v2"

// tape is all that is left to chance in a history: what was drawn, step by step. A history is a function of its tape, so
// that a part of a tape can be wiped and the history run again. Of the options of a draw the first is the simplest; where
// nothing is on the tape it is taken.
type tape struct {
	random *rand.Rand // draws what is not on the tape yet; nil once that is over
	steps  [][]uint8  // the first has the scenario
	step   int
	at     int // how much was drawn in the step
}

func newTape(seed uint64) *tape {
	return &tape{random: rand.New(rand.NewPCG(seed, 0)), steps: make([][]uint8, 1)}
}

// next begins a step.
func (t *tape) next() {
	t.step, t.at = t.step+1, 0
	if t.random != nil {
		t.steps = append(t.steps, nil)
	}
}

// over says whether nothing is left on a tape that is run again.
func (t *tape) over() bool { return t.random == nil && t.step >= len(t.steps) }

// draw chooses an option by the weights of all.
func (t *tape) draw(weights ...int) int {
	if t.random == nil {
		return t.replay(weights)
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n, option := t.random.IntN(sum), 0
	for ; n >= weights[option]; option++ {
		n -= weights[option]
	}
	t.steps[t.step] = append(t.steps[t.step], uint8(option))
	return option
}

func (t *tape) replay(weights []int) int {
	if t.step >= len(t.steps) || t.at >= len(t.steps[t.step]) {
		return 0
	}
	option := int(t.steps[t.step][t.at])
	if t.at++; option >= len(weights) {
		return 0
	}
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
