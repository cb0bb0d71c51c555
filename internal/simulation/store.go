package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

// actorStore is the Store of one process. It yields before each operation and
// then executes it on the model, with the injected fault.
type actorStore struct {
	*model.Session
	actor  *actor
	worker string // the core's random worker id; the model stores the actor's name instead
}

var (
	errFault       = errors.New("injected fault")
	errUnavailable = fmt.Errorf("%w: injected fault", hourbell.ErrUnavailable)
	errRetry       = errors.New("serialization failure; the transaction is retried")
)

// execute yields and then calls call, unless a fault prevents it. It returns
// the result, or the fault's error in place of it.
func execute[V any](s *actorStore, operation string, call func() (V, error)) (V, error) {
	var zero V
	f := s.actor.yield(operation)
	if f.err != nil && !f.after {
		s.note(operation, false, "failed: %v", f.err)
		return zero, f.err
	}
	v, err := call()
	switch {
	case err != nil:
		s.note(operation, false, "%v", err)
	case f.err != nil:
		s.note(operation, false, "%v, but the response was lost", describe(v))
		return zero, f.err
	case !isEmpty(v):
		s.note(operation, true, "%v", describe(v))
	}
	return v, err
}

func (s *actorStore) note(operation string, routine bool, format string, args ...any) {
	if s.actor.sim.recording {
		s.actor.sim.write(s.actor, operation, fmt.Sprintf(format, args...), routine)
	}
}

// omit returns the mechanisms that the database leaves out.
func (s *actorStore) omit() model.Omissions { return s.actor.sim.db.Omit }

// Bind implements [hourbell.Store].
func (s *actorStore) Bind(string, func() time.Time) (hourbell.Store, error) { return s, nil }

// Transaction implements [hourbell.Store].
func (s *actorStore) Transaction(_ context.Context, limit time.Duration, fn func(hourbell.Store, *gorm.DB) error) error {
	if _, err := execute(s, "begin", func() (none, error) { return none{}, nil }); err != nil {
		return err
	}
	for {
		if retry, err := s.tryTransaction(limit, fn); !retry {
			return err
		}
	}
}

// tryTransaction executes fn in a transaction once. It reports whether the
// transaction must be retried.
func (s *actorStore) tryTransaction(limit time.Duration, fn func(hourbell.Store, *gorm.DB) error) (retry bool, err error) {
	inner := *s
	inner.Session = s.Begin(limit)
	defer func() {
		if !s.actor.halfOpen {
			inner.Rollback()
		}
	}()
	if err := fn(&inner, inner.Handle()); err != nil {
		if s.actor.killed { // in the Enqueuer
			runtime.Goexit()
		}
		s.note("rollback", false, "%v", err)
		return false, err
	}
	_, err = execute(s, "commit", func() (none, error) {
		if retry = s.actor.fault.retry; retry {
			return none{}, errRetry
		}
		return none{}, inner.Commit()
	})
	return retry, err
}

// Claim implements [hourbell.Store].
func (s *actorStore) Claim(ctx context.Context, r storage.ClaimRequest) (storage.ClaimResult, error) {
	s.worker, s.RequestedAt = r.Worker, s.actor.sim.db.Now
	r.Worker = s.actor.name
	if s.omit().DefinitionHash {
		r.Exclude = nil
	}
	return execute(s, "claim", func() (storage.ClaimResult, error) {
		result, err := s.Session.Claim(ctx, r)
		for i := range result.Claims {
			claim := &result.Claims[i]
			if claim.HeldBy == s.actor.name {
				claim.HeldBy = s.worker
			}
			if s.omit().DefinitionHash {
				s.actor.build.overwriteHash(claim, s.actor.version)
			}
		}
		return result, err
	})
}

// FireOnTime implements [hourbell.Store].
func (s *actorStore) FireOnTime(ctx context.Context, r storage.FireRequest) (storage.FireResult, error) {
	s.RequestedAt = s.actor.sim.db.Now
	if s.omit().DefinitionHash {
		r.Exclude = nil
	}
	r.Fires = slices.Clone(r.Fires) // the caller reuses the slice
	return execute(s, "fire-on-time", func() (storage.FireResult, error) { return s.Session.FireOnTime(ctx, r) })
}

// Advance implements [hourbell.Store].
func (s *actorStore) Advance(ctx context.Context, _ string, advances []storage.Advance) ([]string, error) {
	return execute(s, "advance", func() ([]string, error) { return s.Session.Advance(ctx, s.actor.name, advances) })
}

