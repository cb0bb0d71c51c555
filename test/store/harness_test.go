package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// noon is the initial time of the test clocks.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// The durations that the tests use in claims.
const (
	grace      = 2 * time.Minute
	lockTTL    = 5 * time.Minute
	maxBackoff = time.Minute
	deadAfter  = 30 * time.Second
)

// testClock is a clock that a test sets.
type testClock = testclock.Clock

func newClock(at time.Time) *testClock { return testclock.New(at) }

// newStore returns a store of the namespace "test" with a clock set to noon.
func newStore(t testing.TB, db *gorm.DB) (hourbell.Store, *testClock) {
	t.Helper()
	c := newClock(noon)
	return bindStore(t, db, "test", c.Now), c
}

func bindStore(t testing.TB, db *gorm.DB, namespace string, now func() time.Time) hourbell.Store {
	t.Helper()
	s, err := store.New(db).Bind(namespace, now)
	require.NoError(t, err)
	return s
}

// eachDatabase runs a test on a migrated database of each kind. The clock of
// the store is set to noon.
func eachDatabase(t *testing.T, test func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s, c := newStore(t, db.DB)
		test(t, db, s, c)
	})
}

// eachEmptyDatabase runs a test on an empty database of each kind.
func eachEmptyDatabase(t *testing.T, test func(t *testing.T, db *dbtest.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, dbtest.EmptySQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, dbtest.EmptyPostgres(t)) })
}

// onPostgres runs a test on a migrated Postgres database.
func onPostgres(t *testing.T, test func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock)) {
	t.Helper()
	db := dbtest.Postgres(t)
	s, c := newStore(t, db.DB)
	test(t, db, s, c)
}

// testContext returns the context of a test with a deadline, so that an endless
// wait fails the test.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dueSchedule returns an enabled schedule that is due at noon.
func dueSchedule(id string) storage.Schedule { return scheduleDueAt(id, noon) }

func scheduleDueAt(id string, next time.Time) storage.Schedule {
	return storage.Schedule{
		Namespace: "test", ID: id, Name: "name of " + id, Description: "description of " + id, Cron: "0 * * * *", TimeZone: "Europe/Berlin",
		TargetKind: "JOBS", Target: `["import"]`, Grace: grace, DefinitionHash: "h1", Enabled: true, NextRunAt: next,
	}
}

// numberedID returns an id that sorts by its number.
func numberedID(i int) string { return fmt.Sprintf("id-%04d", i) }

// insertSchedules inserts schedules, all of which must be new.
func insertSchedules(t testing.TB, s hourbell.Store, rows ...storage.Schedule) {
	t.Helper()
	ids, err := s.InsertSchedules(t.Context(), newUpdates(rows...))
	require.NoError(t, err)
	require.Len(t, ids, len(rows))
}

// newUpdates returns schedules in the form that InsertSchedules takes.
func newUpdates(rows ...storage.Schedule) []storage.ScheduleUpdate {
	list := make([]storage.ScheduleUpdate, len(rows))
	for i, row := range rows {
		list[i].Schedule = row
	}
	return list
}

