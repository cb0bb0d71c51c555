package contract_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// hookedStore is the real store with a hook that runs between the steps of the
// loop. It calls hook with "before <operation>" and "after <operation>", where
// the operation is one of hookedOperations. If hook returns an error, that
// error is the operation's result. "before" prevents the operation; "after"
// loses its response.
type hookedStore struct {
	hourbell.Store
	hook func(step string) error
}

// hookedOperations are the operations of the store that have steps. A begin
// has only "before begin". "before commit" is inside the transaction.
var hookedOperations = []string{
	"now", "claim", "fire-on-time", "advance", "insert-runs", "insert-events", "release", "record-failures",
	"update-schedules", "insert-schedules", "heartbeat", "begin", "commit",
}

// errLostResponse is the result of an operation whose response was lost.
var errLostResponse = errors.New("the response was lost")

// hookOnce returns a hook that calls action the first time step is reached.
func hookOnce(step string, action func() error) func(string) error {
	if _, operation, _ := strings.Cut(step, " "); !slices.Contains(hookedOperations, operation) {
		panic("hookedStore has no step " + step)
	}
	var done atomic.Bool
	return func(reached string) error {
		if reached != step || done.Swap(true) {
			return nil
		}
		return action()
	}
}

func runHooked[Result any](s *hookedStore, operation string, call func() (Result, error)) (Result, error) {
	var zero Result
	if err := s.hook("before " + operation); err != nil {
		return zero, err
	}
	result, err := call()
	if err != nil {
		return result, err
	}
	if err := s.hook("after " + operation); err != nil {
		return zero, err
	}
	return result, nil
}

func (s *hookedStore) Bind(namespace string, now func() time.Time) (hourbell.Store, error) {
	inner, err := s.Store.Bind(namespace, now)
	return &hookedStore{inner, s.hook}, err
}

func (s *hookedStore) WithTx(tx *gorm.DB) hourbell.Store {
	return &hookedStore{s.Store.WithTx(tx), s.hook}
}

func (s *hookedStore) Transaction(ctx context.Context, limit time.Duration, fn func(hourbell.Store, *gorm.DB) error) error {
	if err := s.hook("before begin"); err != nil {
		return err
	}
	err := s.Store.Transaction(ctx, limit, func(inner hourbell.Store, tx *gorm.DB) error {
		if err := fn(&hookedStore{inner, s.hook}, tx); err != nil {
			return err
		}
		return s.hook("before commit")
	})
	if err != nil {
		return err
	}
	return s.hook("after commit")
}

func (s *hookedStore) Now(ctx context.Context) (time.Time, error) {
	return runHooked(s, "now", func() (time.Time, error) { return s.Store.Now(ctx) })
}

func (s *hookedStore) Claim(ctx context.Context, request storage.ClaimRequest) (storage.ClaimResult, error) {
	return runHooked(s, "claim", func() (storage.ClaimResult, error) { return s.Store.Claim(ctx, request) })
}

func (s *hookedStore) FireOnTime(ctx context.Context, request storage.FireRequest) (storage.FireResult, error) {
	return runHooked(s, "fire-on-time", func() (storage.FireResult, error) { return s.Store.FireOnTime(ctx, request) })
}

func (s *hookedStore) Advance(ctx context.Context, worker string, advances []storage.Advance) ([]string, error) {
	return runHooked(s, "advance", func() ([]string, error) { return s.Store.Advance(ctx, worker, advances) })
}

func (s *hookedStore) InsertRuns(ctx context.Context, runs []hourbell.JobRun) ([]hourbell.JobRun, error) {
	return runHooked(s, "insert-runs", func() ([]hourbell.JobRun, error) { return s.Store.InsertRuns(ctx, runs) })
}

func (s *hookedStore) InsertEvents(ctx context.Context, events []hourbell.Event) error {
	_, err := runHooked(s, "insert-events", func() (any, error) { return nil, s.Store.InsertEvents(ctx, events) })
	return err
}

func (s *hookedStore) Release(ctx context.Context, worker string, claims []storage.Claim) error {
	_, err := runHooked(s, "release", func() (any, error) { return nil, s.Store.Release(ctx, worker, claims) })
	return err
}

func (s *hookedStore) RecordFailures(ctx context.Context, worker string, failures []storage.Failure) ([]string, error) {
	return runHooked(s, "record-failures", func() ([]string, error) { return s.Store.RecordFailures(ctx, worker, failures) })
}

func (s *hookedStore) UpdateSchedules(ctx context.Context, updates []storage.ScheduleUpdate) ([]string, error) {
	return runHooked(s, "update-schedules", func() ([]string, error) { return s.Store.UpdateSchedules(ctx, updates) })
}

func (s *hookedStore) InsertSchedules(ctx context.Context, rows []storage.ScheduleUpdate) ([]string, error) {
	return runHooked(s, "insert-schedules", func() ([]string, error) { return s.Store.InsertSchedules(ctx, rows) })
}

func (s *hookedStore) Heartbeat(ctx context.Context, worker hourbell.Worker, deadAfter time.Duration) (storage.HeartbeatResult, error) {
	return runHooked(s, "heartbeat", func() (storage.HeartbeatResult, error) { return s.Store.Heartbeat(ctx, worker, deadAfter) })
}
