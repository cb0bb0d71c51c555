package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// readOutcomes returns each outcome as "id trigger kind from-to count reason".
func readOutcomes(t testing.TB, s hourbell.Store, q storage.OutcomeQuery) (list []string) {
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
			text += " " + string(o.Reason)
		}
		list = append(list, text)
	}
	return list
}

// setRunStatus sets the status of runs directly.
func setRunStatus(t testing.TB, db *dbtest.DB, status hourbell.RunStatus, runs ...hourbell.JobRun) {
	t.Helper()
	for _, r := range runs {
		require.NoError(t, db.Exec("UPDATE hourbell_job_runs SET status = ? WHERE id = ?", status, r.ID).Error)
	}
}

// manualRun returns a run of a RunNow request for a schedule.
func manualRun(id, key string, ordinal int) hourbell.JobRun {
	run := apiRun(fmt.Sprintf("job-%d", ordinal), ordinal)
	run.Trigger, run.ScheduleID, run.IdempotencyKey = hourbell.TriggerManual, id, key
	return run
}

func TestOutcomesCoverSlotsAndRequests(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("never"))
		fired := insertRuns(t, s, cronRun("a", noon, 0), cronRun("a", noon, 1), cronRun("b", noon, 0))
		setRunStatus(t, db, hourbell.RunFailed, fired[1])
		insertRuns(t, s, cronRun("a", noon.Add(time.Hour), 0), cronRun("a", noon.Add(time.Hour), 1))
		require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{
			{ScheduleID: "a", Kind: hourbell.EventSkipped, Reason: hourbell.SkipLate, SlotFrom: noon.Add(2 * time.Hour), SlotTo: noon.Add(4 * time.Hour), SlotCount: 3},
			{ScheduleID: "a", Kind: hourbell.EventEnabled},
		}))
		c.Set(noon.Add(5 * time.Hour))
		insertRuns(t, s, manualRun("a", "", 0))
		other := bindStore(t, db.DB, "other", c.Now)
		insertSchedules(t, other, dueSchedule("a"))
		insertRuns(t, other, cronRun("a", noon.Add(6*time.Hour), 0))

		require.Equal(t, []string{
			"a MANUAL FIRED", "a CRON SKIPPED 14:00-16:00 3 LATE", "a CRON FIRED 13:00-13:00 1", "a CRON FAILED 12:00-12:00 1",
		}, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"a", "never"}}))
		require.Equal(t, []string{"b CRON FIRED 12:00-12:00 1"}, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"b"}}))
		require.Equal(t, []string{"a MANUAL FIRED", "a CRON SKIPPED 14:00-16:00 3 LATE"},
			readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"a"}, Since: noon.Add(90 * time.Minute)}))
		require.Empty(t, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"none", "\x00"}}))
	})
}

// The outcome of a request depends only on its own runs, even if other requests
// have no idempotency key either.
func TestOutcomeOfRequestUsesOwnRuns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		var last []hourbell.JobRun
		for i, key := range []string{"", "k1", "", "k2"} {
			c.Set(noon.Add(time.Duration(i) * time.Minute))
			last = insertRuns(t, s, manualRun("a", key, 0), manualRun("a", key, 1))
			if i%2 == 1 { // the requests with keys k1 and k2
				setRunStatus(t, db, hourbell.RunFailed, last[1])
			}
		}
		want := []string{"a MANUAL FAILED", "a MANUAL FIRED", "a MANUAL FAILED", "a MANUAL FIRED"}
		require.Equal(t, want, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"a"}}))

		all := listRuns(t, s, hourbell.RunQuery{}) // newest first, two runs per request
		for i, request := range map[int][]hourbell.JobRun{1: all[2:4], 3: all[6:8]} {
			was := want[i]
			want[i] = "a MANUAL FAILED" // the other request without a key stays FIRED
			setRunStatus(t, db, hourbell.RunFailed, request[0])
			require.Equal(t, want, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"a"}}))
			setRunStatus(t, db, hourbell.RunSucceeded, request[0])
			want[i] = was
		}
	})
}

func TestOutcomesLimitIsPerSchedule(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		for i := range 10 {
			insertRuns(t, s, cronRun("a", noon.Add(time.Duration(i)*time.Hour), 0), cronRun("b", noon.Add(time.Duration(i)*time.Hour), 0))
		}
		require.Equal(t, []string{
			"b CRON FIRED 21:00-21:00 1", "a CRON FIRED 21:00-21:00 1", "b CRON FIRED 20:00-20:00 1", "a CRON FIRED 20:00-20:00 1",
		}, readOutcomes(t, s, storage.OutcomeQuery{ScheduleIDs: []string{"a", "b"}, Limit: 2}))
	})
}