// Release implements [hourbell.Store].
func (s *actorStore) Release(ctx context.Context, _ string, claims []storage.Claim) error {
	_, err := execute(s, "release", func() (none, error) { return none{}, s.Session.Release(ctx, s.actor.name, claims) })
	return err
}

// RecordFailures implements [hourbell.Store].
func (s *actorStore) RecordFailures(ctx context.Context, _ string, failures []storage.Failure) ([]string, error) {
	return execute(s, "record-failures", func() ([]string, error) { return s.Session.RecordFailures(ctx, s.actor.name, failures) })
}

// Unlock implements [hourbell.Store].
func (s *actorStore) Unlock(ctx context.Context, id string) (string, error) {
	return execute(s, "unlock", func() (string, error) { return s.Session.Unlock(ctx, id) })
}

// InsertSchedules implements [hourbell.Store].
func (s *actorStore) InsertSchedules(ctx context.Context, updates []storage.ScheduleUpdate) ([]string, error) {
	if len(updates) == 0 {
		return nil, nil
	}
	return execute(s, "insert-schedules", func() ([]string, error) { return s.Session.InsertSchedules(ctx, updates) })
}

// UpdateSchedules implements [hourbell.Store].
func (s *actorStore) UpdateSchedules(ctx context.Context, updates []storage.ScheduleUpdate) ([]string, error) {
	if len(updates) == 0 {
		return nil, nil
	}
	return execute(s, "update-schedules", func() ([]string, error) { return s.Session.UpdateSchedules(ctx, updates) })
}

// InsertRuns implements [hourbell.Store].
func (s *actorStore) InsertRuns(ctx context.Context, runs []hourbell.JobRun, requestHash string) ([]hourbell.JobRun, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	return execute(s, "insert-runs", func() ([]hourbell.JobRun, error) { return s.Session.InsertRuns(ctx, runs, requestHash) })
}

// InsertEvents implements [hourbell.Store].
func (s *actorStore) InsertEvents(ctx context.Context, events []hourbell.Event) error {
	if len(events) == 0 {
		return nil
	}
	events = slices.Clone(events)
	for i := range events {
		if events[i].Actor == s.worker {
			events[i].Actor = s.actor.name
		}
	}
	_, err := execute(s, "insert-events", func() ([]hourbell.Event, error) { return events, s.Session.InsertEvents(ctx, events) })
	return err
}

// Now implements [hourbell.Store].
func (s *actorStore) Now(ctx context.Context) (time.Time, error) {
	return execute(s, "now", func() (time.Time, error) { return s.Session.Now(ctx) })
}

// Schedules implements [hourbell.Store].
func (s *actorStore) Schedules(ctx context.Context, ids ...string) ([]storage.Schedule, error) {
	return execute(s, "schedules", func() ([]storage.Schedule, error) { return s.Session.Schedules(ctx, ids...) })
}

// Stored implements [hourbell.Store].
func (s *actorStore) Stored(ctx context.Context) (storage.Stored, error) {
	return execute(s, "stored", func() (storage.Stored, error) { return s.Session.Stored(ctx) })
}

// Events implements [hourbell.Store].
func (s *actorStore) Events(ctx context.Context, q hourbell.EventQuery) ([]hourbell.Event, error) {
	return execute(s, "events", func() ([]hourbell.Event, error) { return s.Session.Events(ctx, q) })
}

// LatestEvents implements [hourbell.Store].
func (s *actorStore) LatestEvents(ctx context.Context, ids []string, kinds []hourbell.EventKind) ([]hourbell.Event, error) {
	return execute(s, "latest-events", func() ([]hourbell.Event, error) { return s.Session.LatestEvents(ctx, ids, kinds) })
}

// Workers implements [hourbell.Store].
func (s *actorStore) Workers(ctx context.Context, deadAfter time.Duration) ([]hourbell.Worker, error) {
	return execute(s, "workers", func() ([]hourbell.Worker, error) { return s.Session.Workers(ctx, deadAfter) })
}

// StopWorker implements [hourbell.Store].
func (s *actorStore) StopWorker(ctx context.Context, id string) error {
	_, err := execute(s, "stop-worker", func() (none, error) { return none{}, s.Session.StopWorker(ctx, id) })
	return err
}
