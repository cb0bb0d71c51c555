package simulation

import "math/rand/v2"

// choices holds all random decisions of a history, by step. They determine the
// history: replaying them repeats it, and replaying simpler ones shrinks it.
// Option 0 of each choice is the simplest. A replay takes it where no choice is
// recorded.
type choices struct {
	random *rand.Rand // source of new choices; nil in a replay
	steps  [][]uint8  // the options chosen in each step; step 0 is the scenario
	step   int
	next   int // index of the next choice in a replayed step
}

func newChoices(seed uint64) *choices {
	return &choices{random: rand.New(rand.NewPCG(seed, 0)), steps: make([][]uint8, 1)}
}

func (c *choices) nextStep() {
	c.step, c.next = c.step+1, 0
	if c.random != nil {
		c.steps = append(c.steps, nil)
	}
}

// exhausted reports whether a replay has used all recorded steps.
func (c *choices) exhausted() bool { return c.random == nil && c.step >= len(c.steps) }

// draw returns the index of an option. Each option has a weight.
func (c *choices) draw(weights ...int) int {
	if c.random == nil {
		return c.replay(weights)
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n, option := c.random.IntN(sum), 0
	for ; n >= weights[option]; option++ {
		n -= weights[option]
	}
	c.steps[c.step] = append(c.steps[c.step], uint8(option))
	return option
}

func (c *choices) replay(weights []int) int {
	if c.step >= len(c.steps) || c.next >= len(c.steps[c.step]) {
		return 0
	}
	option := int(c.steps[c.step][c.next])
	if c.next++; option >= len(weights) {
		return 0
	}
	return option
}

// oneOf returns one of several equally likely options.
func oneOf[Option any](c *choices, options ...Option) Option {
	weights := make([]int, len(options))
	for i := range weights {
		weights[i] = 1
	}
	return options[c.draw(weights...)]
}
