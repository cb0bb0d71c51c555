package store_test

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// retention has a different duration for each kind of row.
var retention = storage.Retention{Runs: 30 * 24 * time.Hour, Events: 20 * 24 * time.Hour, Removed: 14 * 24 * time.Hour, Workers: 24 * time.Hour}

// purgeRows returns how many rows a purge deletes.
func purgeRows(t testing.TB, s hourbell.Store, r storage.Retention, limit int) int {
	t.Helper()
	result, err := s.Purge(t.Context(), r, limit)
	require.NoError(t, err)
	return int(result.Deleted)
}

// seedHistory writes at noon: a finished, a running and a queued run, an event,
// a removed and a present schedule, and a worker.
func seedHistory(t testing.TB, db *dbtest.DB, s hourbell.Store) {
	t.Helper()
	insertRuns(t, s, apiRun("finished", 0))
	finished := takeRun(t, s, "h")
	_, err := s.FinishRun(t.Context(), finished, hourbell.RunSucceeded, "")
	require.NoError(t, err)
	insertRuns(t, s, apiRun("running", 0))
	takeRun(t, s, "h")
	insertRuns(t, s, apiRun("queued", 0))
	require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}}))
	insertSchedules(t, s, dueSchedule("removed"), dueSchedule("present"))
	setColumn(t, db, "removed", "removed_at", noon)
	sendHeartbeat(t, s, "w1")
}

// countRows returns the number of rows of each kind.
func countRows(t testing.TB, s hourbell.Store) string {
	t.Helper()
	schedules, err := s.Schedules(t.Context())
	require.NoError(t, err)
	events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 100})
	require.NoError(t, err)
	return fmt.Sprintf("%d runs, %d events, %d schedules, %d workers", len(listRuns(t, s, hourbell.RunQuery{})), len(events), len(schedules), len(listWorkers(t, s)))
}

// D5, O4: A row is deleted as soon as it is past the retention of its kind, and
// not before.
func TestPurgeDeletesRowsPastRetention(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		seedHistory(t, db, s)
		for _, step := range []struct {
			after time.Duration
			want  string
		}{
			{0, "3 runs, 1 events, 2 schedules, 1 workers"},
			{retention.Workers, "3 runs, 1 events, 2 schedules, 0 workers"},
			{retention.Removed, "3 runs, 1 events, 1 schedules, 0 workers"},
			{retention.Events, "3 runs, 0 events, 1 schedules, 0 workers"},
			{retention.Runs, "2 runs, 0 events, 1 schedules, 0 workers"},
			{10 * retention.Runs, "2 runs, 0 events, 1 schedules, 0 workers"},
		} {
			before := countRows(t, s)
			c.Set(noon.Add(step.after))
			require.Zero(t, purgeRows(t, s, retention, 100), "%v", step.after)
			require.Equal(t, before, countRows(t, s))
			c.Advance(time.Microsecond)
			deleted := purgeRows(t, s, retention, 100)
			require.Equal(t, step.want, countRows(t, s), "%v", step.after)
			require.Equal(t, before != step.want, deleted == 1)
		}
		require.Equal(t, "present", readSchedule(t, s, "present").ID)
	})
}

func TestPurgeDeletesUnfinishedRunsOnRequest(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		seedHistory(t, db, s)
		all := retention
		all.Unfinished = true
		c.Advance(retention.Runs)
		insertRuns(t, s, apiRun("recent", 0))
		purgeRows(t, s, all, 100)
		require.Len(t, listRuns(t, s, hourbell.RunQuery{}), 4)
		c.Advance(time.Microsecond)
		purgeRows(t, s, all, 100)
		require.Equal(t, []string{"recent"}, jobNames(listRuns(t, s, hourbell.RunQuery{})))
	})
}

