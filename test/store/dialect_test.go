package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// clockReadings returns each time that an operation reads from the clock, by
// the column that it writes.
func clockReadings(t testing.TB, s hourbell.Store) map[string]time.Time {
	t.Helper()
	got := map[string]time.Time{}
	insertSchedules(t, s, scheduleDueAt("fires", noon.AddDate(-1, 0, 0)), scheduleDueAt("fails", noon.AddDate(-1, 0, 0)), scheduleDueAt("stays locked", noon.AddDate(-1, 0, 0)))
	result := claimAll(t, s, "w1")
	got["claim"] = result.At
	for _, c := range result.Claims {
		row := readSchedule(t, s, c.ID)
		got["created_at"], got["locked_at"], got["unfinished_since"] = row.CreatedAt, row.LockedAt, c.UnfinishedSince
		switch c.ID {
		case "fires":
			require.True(t, advanceOne(t, s, "w1", c))
		case "fails":
			require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: c, Backoff: time.Second}})))
		}
	}
	got["last_run_at"], got["updated_at"] = readSchedule(t, s, "fires").LastRunAt, readSchedule(t, s, "fires").UpdatedAt
	got["retry_at"] = readSchedule(t, s, "fails").RetryAt.Add(-time.Second)

	got["queued_at"] = insertRuns(t, s, apiRun("a", 0))[0].QueuedAt
	run := takeRun(t, s, "h")
	got["started_at"], got["leased_until"] = run.StartedAt, run.LeasedUntil.Add(-time.Minute)
	done, err := s.ExtendRun(t.Context(), run, time.Hour)
	require.NoError(t, err)
	require.True(t, done)
	got["leased_until, extended"] = listRuns(t, s, hourbell.RunQuery{})[0].LeasedUntil.Add(-time.Hour)
	done, err = s.FinishRun(t.Context(), run, hourbell.RunSucceeded, "")
	require.NoError(t, err)
	require.True(t, done)
	got["finished_at"] = listRuns(t, s, hourbell.RunQuery{})[0].FinishedAt

	require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}}))
	events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 1})
	require.NoError(t, err)
	got["at"] = events[0].At
	sendHeartbeat(t, s, "w1")
	require.NoError(t, s.StopWorker(t.Context(), "w1"))
	w := listWorkers(t, s)[0]
	got["worker started_at"], got["heartbeat_at"], got["stopped_at"] = w.StartedAt, w.HeartbeatAt, w.StoppedAt
	got["health"] = readHealth(t, s).At
	got["now"], err = s.Now(t.Context())
	require.NoError(t, err)
	schedules, err := s.Schedules(t.Context(), "fires")
	require.NoError(t, err)
	got["ReadAt"] = schedules[0].ReadAt
	return got
}

// T1: A configured clock replaces the database clock in every statement.
func TestConfiguredClockReplacesDatabaseClock(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		at := noon.Add(123456 * time.Microsecond)
		c.Set(at.Add(999 * time.Nanosecond)) // times are truncated to microseconds
		for name, got := range clockReadings(t, s) {
			require.Equal(t, at, got, name)
		}
	})
}

// T1: Without a configured clock every statement reads the database clock.
func TestDatabaseClockIsDefault(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		read := func() time.Time {
			var at time.Time
			if db.Dialect == "postgres" {
				require.NoError(t, db.Raw("SELECT clock_timestamp()").Scan(&at).Error)
				return at
			}
			var milliseconds int64
			require.NoError(t, db.Raw("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)").Scan(&milliseconds).Error)
			return time.UnixMilli(milliseconds)
		}
		before := read()
		got := clockReadings(t, bindStore(t, db.DB, "test", nil))
		after := read()
		for name, at := range got {
			require.False(t, at.Before(before) || at.After(after), "%s: %v is not in %v-%v", name, at, before, after)
			require.Equal(t, time.UTC, at.Location())
		}
	})
}

// T1: The clock advances during a transaction.
func TestClockAdvancesInsideTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := bindStore(t, db.DB, "test", nil)
		require.NoError(t, s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
			first, err := s.Now(t.Context())
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				now, err := s.Now(t.Context())
				return err == nil && now.After(first)
			}, 5*time.Second, time.Millisecond)
			return nil
		}))
	})
}

// T4: Times are UTC in any session time zone.
func TestTimesAreUTCInAnySessionZone(t *testing.T) {
	db := dbtest.Postgres(t)
	kolkata := &dbtest.DB{DSN: db.DSN + "&TimeZone=Asia/Kolkata", Dialect: "postgres"}
	s, _ := newStore(t, kolkata.Open(t, nil))
	insertSchedules(t, s, dueSchedule("a"))
	for _, s := range []hourbell.Store{s, bindStore(t, db.DB, "test", nil)} {
		require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
	}
}
