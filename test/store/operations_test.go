package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// operation is a call of a store that needs its tables.
type operation struct {
	name string
	call func(ctx context.Context, s hourbell.Store) error
}

// operations lists all such calls. Each succeeds on an empty database.
var operations = []operation{
	{"CheckMigrated", func(ctx context.Context, s hourbell.Store) error { return s.CheckMigrated(ctx) }},
	{"Schedules", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Schedules(ctx)) }},
	{"Schedules by id", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Schedules(ctx, "a")) }},
	{"ListSchedules", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.ListSchedules(ctx, hourbell.ScheduleQuery{Sort: "id", Limit: 1}))
	}},
	{"Stored", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Stored(ctx)) }},
	{"LatestEvents", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.LatestEvents(ctx, []string{"a"}, []hourbell.EventKind{hourbell.EventEnabled}))
	}},
	{"InsertSchedules", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.InsertSchedules(ctx, newUpdates(scheduleDueAt("op", noon.AddDate(1000, 0, 0)))))
	}},
	{"UpdateSchedules", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.UpdateSchedules(ctx, []storage.ScheduleUpdate{{Schedule: dueSchedule("a"), ReadHash: "none"}}))
	}},
	{"Claim", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Claim(ctx, claimRequest("op"))) }},
	{"Advance", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Advance(ctx, "op", []storage.Advance{firedAdvance(storage.Claim{ID: "a"})}))
	}},
	{"Release", func(ctx context.Context, s hourbell.Store) error {
		return s.Release(ctx, "op", []storage.Claim{{ID: "a"}})
	}},
	{"RecordFailures", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.RecordFailures(ctx, "op", []storage.Failure{{Claim: storage.Claim{ID: "a"}}}))
	}},
	{"Unlock", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Unlock(ctx, "a")) }},
	{"InsertRuns", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.InsertRuns(ctx, []hourbell.JobRun{cronRun("op", noon, 0)}, ""))
	}},
	{"RunsByIdempotencyKey", func(ctx context.Context, s hourbell.Store) error { return keyErr(s.RunsByIdempotencyKey(ctx, "key")) }},
	{"Runs", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Runs(ctx, hourbell.RunQuery{Limit: 1}))
	}},
	{"Outcomes", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Outcomes(ctx, storage.OutcomeQuery{ScheduleIDs: []string{"a"}, Limit: 1}))
	}},
	{"Tallies", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Tallies(ctx, []int64{1}, 1)) }},
	{"TakeRuns", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: "op", Limit: 1, Lease: time.Minute}))
	}},
	{"ExtendRun", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.ExtendRun(ctx, hourbell.JobRun{}, time.Minute))
	}},
	{"FinishRun", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.FinishRun(ctx, hourbell.JobRun{}, hourbell.RunSucceeded, ""))
	}},
	{"InsertEvents", func(ctx context.Context, s hourbell.Store) error {
		return s.InsertEvents(ctx, []hourbell.Event{{Kind: hourbell.EventEnabled}})
	}},
	{"Events", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Events(ctx, hourbell.EventQuery{Limit: 1}))
	}},
	{"Heartbeat", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Heartbeat(ctx, hourbell.Worker{ID: "op", WorkerType: "schedule_daemon"}, deadAfter))
	}},
	{"StopWorker", func(ctx context.Context, s hourbell.Store) error { return s.StopWorker(ctx, "op") }},
	{"Workers", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Workers(ctx, deadAfter)) }},
	{"Purge", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Purge(ctx, storage.Retention{Unfinished: true}, 1))
	}},
	{"Health", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Health(ctx, deadAfter)) }},
}

// errOf returns the error of a call that also returns a value.
func errOf[V any](_ V, err error) error { return err }

// keyErr returns the error of RunsByIdempotencyKey.
func keyErr(_ []hourbell.JobRun, _ string, err error) error { return err }

// errorTexts returns the text of an error, if any, as a list.
func errorTexts(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

// callAll calls all operations and joins their errors, each with the name of
// its operation.
func callAll(ctx context.Context, s hourbell.Store) error {
	var errs []error
	for _, op := range operations {
		if err := op.call(ctx, s); err != nil {
			errs = append(errs, errors.Join(errors.New(op.name), err))
		}
	}
	return errors.Join(errs...)
}

// callUntilError calls all operations and returns the first error.
func callUntilError(t testing.TB, s hourbell.Store) error {
	for _, op := range operations {
		if err := op.call(testContext(t), s); err != nil {
			return err
		}
	}
	return nil
}
