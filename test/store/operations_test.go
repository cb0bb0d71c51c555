package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hourbell/hourbell"
)

// verb is one call of a store that needs its tables.
type operation struct {
	name string
	call func(ctx context.Context, s hourbell.Store) error
}

// verbs are all of them. On an empty store each works and finds nothing.
var operations = []operation{
	{"Ready", func(ctx context.Context, s hourbell.Store) error { return s.Ready(ctx) }},
	{"Schedules", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Schedules(ctx)) }},
	{"Schedules by id", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Schedules(ctx, "a")) }},
	{"ListSchedules", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.ListSchedules(ctx, hourbell.ScheduleQuery{Sort: "id", Limit: 1}))
	}},
	{"Insert", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Insert(ctx, newUpdates(scheduleDueAt("verb", noon.AddDate(1000, 0, 0)))))
	}},
	{"Revise", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Revise(ctx, []hourbell.Revision{{Schedule: dueSchedule("a"), ReadHash: "none"}}))
	}},
	{"Claim", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Claim(ctx, claimRequest("verb"))) }},
	{"Advance", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Advance(ctx, "verb", []hourbell.Settlement{firedAdvance(hourbell.Claim{ID: "a"})}))
	}},
	{"GiveBack", func(ctx context.Context, s hourbell.Store) error {
		return s.GiveBack(ctx, "verb", []hourbell.Claim{{ID: "a"}})
	}},
	{"Hold", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Hold(ctx, "verb", []hourbell.Failure{{Claim: hourbell.Claim{ID: "a"}}}))
	}},
	{"Unlock", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Unlock(ctx, "a")) }},
	{"InsertRuns", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.InsertRuns(ctx, []hourbell.JobRun{cronRun("verb", noon, 0)}))
	}},
	{"RunsByKey", func(ctx context.Context, s hourbell.Store) error { return errOf(s.RunsByKey(ctx, "key")) }},
	{"Runs", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Runs(ctx, hourbell.RunQuery{Limit: 1}))
	}},
	{"Outcomes", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Outcomes(ctx, hourbell.OutcomeQuery{ScheduleIDs: []string{"a"}, Limit: 1}))
	}},
	{"Tallies", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Tallies(ctx, []int64{1}, 1)) }},
	{"TakeRuns", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.TakeRuns(ctx, hourbell.TakeRequest{Worker: "verb", Limit: 1, Lease: time.Minute}))
	}},
	{"ExtendRun", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.ExtendRun(ctx, hourbell.JobRun{}, time.Minute))
	}},
	{"FinishRun", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.FinishRun(ctx, hourbell.JobRun{}, "SUCCEEDED", ""))
	}},
	{"InsertEvents", func(ctx context.Context, s hourbell.Store) error {
		return s.InsertEvents(ctx, []hourbell.Event{{Kind: "ENABLED"}})
	}},
	{"Events", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Events(ctx, hourbell.EventQuery{Limit: 1}))
	}},
	{"Heartbeat", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Heartbeat(ctx, hourbell.Worker{ID: "verb", WorkerType: "schedule_daemon"}, 30*time.Second))
	}},
	{"StopWorker", func(ctx context.Context, s hourbell.Store) error { return s.StopWorker(ctx, "verb") }},
	{"Workers", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Workers(ctx)) }},
	{"Purge", func(ctx context.Context, s hourbell.Store) error {
		return errOf(s.Purge(ctx, hourbell.Keep{Unfinished: true}, 1))
	}},
	{"Health", func(ctx context.Context, s hourbell.Store) error { return errOf(s.Health(ctx, deadAfter)) }},
}

// second is the error of a call that answers something too.
func errOf[V any](_ V, err error) error { return err }

func errorTexts(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

// every calls all verbs and joins their errors, each with the verb's name.
func callAll(ctx context.Context, s hourbell.Store) error {
	var errs []error
	for _, v := range operations {
		if err := v.call(ctx, s); err != nil {
			errs = append(errs, errors.Join(errors.New(v.name), err))
		}
	}
	return errors.Join(errs...)
}

// everyAgain is every without what only one of many can do.
func callUntilError(t testing.TB, s hourbell.Store) error {
	for _, v := range operations {
		if err := v.call(testContext(t), s); err != nil {
			return err
		}
	}
	return nil
}
