package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// outcomes reads outcomes as "id kind from-to count reason".
func outcomes(t testing.TB, s hourbell.Store, q hourbell.OutcomeQuery) (list []string) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	found, err := s.Outcomes(t.Context(), q)
	require.NoError(t, err)
	for _, o := range found {
		text := fmt.Sprintf("%s %s %s", o.ScheduleID, o.Trigger, o.Kind)
		if !o.SlotFrom.IsZero() {
			text += fmt.Sprintf(" %s-%s %d", o.SlotFrom.Format("15:04"), o.SlotTo.Format("15:04"), o.Count)
		}
		if o.Reason != "" {
			text += " " + o.Reason
		}
		list = append(list, text)
	}
	return list
}

// finish ends runs, as failed or not.
func finish(t testing.TB, db *dbtest.DB, status string, runs ...hourbell.JobRun) {
	t.Helper()
	for _, r := range runs {
		require.NoError(t, db.Exec("UPDATE hourbell_job_runs SET status = ? WHERE id = ?", status, r.ID).Error)
	}
}

// manual is a run of a request for a schedule.
func manual(id, key string, ordinal int) hourbell.JobRun {
	run := asked(fmt.Sprintf("job-%d", ordinal), ordinal)
	run.Trigger, run.ScheduleID, run.RequestKey = "MANUAL", id, key
	return run
}

func TestOutcomesAreWhatBecameOfTheSlots(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"), schedule("b"), schedule("never"))
		fired := enqueue(t, s, fire("a", noon, 0), fire("a", noon, 1), fire("b", noon, 0))
		finish(t, db, "FAILED", fired[1])
		enqueue(t, s, fire("a", noon.Add(time.Hour), 0), fire("a", noon.Add(time.Hour), 1))
		require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{
			{ScheduleID: "a", Kind: "SKIPPED", Reason: "LATE", SlotFrom: noon.Add(2 * time.Hour), SlotTo: noon.Add(4 * time.Hour), SlotCount: 3},
			{ScheduleID: "a", Kind: "ENABLED"},
		}))
		c.Set(noon.Add(5 * time.Hour))
		enqueue(t, s, manual("a", "", 0))
		other := bind(t, db.DB, "other", c.Now)
		insert(t, other, schedule("a"))
		enqueue(t, other, fire("a", noon.Add(6*time.Hour), 0))

		require.Equal(t, []string{
			"a MANUAL FIRED", "a CRON SKIPPED 14:00-16:00 3 LATE", "a CRON FIRED 13:00-13:00 1", "a CRON FAILED 12:00-12:00 1",
		}, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"a", "never"}}))
		require.Equal(t, []string{"b CRON FIRED 12:00-12:00 1"}, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"b"}}))
		require.Equal(t, []string{"a MANUAL FIRED", "a CRON SKIPPED 14:00-16:00 3 LATE"},
			outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"a"}, Since: noon.Add(90 * time.Minute)}))
		require.Empty(t, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"none", "\x00"}}))
	})
}

// What failed of a request is its own, also where several were made without a key.
func TestARequestFailsByItsOwnRuns(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		var last []hourbell.JobRun
		for i, key := range []string{"", "k1", "", "k2"} {
			c.Set(noon.Add(time.Duration(i) * time.Minute))
			last = enqueue(t, s, manual("a", key, 0), manual("a", key, 1))
			if i%2 == 1 { // k1 and k2
				finish(t, db, "FAILED", last[1])
			}
		}
		want := []string{"a MANUAL FAILED", "a MANUAL FIRED", "a MANUAL FAILED", "a MANUAL FIRED"}
		require.Equal(t, want, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"a"}}))

		all := list(t, s, hourbell.RunQuery{}) // newest first, two of each request
		for i, request := range map[int][]hourbell.JobRun{1: all[2:4], 3: all[6:8]} {
			was := want[i]
			want[i] = "a MANUAL FAILED" // and the other request without a key did not
			finish(t, db, "FAILED", request[0])
			require.Equal(t, want, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"a"}}))
			finish(t, db, "SUCCEEDED", request[0])
			want[i] = was
		}
	})
}

func TestOutcomesAreLimitedForEachSchedule(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"), schedule("b"))
		for i := range 10 {
			enqueue(t, s, fire("a", noon.Add(time.Duration(i)*time.Hour), 0), fire("b", noon.Add(time.Duration(i)*time.Hour), 0))
		}
		require.Equal(t, []string{
			"b CRON FIRED 21:00-21:00 1", "a CRON FIRED 21:00-21:00 1", "b CRON FIRED 20:00-20:00 1", "a CRON FIRED 20:00-20:00 1",
		}, outcomes(t, s, hourbell.OutcomeQuery{ScheduleIDs: []string{"a", "b"}, Limit: 2}))
	})
}

