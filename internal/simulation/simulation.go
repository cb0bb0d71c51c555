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
	History   string         // where it was asked for
	Steps     int            // verbs, and what is like them
	Mishaps   int            // processes stopped and killed, answers lost, clocks stepped, people's clicks, releases …
	Fires     int            // slots
	Seen      map[string]int // how often each write of a schedule's row was committed, and each kind of event, by reason
	tape      [][]uint8
}

// Run makes the history of a seed.
func Run(seed uint64, without model.Without) Result { return run(newTape(seed), without, false) }

func run(t *tape, without model.Without, told bool) Result {
	w, err := play(t, without, told)
	r := Result{tape: t.steps, Seen: map[string]int{}}
	if w != nil {
		if err == nil {
			r.Violation = w.check()
		}
		r.History, r.Steps, r.Mishaps = w.tell(r.Violation), w.steps, w.mishaps
		r.count(w.db)
	}
	if err != nil {
		r.Violation = &Violation{Kind: NoEnd, What: err.Error()}
	}
	return r
}

func (r *Result) count(db *model.Database) {
	for _, c := range db.Log {
		r.Seen[c.Verb]++
	}
	for _, e := range db.Events {
		r.Seen[strings.TrimSpace(e.Kind+" "+e.Reason)]++
	}
	for _, run := range db.Runs {
		if run.Trigger == "CRON" && run.Ordinal == 0 {
			r.Fires++
		}
	}
}

// Explain shrinks the history of a seed that breaks a promise, for as long as it breaks the same, and tells what is left.
// Of one that breaks none it tells all.
func Explain(seed uint64, without model.Without) Result {
	first := Run(seed, without)
	if first.Violation == nil {
		return run(newTape(seed), without, true)
	}
	breaks := func(steps [][]uint8) bool {
		v := run(&tape{steps: steps}, without, false).Violation
		return v != nil && v.Kind == first.Violation.Kind
	}
	return run(&tape{steps: shrink(first.tape, breaks)}, without, true)
}