// readSchedule reads a schedule by its id. It clears ReadAt, so that tests can
// compare stored values.
func readSchedule(t testing.TB, s hourbell.Store, id string) storage.Schedule {
	t.Helper()
	list, err := s.Schedules(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NotZero(t, list[0].ReadAt)
	list[0].ReadAt = time.Time{}
	return list[0]
}

// setColumn writes a column of a schedule directly, with times in the format of
// the database.
func setColumn(t testing.TB, db *dbtest.DB, id, column string, value any) {
	t.Helper()
	if at, ok := value.(time.Time); ok && db.Dialect == "sqlite" {
		value = at.UnixMicro()
	}
	done := db.Exec("UPDATE hourbell_schedules SET "+column+" = ? WHERE id = ?", value, id)
	require.NoError(t, done.Error)
	require.EqualValues(t, 1, done.RowsAffected)
}

// claimRequest returns the request that the loop of a worker makes.
func claimRequest(worker string) storage.ClaimRequest {
	return storage.ClaimRequest{Worker: worker, Limit: 1000, LockTTL: lockTTL, MaxBackoff: maxBackoff, DeadAfter: deadAfter, Exclude: []string{}}
}

// claimAll claims all due schedules.
func claimAll(t testing.TB, s hourbell.Store, worker string) storage.ClaimResult {
	t.Helper()
	result, err := s.Claim(t.Context(), claimRequest(worker))
	require.NoError(t, err)
	return result
}

// claimOne claims the only due schedule.
func claimOne(t testing.TB, s hourbell.Store, worker string) storage.Claim {
	t.Helper()
	result := claimAll(t, s, worker)
	require.Len(t, result.Claims, 1)
	return result.Claims[0]
}

// claimedIDs returns the ids of claims in their order.
func claimedIDs(result storage.ClaimResult) []string {
	ids := []string{}
	for _, c := range result.Claims {
		ids = append(ids, c.ID)
	}
	return ids
}

// firedAdvance fires the slot of a claim. The next slot is an hour later.
func firedAdvance(c storage.Claim) storage.Advance {
	return storage.Advance{Claim: c, Fired: c.NextRunAt, Through: c.NextRunAt, Next: c.NextRunAt.Add(time.Hour)}
}

// advanceOne advances a claim and reports whether the claim was valid.
func advanceOne(t testing.TB, s hourbell.Store, worker string, c storage.Claim) bool {
	t.Helper()
	ids, err := s.Advance(t.Context(), worker, []storage.Advance{firedAdvance(c)})
	require.NoError(t, err)
	return len(ids) == 1
}

// updateOne updates a schedule and reports whether the row was unchanged.
func updateOne(t testing.TB, s hourbell.Store, r storage.ScheduleUpdate) bool {
	t.Helper()
	ids, err := s.UpdateSchedules(t.Context(), []storage.ScheduleUpdate{r})
	require.NoError(t, err)
	return len(ids) == 1
}

// sendHeartbeat writes a heartbeat of a worker.
func sendHeartbeat(t testing.TB, s hourbell.Store, id string) {
	t.Helper()
	_, err := s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", Hostname: "host", PID: 1}, deadAfter)
	require.NoError(t, err)
}

// cronRun returns a run of a slot.
func cronRun(id string, slot time.Time, ordinal int) hourbell.JobRun {
	return hourbell.JobRun{
		Namespace: "test", Job: fmt.Sprintf("job-%d", ordinal), Group: "feed", Trigger: hourbell.TriggerCron, ScheduleID: id, ScheduledFor: slot,
		Ordinal: ordinal, Status: hourbell.RunQueued,
	}
}

// apiRun returns a run of an enqueue call.
func apiRun(job string, ordinal int) hourbell.JobRun {
	return hourbell.JobRun{Namespace: "test", Job: job, Trigger: hourbell.TriggerAPI, Ordinal: ordinal, Status: hourbell.RunQueued}
}

// insertRuns inserts runs, all of which must be new.
func insertRuns(t testing.TB, s hourbell.Store, runs ...hourbell.JobRun) []hourbell.JobRun {
	t.Helper()
	list, err := s.InsertRuns(t.Context(), runs)
	require.NoError(t, err)
	require.Len(t, list, len(runs))
	return list
}

// runConcurrently calls fn n times concurrently and returns the errors.
func runConcurrently(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		done.Go(func() {
			start.Wait()
			errs[i] = fn(i)
		})
	}
	start.Done()
	done.Wait()
	return errs
}

// waitForLockWait waits until a session of this Postgres database waits for a
// lock.
func waitForLockWait(t testing.TB, db *dbtest.DB) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n).Error
		return err == nil && n > 0
	}, 10*time.Second, 2*time.Millisecond)
}