func TestTalliesCountTheRunsOfAFire(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"), schedule("b"))
		before := enqueue(t, s, fire("a", noon, 0), fire("a", noon, 1))
		heads := enqueue(t, s, fire("a", noon.Add(time.Hour), 0), fire("b", noon.Add(time.Hour), 0))
		var jobs []hourbell.JobRun
		for i := range 9 {
			jobs = append(jobs, fire("a", noon.Add(time.Hour), i+1))
		}
		jobs = enqueue(t, s, jobs...)
		request := enqueue(t, s, manual("a", "k", 0), manual("a", "k", 1))
		finish(t, db, "SUCCEEDED", jobs[:3]...)
		finish(t, db, "FAILED", jobs[3:5]...)
		finish(t, db, "RUNNING", jobs[5], before[1])

		byID := map[string]int64{heads[0].ScheduleID: heads[0].ID, heads[1].ScheduleID: heads[1].ID}
		tallies, err := s.Tallies(t.Context(), []int64{byID["a"], byID["b"], request[0].ID, 4711}, 1000)
		require.NoError(t, err)
		require.Equal(t, map[int64]hourbell.Tally{
			byID["a"]: {Queued: 4, Running: 1, Succeeded: 3, Failed: 2}, byID["b"]: {Queued: 1}, request[0].ID: {Queued: 2},
		}, tallies)
		// Those of later fires and requests are not counted.
		bare := enqueue(t, s, manual("a", "", 0))
		enqueue(t, s, manual("a", "k2", 0))
		tallies, err = s.Tallies(t.Context(), []int64{before[0].ID, bare[0].ID}, 1000)
		require.NoError(t, err)
		require.Equal(t, map[int64]hourbell.Tally{before[0].ID: {Queued: 1, Running: 1}, bare[0].ID: {Queued: 1}}, tallies)
		tallies, err = s.Tallies(t.Context(), []int64{byID["a"]}, 4)
		require.NoError(t, err)
		require.Equal(t, 4, tallies[byID["a"]].Total())
		other, err := bind(t, db.DB, "other", c.Now).Tallies(t.Context(), []int64{byID["a"]}, 1000)
		require.NoError(t, err)
		require.Empty(t, other)
	})
}

// A page of schedules does not cost more where the history is long.
func TestOutcomesWalkTheirIndexes(t *testing.T) {
	db := dbtest.Postgres(t)
	many(t, db, 500, 0)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at)
		SELECT 'test', 'job', CASE WHEN i % 50 = 0 THEN 'MANUAL' ELSE 'CRON' END, 'schedule-' || i % 500,
			CASE WHEN i % 50 > 0 THEN timestamptz '2026-06-01' + make_interval(mins => i / 500) END, 0,
			CASE WHEN i % 97 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, clock_timestamp() FROM generate_series(1, 100000) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_events (namespace, kind, schedule_id, at, slot_from, slot_to)
		SELECT 'test', CASE WHEN i % 10 = 0 THEN 'SKIPPED' ELSE 'ENQUEUE_FAILED' END, 'schedule-' || i % 500, clock_timestamp(), clock_timestamp(), clock_timestamp()
		FROM generate_series(1, 20000) i`).Error)
	require.NoError(t, db.Exec("ANALYZE").Error)
	handle, pool := watch(t, db, gorm.Config{})
	s := bind(t, handle, "test", nil)
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("schedule-%d", i)
	}
	var heads []int64
	statements := pool.during(func() {
		found, err := s.Outcomes(soon(t), hourbell.OutcomeQuery{ScheduleIDs: ids, Limit: 20})
		require.NoError(t, err)
		for _, o := range found {
			if o.RunID != 0 {
				heads = append(heads, o.RunID)
			}
		}
		_, err = s.Tallies(soon(t), heads[:50], 1000)
		require.NoError(t, err)
	})
	require.Len(t, statements, 2)
	for i, statement := range statements {
		for name, plan := range plans(t, db, statement) {
			require.NotContains(t, plan, "Seq Scan on hourbell_job_runs", "%s:\n%s", name, plan)
			require.NotContains(t, plan, "Seq Scan on hourbell_events", "%s:\n%s", name, plan)
			for _, index := range [][]string{{"_fire", "_manual", "_skipped", "_failed"}, {"_schedule"}}[i] {
				require.Contains(t, plan, index, "%s:\n%s", name, plan)
			}
		}
	}
}
