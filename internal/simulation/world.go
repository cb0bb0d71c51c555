package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

var discard = slog.New(slog.DiscardHandler)

// world lets the actors move, one at a time, and things happen between their steps.
type world struct {
	*scenario
	db      *model.Database
	tape    *tape
	actors  []*actor
	last    *actor // who moved last
	control chan struct{}
	newest  *build
	storm   bool
	calmed  time.Duration   // when all had been well for a while
	births  int             // of processes and people, for their names
	poison  map[string]bool // schedules that the Enqueuer fails on
	clicks  []click
	broken  any // what an actor panicked with
	told    bool
	history []line
	steps   int
	mishaps int
}

// calm is how long things are left alone in the end: a dead holder's lock expires, back-offs end, and a process is there
// that knows the newest definitions.
const calm = 25 * time.Minute

// mostSteps is far more than any history takes.
const mostSteps = 100_000

// play makes a history of a tape.
func play(t *tape, without model.Without, told bool) (*world, error) {
	s, err := drawScenario(t)
	if err != nil {
		return nil, err
	}
	w := &world{
		scenario: s, db: model.New(s.start, without), tape: t, control: make(chan struct{}), newest: s.builds[0],
		storm: true, poison: map[string]bool{}, told: told,
	}
	defer w.reap()
	for i := range s.replicas {
		w.start(i, time.Duration(i)*time.Second)
	}
	if err := w.until(s.length); err != nil {
		return w, err
	}
	w.storm = false
	clear(w.poison)
	w.note(nil, "calm", "")
	for _, a := range w.actors {
		if a.replica >= 0 && a.build != w.newest {
			a.stopAt = w.db.Elapsed
		}
	}
	begun := w.db.Elapsed
	if err := w.until(begun + calm/2); err != nil {
		return w, err
	}
	w.start(s.replicas, 0)
	w.calmed = w.db.Elapsed + time.Minute
	if err := w.until(begun + calm); err != nil {
		return w, err
	}
	return w, w.finish()
}

// leased says whether a row is due and yet cannot be claimed, for somebody's lock or back-off is not over: the clock was
// stepped back, and has only just come there again.
func (w *world) leased() bool {
	rows, _ := w.db.Session(nil).Schedules(context.Background())
	return slices.ContainsFunc(rows, func(row hourbell.Schedule) bool {
		due := !row.NextRunAt.IsZero() && !row.NextRunAt.After(w.db.Now)
		return due && (row.HeldUntil.After(w.db.Now) || row.LockedBy != "" && row.LockedAt.After(w.db.Now.Add(-w.lockTTL)))
	})
}

// until lets things happen until so much time has passed, or nothing is left to happen.
func (w *world) until(end time.Duration) error {
	for w.db.Elapsed < end && !(w.storm && w.tape.over()) {
		w.tape.next()
		a := w.pick()
		switch {
		case w.broken != nil:
			return fmt.Errorf("panic: %v", w.broken)
		case w.steps > mostSteps:
			return fmt.Errorf("no end after %d steps", mostSteps)
		case a == nil:
			next := end
			for _, other := range w.actors {
				next = min(next, other.next())
			}
			w.pass(max(next-w.db.Elapsed, time.Microsecond))
		default:
			w.turn(a)
		}
	}
	return nil
}

// finish lets everybody come to rest, at an instant when nobody's lease is running.
func (w *world) finish() error {
	for tries := 0; ; tries++ {
		if err := w.settleDown(); err != nil || tries == 3 || !w.leased() {
			return err
		}
		if err := w.until(w.db.Elapsed + w.lockTTL + time.Minute); err != nil {
			return err
		}
	}
}

// settleDown lets everybody come to rest, at the instant that it is.
func (w *world) settleDown() error {
	for a := w.pick(); a != nil; a = w.pick() {
		if w.turn(a); w.steps > mostSteps {
			return fmt.Errorf("no rest after %d steps", mostSteps)
		}
	}
	return nil
}

// turn lets an actor move, unless something befalls it.
func (w *world) turn(a *actor) {
	w.steps++
	if w.storm && a.blocked == nil && !w.befall(a) {
		return
	}
	a.move()
	w.last = a
}

// pick chooses who moves next: most often who moved last.
func (w *world) pick() *actor {
	var ready []*actor
	var weights []int
	for _, a := range w.actors {
		if a.ready() {
			ready, weights = append(ready, a), append(weights, 1)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	if i := slices.Index(ready, w.last); i >= 0 {
		ready[0], ready[i] = ready[i], ready[0]
		weights[0] = 5
	}
	if len(ready) == 1 || !w.storm {
		return ready[0]
	}
	return ready[w.tape.draw(weights...)]
}

// pass lets time pass. The hearts of those that are not stopped beat.
func (w *world) pass(d time.Duration) {
	w.db.Advance(d)
	w.actors = slices.DeleteFunc(w.actors, func(a *actor) bool { return a.ended })
	for _, a := range w.actors {
		if stopped := a.stopped && a.rests > w.db.Elapsed; a.beats && !stopped && w.db.Elapsed-a.beaten >= 10*time.Second {
			w.beat(a)
		}
	}
}

// reap ends whoever has not ended.
func (w *world) reap() {
	for _, a := range w.actors {
		a.die()
	}
}
