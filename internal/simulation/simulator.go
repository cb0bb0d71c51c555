package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

var discardLogger = slog.New(slog.DiscardHandler)

// simulator runs actors one at a time and injects faults between their steps.
type simulator struct {
	*scenario
	db      *model.Database
	choices *choices
	actors  []*actor
	last    *actor        // the actor that moved last
	control chan struct{} // an actor sends to it when it yields
	newest  *build
	version int // of the zone's rules, that processes now start with

	faultsOn   bool
	steadyFrom time.Duration   // from then on no fault has a lasting effect
	created    int             // actors created so far, for their names
	versionOf  map[string]int  // of the zone's rules, by process
	failing    map[string]bool // schedules for which the Enqueuer fails
	actions    []operatorAction
	panicValue any // of an actor

	recording bool
	history   []line
	steps     int
	faults    int
}

// quietPeriod is the length of the last phase, which has no faults. It is long
// enough for locks and backoffs to end and for the newest build to sync.
const quietPeriod = 25 * time.Minute

// maxSteps is far more than a history needs.
const maxSteps = 100_000

// simulate runs the history that the choices determine.
func simulate(c *choices, z *zone, omit model.Omissions, record bool) (*simulator, error) {
	s, err := drawScenario(c, z)
	if err != nil {
		return nil, err
	}
	sim := &simulator{
		scenario: s, db: model.New(s.start, omit), choices: c, control: make(chan struct{}), newest: s.builds[0],
		faultsOn: true, versionOf: map[string]int{}, failing: map[string]bool{}, recording: record,
	}
	defer sim.killAll()
	if s.renames() {
		if err := s.sync(sim.db, s.builds[0]); err != nil {
			return nil, err
		}
	}
	for i := range s.replicas {
		sim.startReplica(i, time.Duration(i)*time.Second)
	}
	if err := sim.runUntil(s.length); err != nil {
		return sim, err
	}
	sim.faultsOn = false
	clear(sim.failing)
	sim.note(nil, "faults", "end")
	sim.replaceReplicas(0)
	began := sim.db.Elapsed
	if err := sim.runUntil(began + quietPeriod/2); err != nil {
		return sim, err
	}
	sim.startReplica(s.replicas, 0)
	sim.steadyFrom = sim.db.Elapsed + time.Minute
	if err := sim.runUntil(began + quietPeriod); err != nil {
		return sim, err
	}
	return sim, sim.finish()
}

// runUntil runs the actors until end. In the phase with faults it also stops
// when replayed choices are used up.
func (sim *simulator) runUntil(end time.Duration) error {
	for sim.db.Elapsed < end && !(sim.faultsOn && sim.choices.exhausted()) {
		sim.choices.nextStep()
		a := sim.pickActor()
		switch {
		case sim.panicValue != nil:
			return fmt.Errorf("panic: %v", sim.panicValue)
		case sim.steps > maxSteps:
			return fmt.Errorf("more than %d steps", maxSteps)
		case a == nil:
			next := end
			for _, other := range sim.actors {
				next = min(next, other.nextMove())
			}
			sim.advanceClock(max(next-sim.db.Elapsed, time.Microsecond))
		default:
			sim.step(a)
		}
	}
	return nil
}

// finish runs until no actor can move and no due row is locked or backing off.
func (sim *simulator) finish() error {
	for attempt := 0; ; attempt++ {
		if err := sim.drain(); err != nil || attempt == 3 || !sim.hasBlockedRow() {
			return err
		}
		if err := sim.runUntil(sim.db.Elapsed + sim.lockTTL + time.Minute); err != nil {
			return err
		}
	}
}

// drain runs the actors until none can move. The clock does not advance.
func (sim *simulator) drain() error {
	for a := sim.pickActor(); a != nil; a = sim.pickActor() {
		if sim.step(a); sim.steps > maxSteps {
			return fmt.Errorf("actors still move after %d steps", maxSteps)
		}
	}
	return nil
}

// hasBlockedRow reports whether a row is due and a lock or backoff still
// prevents its claim. It happens when the clock was stepped back and has just
// reached the slot again.
func (sim *simulator) hasBlockedRow() bool {
	rows, _ := sim.db.Session(nil).Schedules(context.Background())
	now := sim.db.Now
	return slices.ContainsFunc(rows, func(row storage.Schedule) bool {
		due := !row.NextRunAt.IsZero() && !row.NextRunAt.After(now)
		locked := row.LockedBy != "" && row.LockedAt.After(now.Add(-sim.lockTTL))
		return due && (locked || row.RetryAt.After(now))
	})
}

// step injects a fault or moves the actor, or both.
func (sim *simulator) step(a *actor) {
	sim.steps++
	if sim.faultsOn && a.blocked == nil && !sim.injectFault(a) {
		return
	}
	a.move()
	sim.last = a
}

// pickActor returns an actor that can move, or nil. It prefers the actor that
// moved last.
func (sim *simulator) pickActor() *actor {
	var ready []*actor
	var weights []int
	for _, a := range sim.actors {
		if a.canMove() {
			ready, weights = append(ready, a), append(weights, 1)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	if i := slices.Index(ready, sim.last); i >= 0 {
		ready[0], ready[i] = ready[i], ready[0]
		weights[0] = 5
	}
	if len(ready) == 1 || !sim.faultsOn {
		return ready[0]
	}
	return ready[sim.choices.draw(weights...)]
}

// advanceClock moves the clock forward and sends the heartbeats that are due.
func (sim *simulator) advanceClock(d time.Duration) {
	sim.db.AdvanceClock(d)
	sim.actors = slices.DeleteFunc(sim.actors, func(a *actor) bool { return a.ended })
	for _, a := range sim.actors {
		paused := a.paused && a.sleepsUntil > sim.db.Elapsed
		if a.heartbeats && !paused && sim.db.Elapsed-a.lastHeartbeat >= 10*time.Second {
			sim.heartbeat(a)
		}
	}
}

func (sim *simulator) killAll() {
	for _, a := range sim.actors {
		a.kill()
	}
}