func TestTalliesCountRunsOfFire(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		before := insertRuns(t, s, cronRun("a", noon, 0), cronRun("a", noon, 1))
		firstRuns := insertRuns(t, s, cronRun("a", noon.Add(time.Hour), 0), cronRun("b", noon.Add(time.Hour), 0))
		var jobs []hourbell.JobRun
		for i := range 9 {
			jobs = append(jobs, cronRun("a", noon.Add(time.Hour), i+1))
		}
		jobs = insertRuns(t, s, jobs...)
		request := insertRuns(t, s, manualRun("a", "k", 0), manualRun("a", "k", 1))
		setRunStatus(t, db, hourbell.RunSucceeded, jobs[:3]...)
		setRunStatus(t, db, hourbell.RunFailed, jobs[3:5]...)
		setRunStatus(t, db, hourbell.RunRunning, jobs[5], before[1])

		byID := map[string]int64{firstRuns[0].ScheduleID: firstRuns[0].ID, firstRuns[1].ScheduleID: firstRuns[1].ID}
		tallies, err := s.Tallies(t.Context(), []int64{byID["a"], byID["b"], request[0].ID, 4711}, 1000)
		require.NoError(t, err)
		require.Equal(t, map[int64]hourbell.Tally{
			byID["a"]: {Queued: 4, Running: 1, Succeeded: 3, Failed: 2}, byID["b"]: {Queued: 1}, request[0].ID: {Queued: 2},
		}, tallies)
		// Runs of later fires and requests are not counted.
		bare := insertRuns(t, s, manualRun("a", "", 0))
		insertRuns(t, s, manualRun("a", "k2", 0))
		tallies, err = s.Tallies(t.Context(), []int64{before[0].ID, bare[0].ID}, 1000)
		require.NoError(t, err)
		require.Equal(t, map[int64]hourbell.Tally{before[0].ID: {Queued: 1, Running: 1}, bare[0].ID: {Queued: 1}}, tallies)
		tallies, err = s.Tallies(t.Context(), []int64{byID["a"]}, 4)
		require.NoError(t, err)
		few := tallies[byID["a"]]
		require.Equal(t, 4, few.Queued+few.Running+few.Succeeded+few.Failed)
		other, err := bindStore(t, db.DB, "other", c.Now).Tallies(t.Context(), []int64{byID["a"]}, 1000)
		require.NoError(t, err)
		require.Empty(t, other)
	})
}

// The cost of a page of outcomes does not depend on the length of the history.
func TestOutcomesUseIndexes(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 500, 0)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at)
		SELECT 'test', 'job', CASE WHEN i % 50 = 0 THEN 'MANUAL' ELSE 'CRON' END, 'schedule-' || i % 500,
			CASE WHEN i % 50 > 0 THEN timestamptz '2026-06-01' + make_interval(mins => i / 500) END, 0,
			CASE WHEN i % 97 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, clock_timestamp() FROM generate_series(1, 100000) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_events (namespace, kind, schedule_id, at, slot_from, slot_to)
		SELECT 'test', CASE WHEN i % 10 = 0 THEN 'SKIPPED' ELSE 'ENQUEUE_FAILED' END, 'schedule-' || i % 500, clock_timestamp(), clock_timestamp(), clock_timestamp()
		FROM generate_series(1, 20000) i`).Error)
	require.NoError(t, db.Exec("ANALYZE").Error)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("schedule-%d", i)
	}
	var firstRuns []int64
	statements := pool.during(func() {
		found, err := s.Outcomes(testContext(t), storage.OutcomeQuery{ScheduleIDs: ids, Limit: 20})
		require.NoError(t, err)
		for _, o := range found {
			if o.RunID != 0 {
				firstRuns = append(firstRuns, o.RunID)
			}
		}
		_, err = s.Tallies(testContext(t), firstRuns[:50], 1000)
		require.NoError(t, err)
	})
	require.Len(t, statements, 2)
	for i, statement := range statements {
		for name, plan := range explainPlans(t, db, statement) {
			require.NotContains(t, plan, "Seq Scan on hourbell_job_runs", "%s:\n%s", name, plan)
			require.NotContains(t, plan, "Seq Scan on hourbell_events", "%s:\n%s", name, plan)
			for _, index := range [][]string{{"_fire", "_manual", "_skipped", "_failed"}, {"_schedule"}}[i] {
				require.Contains(t, plan, index, "%s:\n%s", name, plan)
			}
		}
	}
}
