package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
)

// startReplica starts a process of the newest build.
func (sim *simulator) startReplica(replica int, delay time.Duration) {
	sim.created++
	sim.startActor(fmt.Sprintf("replica%d.%d", replica, sim.created), sim.newest, replica, delay, sim.runReplica)
}

// runReplica syncs, ticks until it is shut down, and starts its successor.
func (sim *simulator) runReplica(a *actor) {
	a.build = sim.newest
	skew := oneOf(sim.choices, 0, 0, 3*time.Second, -3*time.Second, 2*time.Minute)
	sim.note(a, "start", fmt.Sprintf("build %s, zone rules %d, process clock off by %v", a.build.name, a.version, skew))
	store, scheduler := sim.newScheduler(a, skew)
	for scheduler.Sync(a.ctx) != nil {
		if a.sleep(5 * time.Second); a.ctx.Err() != nil {
			sim.startReplica(a.replica, time.Second)
			return
		}
	}
	a.heartbeats = true
	sim.heartbeat(a)
	for a.ctx.Err() == nil {
		if a.needsSync {
			a.needsSync = scheduler.Sync(a.ctx) != nil
		}
		report, err := scheduler.Tick(a.ctx)
		switch {
		case err != nil:
			a.sleep(time.Second)
		case report.WakeAt.IsZero():
			a.sleep(time.Minute)
		default:
			a.sleep(min(max(report.WakeAt.Sub(sim.db.Now), time.Second), time.Minute))
		}
	}
	a.heartbeats = false
	_ = store.StopWorker(context.Background(), a.name) // if it fails, the worker misses its heartbeats
	sim.startReplica(a.replica, time.Second)
}

// newScheduler returns a Scheduler on the actor's store. Its Config.Now is the
// process clock: the database clock with a skew.
func (sim *simulator) newScheduler(a *actor, skew time.Duration) (*actorStore, *hourbell.Scheduler) {
	store := &actorStore{Session: sim.db.Session(a.wait), actor: a}
	store.Process, sim.versionOf[a.name] = a.name, a.version
	cfg := sim.config(a.build)
	cfg.Now = func() time.Time { return sim.db.Now.Add(skew) }
	if sim.withEnqueuer {
		cfg.Enqueuer = engine{a}
	}
	scheduler, err := hourbell.New(store, cfg)
	if err != nil {
		panic(err)
	}
	return store, scheduler
}

// heartbeat writes the actor's worker row. The core sends heartbeats from their
// own goroutine, so this is no operation at which the actor yields.
func (sim *simulator) heartbeat(a *actor) {
	a.lastHeartbeat = sim.db.Elapsed
	_, _ = sim.db.Session(nil).Heartbeat(context.Background(), hourbell.Worker{ID: a.name, StartedAt: sim.start}, 30*time.Second)
}

// engine is the host's Enqueuer. A process can be paused or killed in it.
type engine struct{ *actor }

var errFailing = errors.New("the schedule is set to fail")

// Enqueue implements [hourbell.Enqueuer].
func (e engine) Enqueue(_ context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
	f := e.awaitTurn("enqueue")
	if e.killed {
		return errFault
	}
	if f.err != nil {
		e.sim.note(e.actor, "enqueue", "failed")
		if f.after {
			panic("injected fault")
		}
		return errFault
	}
	for _, run := range runs {
		if e.sim.failing[run.ScheduleID] && run.Trigger == hourbell.TriggerCron {
			e.sim.note(e.actor, "enqueue", "failed on "+run.ScheduleID)
			return errFailing
		}
	}
	e.sim.write(e.actor, "enqueue", "done", true)
	return nil
}
