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
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// noon is where the tests' clock begins.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// The lengths that the tests' claims use.
const (
	grace      = 2 * time.Minute
	lockTTL    = 5 * time.Minute
	maxBackoff = time.Minute
	deadAfter  = 30 * time.Second
)

// clock is a clock that tests set.
type testClock = testclock.Clock

func newClock(at time.Time) *testClock { return testclock.New(at) }

// bound is the store of a database, for the namespace "test", on a clock that stands at noon.
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

// each runs a test on a migrated database of each kind, with a store on a clock that stands at noon.
func eachDatabase(t *testing.T, test func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s, c := newStore(t, db.DB)
		test(t, db, s, c)
	})
}

// eachEmpty runs a test on a database of each kind that has no tables.
func eachEmptyDatabase(t *testing.T, test func(t *testing.T, db *dbtest.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, dbtest.EmptySQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, dbtest.EmptyPostgres(t)) })
}

// onPostgres runs a test on the database that has the second road.
func onPostgres(t *testing.T, test func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock)) {
	t.Helper()
	db := dbtest.Postgres(t)
	s, c := newStore(t, db.DB)
	test(t, db, s, c)
}

// soon is the test's context with an end, so that a wait that never ends fails the test.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// schedule is an enabled schedule that is due at noon.
func dueSchedule(id string) hourbell.Schedule { return scheduleDueAt(id, noon) }

func scheduleDueAt(id string, next time.Time) hourbell.Schedule {
	return hourbell.Schedule{
		Namespace: "test", ID: id, Name: "name of " + id, Description: "description of " + id, Cron: "0 * * * *", TimeZone: "Europe/Berlin",
		TargetKind: "JOBS", Target: `["import"]`, Grace: grace, DefinitionHash: "h1", Enabled: true, NextRunAt: next,
	}
}

func numberedID(i int) string { return time.Unix(int64(i), 0).UTC().Format("id-04-05") }

// insert adds schedules that were not there yet.
func insertSchedules(t testing.TB, s hourbell.Store, rows ...hourbell.Schedule) {
	t.Helper()
	ids, err := s.Insert(t.Context(), newUpdates(rows...))
	require.NoError(t, err)
	require.Len(t, ids, len(rows))
}

// added are schedules as Insert takes them.
func newUpdates(rows ...hourbell.Schedule) []hourbell.Revision {
	list := make([]hourbell.Revision, len(rows))
	for i, row := range rows {
		list[i].Schedule = row
	}
	return list
}

// row reads a schedule.
func readSchedule(t testing.TB, s hourbell.Store, id string) hourbell.Schedule {
	t.Helper()
	list, err := s.Schedules(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// set writes a column past the store. An instant goes in as the database has it.
func setColumn(t testing.TB, db *dbtest.DB, id, column string, value any) {
	t.Helper()
	if at, ok := value.(time.Time); ok && db.Dialect == "sqlite" {
		value = at.UnixMicro()
	}
	done := db.Exec("UPDATE hourbell_schedules SET "+column+" = ? WHERE id = ?", value, id)
	require.NoError(t, done.Error)
	require.EqualValues(t, 1, done.RowsAffected)
}

// request is what a worker of the loop asks for.
func claimRequest(worker string) hourbell.ClaimRequest {
	return hourbell.ClaimRequest{Worker: worker, Limit: 1000, LockTTL: lockTTL, MaxHold: maxBackoff, Dead: deadAfter, Except: []string{}}
}

// claim claims all that is due.
func claimAll(t testing.TB, s hourbell.Store, worker string) hourbell.Claims {
	t.Helper()
	claims, err := s.Claim(t.Context(), claimRequest(worker))
	require.NoError(t, err)
	return claims
}

// claimOne claims the one schedule that is due.
func claimOne(t testing.TB, s hourbell.Store, worker string) hourbell.Claim {
	t.Helper()
	claims := claimAll(t, s, worker)
	require.Len(t, claims.Rows, 1)
	return claims.Rows[0]
}

// claimIDs are the ids of claims, in their order.
func claimedIDs(claims hourbell.Claims) []string {
	ids := []string{}
	for _, c := range claims.Rows {
		ids = append(ids, c.ID)
	}
	return ids
}

// settled is a settlement that fires the slot of a claim; the next is an hour later.
func firedAdvance(c hourbell.Claim) hourbell.Settlement {
	return hourbell.Settlement{Claim: c, Fired: c.NextRunAt, Through: c.NextRunAt, Next: c.NextRunAt.Add(time.Hour)}
}

// advance settles a claim and says whether it still held.
func advanceOne(t testing.TB, s hourbell.Store, worker string, c hourbell.Claim) bool {
	t.Helper()
	ids, err := s.Advance(t.Context(), worker, []hourbell.Settlement{firedAdvance(c)})
	require.NoError(t, err)
	return len(ids) == 1
}

// revise writes a schedule over and says whether it was still as read.
func updateOne(t testing.TB, s hourbell.Store, r hourbell.Revision) bool {
	t.Helper()
	ids, err := s.Revise(t.Context(), []hourbell.Revision{r})
	require.NoError(t, err)
	return len(ids) == 1
}

// beat writes the heartbeat of a worker.
func sendHeartbeat(t testing.TB, s hourbell.Store, id string) {
	t.Helper()
	_, err := s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", Hostname: "host", PID: 1}, 30*time.Second)
	require.NoError(t, err)
}

// fire is a run of a schedule's slot.
func cronRun(id string, slot time.Time, ordinal int) hourbell.JobRun {
	return hourbell.JobRun{
		Namespace: "test", Job: fmt.Sprintf("job-%d", ordinal), Group: "feed", Trigger: "CRON", ScheduleID: id, ScheduledFor: slot,
		Ordinal: ordinal, Status: "QUEUED",
	}
}

// asked is a run that somebody asked for.
func apiRun(job string, ordinal int) hourbell.JobRun {
	return hourbell.JobRun{Namespace: "test", Job: job, Trigger: "API", Ordinal: ordinal, Status: "QUEUED"}
}

// enqueue inserts runs, all of which must be new.
func insertRuns(t testing.TB, s hourbell.Store, runs ...hourbell.JobRun) []hourbell.JobRun {
	t.Helper()
	list, err := s.InsertRuns(t.Context(), runs)
	require.NoError(t, err)
	require.Len(t, list, len(runs))
	return list
}

// together calls fn n times at once and returns the errors.
func runConcurrently(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	var start, all sync.WaitGroup
	start.Add(1)
	for i := range n {
		all.Go(func() {
			start.Wait()
			errs[i] = fn(i)
		})
	}
	start.Done()
	all.Wait()
	return errs
}

// awaitLockWait waits until a session of this Postgres database waits for a lock.
func waitForLockWait(t testing.TB, db *dbtest.DB) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n int
		err := db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n).Error
		return err == nil && n > 0
	}, 10*time.Second, 2*time.Millisecond)
}