// A purge deletes everything that is past its retention, in batches of up to
// limit rows.
func TestPurgeHonorsLimit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		handle, sent := openRecorded(t, db, gorm.Config{})
		s, c := newStore(t, handle)
		for i := range 10 {
			insertRuns(t, s, apiRun("finished", 0), apiRun("queued", 0))
			done, err := s.FinishRun(t.Context(), takeRun(t, s, "h"), hourbell.RunFailed, "")
			require.NoError(t, err)
			require.True(t, done)
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}}))
			insertSchedules(t, s, dueSchedule(numberedID(i)))
			setColumn(t, db, numberedID(i), "removed_at", noon)
			sendHeartbeat(t, s, numberedID(i))
		}
		if db.Dialect == "postgres" { // so that the planner knows the tables
			require.NoError(t, db.Exec("ANALYZE").Error)
		}
		c.Advance(365 * 24 * time.Hour)
		all := retention
		all.Unfinished = true
		deletes := 0
		for _, statement := range sent.during(func() { require.Equal(t, 50, purgeRows(t, s, all, 3)) }) {
			if strings.Contains(statement.text, "DELETE FROM") {
				deletes++
			}
		}
		require.Equal(t, 5*4, deletes, "ten rows of each of five kinds, three at a time")
		require.Equal(t, "0 runs, 0 events, 0 schedules, 0 workers", countRows(t, s))
	})
}

// A purge that is interrupted has deleted the oldest rows.
func TestPurgeDeletesOldestFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		handle, sent := openRecorded(t, db, gorm.Config{})
		s, c := newStore(t, handle)
		for i := range 5 {
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled, Note: fmt.Sprint(i)}}))
			c.Advance(time.Hour)
		}
		c.Advance(retention.Events)
		deletes := 0
		sent.onStatement = func(text string) error {
			if strings.Contains(text, "DELETE FROM hourbell_events") {
				if deletes++; deletes > 1 {
					return driver.ErrBadConn
				}
			}
			return nil
		}
		result, err := s.Purge(testContext(t), retention, 2)
		require.ErrorIs(t, err, hourbell.ErrUnavailable)
		require.EqualValues(t, 2, result.Deleted)
		events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, events, 3)
		require.Equal(t, []string{"4", "3", "2"}, []string{events[0].Note, events[1].Note, events[2].Note})
	})
}

// D5: A schedule that is declared again is kept.
func TestPurgeKeepsRedeclaredSchedule(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		setColumn(t, db, "a", "removed_at", noon)
		c.Advance(retention.Removed + time.Hour)
		require.True(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: dueSchedule("a"), ReadHash: "h1", Settles: true}))
		require.Zero(t, purgeRows(t, s, retention, 10))
		require.Zero(t, readSchedule(t, s, "a").RemovedAt)
	})
}

func TestPurgeDoesNotWaitForLockedRows(t *testing.T) {
	db := dbtest.Postgres(t)
	s, c := newStore(t, db.DB)
	seedHistory(t, db, s)
	c.Advance(365 * 24 * time.Hour)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		for _, table := range []string{"job_runs", "events", "schedules", "workers"} {
			require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_"+table+" FOR UPDATE").Error)
		}
		result, err := s.Purge(testContext(t), retention, 10)
		require.NoError(t, err)
		require.Zero(t, result.Deleted)
		return nil
	}))
	require.Equal(t, 4, purgeRows(t, s, retention, 10))
}

// D2: The last ENABLED or DISABLED event of a schedule is kept, because it says
// how to restore a missing row. It is deleted once the schedule is removed.
func TestPurgeKeepsLastSwitch(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		add := func(id string, kinds ...hourbell.EventKind) {
			for i, kind := range kinds {
				require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: id, Kind: kind, Note: fmt.Sprint(i)}}))
			}
		}
		add("a", hourbell.EventDefined, hourbell.EventEnabled, hourbell.EventSkipped, hourbell.EventDisabled, hourbell.EventSkipped)
		add("removed", hourbell.EventEnabled, hourbell.EventRemoved)
		add("b", hourbell.EventEnabled)
		c.Advance(retention.Events + time.Second)
		add("b", hourbell.EventSkipped)
		for range 2 {
			_, err := s.Purge(t.Context(), retention, 2)
			require.NoError(t, err)
		}
		events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
		require.NoError(t, err)
		var left []string
		for _, e := range events {
			left = append(left, fmt.Sprint(e.ScheduleID, " ", e.Kind, " ", e.Note))
		}
		require.Equal(t, []string{"b SKIPPED 0", "b ENABLED 0", "a DISABLED 3"}, left)
	})
}
