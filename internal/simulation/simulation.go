// Package simulation runs the real core on an in-memory database, in virtual
// time, under faults: processes are paused and killed between any two
// statements, responses are lost, the clock is stepped, operators act, builds
// are deployed, time zone data is updated, and rows are edited by hand. A seed
// determines the whole history. Afterwards a checker verifies the guarantees
// from the history alone, without the core's code.
//
// The database is a model.Database. Its mechanisms can be omitted one by one,
// to show that the guarantees depend on them and that the checker detects their
// absence.
package simulation

import (
	"strings"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// Result describes one history.
type Result struct {
	Violation *Violation // nil if all guarantees were kept
	History   string     // one line for each step; empty unless recorded
	Steps     int        // operations of the store and other moves of actors
	Faults    int        // pauses, kills, lost responses, clock steps, operator actions, deploys …
	Fires     int        // slots
	// Counts has the number of committed writes of schedules by operation, and
	// of events by kind and reason.
	Counts  map[string]int
	choices [][]uint8
}

// Run simulates the history of a seed.
func Run(seed uint64, omit model.Omissions) Result { return run(newChoices(seed), omit, false) }

func run(c *choices, omit model.Omissions, record bool) Result {
	z := newZone()
	defer z.close()
	sim, err := simulate(c, z, omit, record)
	r := Result{choices: c.steps, Counts: map[string]int{}}
	if sim != nil {
		if err == nil {
			r.Violation = sim.check()
		}
		r.History, r.Steps, r.Faults = sim.historyText(r.Violation), sim.steps, sim.faults
		r.count(sim.db)
	}
	if err != nil {
		r.Violation = &Violation{Kind: NotCompleted, Details: err.Error()}
	}
	return r
}

func (r *Result) count(db *model.Database) {
	for _, c := range db.Log {
		r.Counts[c.Operation]++
	}
	for _, e := range db.Events {
		r.Counts[strings.TrimSpace(string(e.Kind)+" "+string(e.Reason))]++
	}
	for _, run := range db.Runs {
		if run.Trigger == hourbell.TriggerCron && run.Ordinal == 0 {
			r.Fires++
		}
	}
}

// Explain records the history of a seed. If the history violates a guarantee,
// Explain first shrinks it while the violation stays of the same kind.
func Explain(seed uint64, omit model.Omissions) Result {
	first := Run(seed, omit)
	if first.Violation == nil {
		return run(newChoices(seed), omit, true)
	}
	sameViolation := func(steps [][]uint8) bool {
		v := run(&choices{steps: steps}, omit, false).Violation
		return v != nil && v.Kind == first.Violation.Kind
	}
	return run(&choices{steps: shrink(first.choices, sameViolation)}, omit, true)
}
