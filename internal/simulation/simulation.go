// Package simulation runs the real core against a database in memory, under a clock of its own, while everything goes
// wrong that can: processes are stopped and killed between any two statements, answers are lost, the clock is stepped,
// people click and releases come in between. A seed determines the whole history. Afterwards a checker that knows nothing
// of how the core decides wants every promise to be kept.
//
// The database is that of the package model. Mechanisms can be taken out of it one by one, to see that the promises
// depend on them, and that the checker would notice.
package simulation

import (
	"strings"

	"github.com/hourbell/hourbell/internal/simulation/model"
)

// Result is what came of a history.
type Result struct {
	Violation *Violation
	Stats
	History string
	tape    []uint8
}

// Run makes the history of a seed.
func Run(seed uint64, without model.Without) Result { return run(newTape(seed), without, false) }

func run(t *tape, without model.Without, told bool) Result {
	w, err := play(t, without, told)
	r := Result{tape: t.drawn}
	if w != nil {
		if err == nil {
			r.Violation = w.check()
		}
		r.Stats, r.History = w.stats, strings.Join(w.history, "\n")
	}
	if err != nil {
		r.Violation = &Violation{"the history did not end well", err.Error()}
	}
	return r
}

// Explain shrinks the history of a seed that breaks a promise, for as long as it breaks the same, and tells what is left.
func Explain(seed uint64, without model.Without) Result {
	first := Run(seed, without)
	if first.Violation == nil {
		return run(newTape(seed), without, true)
	}
	breaks := func(drawn []uint8) bool {
		v := run(&tape{drawn: drawn}, without, false).Violation
		return v != nil && v.Kind == first.Violation.Kind
	}
	return run(&tape{drawn: shrink(first.tape, breaks)}, without, true)
}
