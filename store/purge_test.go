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

// keep is how long the tests keep what is purged: each kind for another time.
var keep = hourbell.Keep{Runs: 30 * 24 * time.Hour, Events: 20 * 24 * time.Hour, Removed: 14 * 24 * time.Hour, Workers: 24 * time.Hour}

func purge(t testing.TB, s hourbell.Store, keep hourbell.Keep, limit int) int {
	t.Helper()
	n, err := s.Purge(t.Context(), keep, limit)
	require.NoError(t, err)
	return int(n)
}

// seedHistory writes one row of each kind at noon: finished, running and queued runs, an event, a removed and a living schedule,
// a worker.
func seedHistory(t testing.TB, db *dbtest.DB, s hourbell.Store) {
	t.Helper()
	enqueue(t, s, asked("finished", 0))
	finished := take(t, s, "h")
	_, err := s.FinishRun(t.Context(), finished, "SUCCEEDED", "")
	require.NoError(t, err)
	enqueue(t, s, asked("running", 0))
	take(t, s, "h")
	enqueue(t, s, asked("queued", 0))
	require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: "ENABLED"}}))
	insert(t, s, schedule("removed"), schedule("living"))
	set(t, db, "removed", "removed_at", noon)
	beat(t, s, "w1")
}

// left counts the rows of each kind.
func left(t testing.TB, s hourbell.Store) string {
	t.Helper()
	schedules, err := s.Schedules(t.Context())
	require.NoError(t, err)
	events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 100})
	require.NoError(t, err)
	return fmt.Sprintf("%d runs, %d events, %d schedules, %d workers", len(list(t, s, hourbell.RunQuery{})), len(events), len(schedules), len(workers(t, s)))
}

// D5, O4: each kind is kept for its own time, and to the instant.
func TestPurgeDeletesWhatHasOutlivedItsKeep(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		seedHistory(t, db, s)
		for _, step := range []struct {
			after time.Duration
			want  string
		}{
			{0, "3 runs, 1 events, 2 schedules, 1 workers"},
			{keep.Workers, "3 runs, 1 events, 2 schedules, 0 workers"},
			{keep.Removed, "3 runs, 1 events, 1 schedules, 0 workers"},
			{keep.Events, "3 runs, 0 events, 1 schedules, 0 workers"},
			{keep.Runs, "2 runs, 0 events, 1 schedules, 0 workers"},
			{10 * keep.Runs, "2 runs, 0 events, 1 schedules, 0 workers"},
		} {
			before := left(t, s)
			c.Set(noon.Add(step.after))
			require.Zero(t, purge(t, s, keep, 100), "%v", step.after)
			require.Equal(t, before, left(t, s))
			c.Advance(time.Microsecond)
			deleted := purge(t, s, keep, 100)
			require.Equal(t, step.want, left(t, s), "%v", step.after)
			require.Equal(t, before != step.want, deleted == 1)
		}
		require.Equal(t, "living", row(t, s, "living").ID)
	})
}

func TestPurgeDeletesUnfinishedRunsWhereToldTo(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		seedHistory(t, db, s)
		all := keep
		all.Unfinished = true
		c.Advance(keep.Runs)
		enqueue(t, s, asked("young", 0))
		purge(t, s, all, 100)
		require.Len(t, list(t, s, hourbell.RunQuery{}), 4)
		c.Advance(time.Microsecond)
		purge(t, s, all, 100)
		require.Equal(t, []string{"young"}, jobsOf(list(t, s, hourbell.RunQuery{})))
	})
}

func TestPurgeDeletesAFewAtATime(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		for i := range 10 {
			enqueue(t, s, asked("finished", 0), asked("queued", 0))
			done, err := s.FinishRun(t.Context(), take(t, s, "h"), "FAILED", "")
			require.NoError(t, err)
			require.True(t, done)
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: "ENABLED"}}))
			insert(t, s, schedule(id(i)))
			set(t, db, id(i), "removed_at", noon)
			beat(t, s, id(i))
		}
		if db.Dialect == "postgres" { // plans that know the tables, and plans that do not
			require.NoError(t, db.Exec("ANALYZE").Error)
		}
		c.Advance(365 * 24 * time.Hour)
		all := keep
		all.Unfinished = true
		require.Equal(t, 5*3, purge(t, s, all, 3))
		require.Equal(t, "14 runs, 7 events, 7 schedules, 7 workers", left(t, s))
		rounds := 0
		for purge(t, s, all, 3) > 0 {
			rounds++
		}
		require.Equal(t, 3, rounds)
		require.Equal(t, "0 runs, 0 events, 0 schedules, 0 workers", left(t, s))
	})
}

func TestPurgeDeletesTheOldest(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		for i := range 5 {
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: "ENABLED", Note: fmt.Sprint(i)}}))
			c.Advance(time.Hour)
		}
		c.Advance(keep.Events)
		require.Equal(t, 2, purge(t, s, keep, 2))
		events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
		require.NoError(t, err)
		require.Equal(t, []string{"4", "3", "2"}, []string{events[0].Note, events[1].Note, events[2].Note})
	})
}

// D5: a schedule that code declares again comes back with its state.
func TestPurgeKeepsAScheduleThatIsDeclaredAgain(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		set(t, db, "a", "removed_at", noon)
		c.Advance(keep.Removed + time.Hour)
		require.True(t, revise(t, s, hourbell.Revision{Schedule: schedule("a"), ReadHash: "h1", Settles: true}))
		require.Zero(t, purge(t, s, keep, 10))
		require.Zero(t, row(t, s, "a").RemovedAt)
	})
}

func TestPurgeWaitsForNobody(t *testing.T) {
	db := dbtest.Postgres(t)
	s, c := bound(t, db.DB)
	seedHistory(t, db, s)
	c.Advance(365 * 24 * time.Hour)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		for _, table := range []string{"job_runs", "events", "schedules", "workers"} {
			require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_"+table+" FOR UPDATE").Error)
		}
		n, err := s.Purge(soon(t), keep, 10)
		require.NoError(t, err)
		require.Zero(t, n)
		return nil
	}))
	require.Equal(t, 4, purge(t, s, keep, 10))
}
