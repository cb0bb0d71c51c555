package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// start begins a process of the newest build, as a replica of the fleet.
func (w *world) start(replica int, after time.Duration) {
	w.births++
	w.begin(fmt.Sprintf("replica%d.%d", replica, w.births), w.newest, replica, after, w.run)
}

// run is the life of a replica's process: it syncs, and then ticks until it is told to end.
func (w *world) run(a *actor) {
	a.build = w.newest
	skew := oneOf(w.tape, 0, 0, 3*time.Second, -3*time.Second, 2*time.Minute)
	w.note(a, "start", fmt.Sprintf("build %s, its own clock is off by %v", a.build.name, skew))
	p, s := w.scheduler(a, skew)
	for s.Sync(a.ctx) != nil {
		if a.rest(5 * time.Second); a.ctx.Err() != nil {
			w.start(a.replica, time.Second)
			return
		}
	}
	a.beats = true
	w.beat(a)
	for a.ctx.Err() == nil {
		if a.resync {
			a.resync = s.Sync(a.ctx) != nil
		}
		report, err := s.Tick(a.ctx)
		switch {
		case err != nil:
			a.rest(time.Second)
		case report.Wake.IsZero():
			a.rest(time.Minute)
		default:
			a.rest(min(max(report.Wake.Sub(w.db.Now), time.Second), time.Minute))
		}
	}
	a.beats = false
	_ = p.StopWorker(context.Background(), a.name) // or it seems to live for a while
	w.start(a.replica, time.Second)
}

// scheduler is the real one, on a port of the actor's own. Its clock is a guess at the database's, which judges nothing.
func (w *world) scheduler(a *actor, skew time.Duration) (*port, *hourbell.Scheduler) {
	p := &port{Session: w.db.Session(a.wait), actor: a}
	cfg := w.config(a.build)
	cfg.Now = func() time.Time { return w.db.Now.Add(skew) }
	if w.enqueuer {
		cfg.Enqueuer = engine{a}
	}
	s, err := hourbell.New(p, cfg)
	if err != nil {
		panic(err)
	}
	return p, s
}

// beat is a heartbeat, which comes from a goroutine of its own and so between any two steps.
func (w *world) beat(a *actor) {
	a.beaten = w.db.Elapsed
	_, _ = w.db.Session(nil).Heartbeat(context.Background(), hourbell.Worker{ID: a.name}, 30*time.Second)
}

// engine is the host's Enqueuer. It fails on schedules that are poisoned, and may be where a process is stopped or dies.
type engine struct{ *actor }

func (e engine) Enqueue(_ context.Context, _ hourbell.Tx, runs []hourbell.JobRun) error {
	m := e.pause("enqueue")
	if e.dead {
		return errFault
	}
	if m.err != nil {
		e.world.note(e.actor, "enqueue", "failed")
		if m.after {
			panic("a fault")
		}
		return errFault
	}
	for _, run := range runs {
		if e.world.poison[run.ScheduleID] && run.Trigger == "CRON" {
			e.world.note(e.actor, "enqueue", "failed on "+run.ScheduleID)
			return errors.New("poisoned")
		}
	}
	e.world.write(e.actor, "enqueue", "done", true)
	return nil
}
