package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// port is the store as one process has it: between the real core and the model, it stops at each verb.
type port struct {
	*model.Session
	actor  *actor
	worker string // what the core calls itself, which is random; here it goes by the actor's name
}

var (
	errFault   = errors.New("a fault")
	errRefused = errors.New("refused, and made again")
	errAway    = fmt.Errorf("%w: a fault", hourbell.ErrUnavailable)
)

// step stops at a verb, and then it happens, or does not, or nobody learns that it has.
func step[V any](p *port, verb string, call func() (V, error)) (V, error) {
	var none V
	m := p.actor.yield(verb)
	if m.err != nil && !m.after {
		p.note(verb, false, "failed: %v", m.err)
		return none, m.err
	}
	v, err := call()
	switch {
	case err != nil:
		p.note(verb, false, "%v", err)
	case m.err != nil:
		p.note(verb, false, "%v, and the answer was lost", describe(v))
		return none, m.err
	case !idle(v):
		p.note(verb, true, "%v", describe(v))
	}
	return v, err
}

func (p *port) note(verb string, routine bool, format string, args ...any) {
	if p.actor.world.told {
		p.actor.world.write(p.actor, verb, fmt.Sprintf(format, args...), routine)
	}
}

// Bind implements [hourbell.Store].
func (p *port) Bind(string, func() time.Time) (hourbell.Store, error) { return p, nil }

// Transaction implements [hourbell.Store].
func (p *port) Transaction(_ context.Context, limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) error {
	if _, err := step(p, "begin", func() (done, error) { return done{}, nil }); err != nil {
		return err
	}
	for {
		if again, err := p.attempt(limit, fn); !again {
			return err
		}
	}
}

// attempt says whether the transaction was refused and is to be made again.
func (p *port) attempt(limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) (again bool, err error) {
	inner := *p
	inner.Session = p.Begin(limit)
	defer func() {
		if !p.actor.halfOpen {
			inner.Rollback()
		}
	}()
	if err := fn(&inner, inner.Handle()); err != nil {
		if p.actor.dead { // in the Enqueuer
			runtime.Goexit()
		}
		p.note("rollback", false, "%v", err)
		return false, err
	}
	_, err = step(p, "commit", func() (done, error) {
		if again = p.actor.mishap.again; again {
			return done{}, errRefused
		}
		return done{}, inner.Commit()
	})
	return again, err
}

// Claim implements [hourbell.Store].
func (p *port) Claim(ctx context.Context, r hourbell.ClaimRequest) (hourbell.Claims, error) {
	r = p.asks(r)
	return step(p, "claim", func() (hourbell.Claims, error) {
		claims, err := p.Session.Claim(ctx, r)
		for i := range claims.Rows {
			if row := &claims.Rows[i]; row.HeldBy == p.actor.name {
				row.HeldBy = p.worker
			}
			if p.actor.world.db.Without.Definition {
				p.actor.build.fromMemory(&claims.Rows[i])
			}
		}
		return claims, err
	})
}

// asks is what a process asks for, by the actor's name, and notes when.
func (p *port) asks(r hourbell.ClaimRequest) hourbell.ClaimRequest {
	p.worker, p.Asked = r.Worker, p.actor.world.db.Now
	r.Worker = p.actor.name
	if p.actor.world.db.Without.Definition {
		r.Except = nil
	}
	return r
}

// FireOnTime implements [hourbell.Store].
func (p *port) FireOnTime(ctx context.Context, r hourbell.FireRequest) (hourbell.Fired, error) {
	p.Asked = p.actor.world.db.Now
	if p.actor.world.db.Without.Definition {
		r.Except = nil
	}
	r.Fires = slices.Clone(r.Fires) // the caller's memory is used again
	return step(p, "fire-on-time", func() (hourbell.Fired, error) { return p.Session.FireOnTime(ctx, r) })
}

// Advance implements [hourbell.Store].
func (p *port) Advance(ctx context.Context, _ string, list []hourbell.Settlement) ([]string, error) {
	return step(p, "advance", func() ([]string, error) { return p.Session.Advance(ctx, p.actor.name, list) })
}

// GiveBack implements [hourbell.Store].
func (p *port) GiveBack(ctx context.Context, _ string, claims []hourbell.Claim) error {
	_, err := step(p, "give-back", func() (done, error) { return done{}, p.Session.GiveBack(ctx, p.actor.name, claims) })
	return err
}

// Hold implements [hourbell.Store].
func (p *port) Hold(ctx context.Context, _ string, list []hourbell.Failure) ([]string, error) {
	return step(p, "hold", func() ([]string, error) { return p.Session.Hold(ctx, p.actor.name, list) })
}

// Unlock implements [hourbell.Store].
func (p *port) Unlock(ctx context.Context, id string) (string, error) {
	return step(p, "unlock", func() (string, error) { return p.Session.Unlock(ctx, id) })
}

// Insert implements [hourbell.Store].
func (p *port) Insert(ctx context.Context, rows []hourbell.Revision) ([]string, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	return step(p, "insert", func() ([]string, error) { return p.Session.Insert(ctx, rows) })
}

// Revise implements [hourbell.Store].
func (p *port) Revise(ctx context.Context, rows []hourbell.Revision) ([]string, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	return step(p, "revise", func() ([]string, error) { return p.Session.Revise(ctx, rows) })
}

// InsertRuns implements [hourbell.Store].
func (p *port) InsertRuns(ctx context.Context, runs []hourbell.JobRun) ([]hourbell.JobRun, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	return step(p, "insert-runs", func() ([]hourbell.JobRun, error) { return p.Session.InsertRuns(ctx, runs) })
}

// InsertEvents implements [hourbell.Store].
func (p *port) InsertEvents(ctx context.Context, events []hourbell.Event) error {
	if len(events) == 0 {
		return nil
	}
	events = slices.Clone(events)
	for i := range events {
		if events[i].Actor == p.worker {
			events[i].Actor = p.actor.name
		}
	}
	_, err := step(p, "insert-events", func() ([]hourbell.Event, error) { return events, p.Session.InsertEvents(ctx, events) })
	return err
}

// Now implements [hourbell.Store].
func (p *port) Now(ctx context.Context) (time.Time, error) {
	return step(p, "now", func() (time.Time, error) { return p.Session.Now(ctx) })
}

// Schedules implements [hourbell.Store].
func (p *port) Schedules(ctx context.Context, ids ...string) ([]hourbell.Schedule, error) {
	return step(p, "schedules", func() ([]hourbell.Schedule, error) { return p.Session.Schedules(ctx, ids...) })
}

// DefinitionHashes implements [hourbell.Store].
func (p *port) DefinitionHashes(ctx context.Context) ([]string, error) {
	return step(p, "hashes", func() ([]string, error) { return p.Session.DefinitionHashes(ctx) })
}

// Workers implements [hourbell.Store].
func (p *port) Workers(ctx context.Context) ([]hourbell.Worker, error) {
	return step(p, "workers", func() ([]hourbell.Worker, error) { return p.Session.Workers(ctx) })
}

// StopWorker implements [hourbell.Store].
func (p *port) StopWorker(ctx context.Context, id string) error {
	_, err := step(p, "stop-worker", func() (done, error) { return done{}, p.Session.StopWorker(ctx, id) })
	return err
}
