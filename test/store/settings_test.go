package store_test

import (
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// newScheduler returns a Scheduler with the hourly schedule "a", and its clock,
// a minute before the first slot.
func newScheduler(t *testing.T, db *gorm.DB) (*hourbell.Scheduler, *testclock.Clock) {
	t.Helper()
	clock := testclock.New(time.Date(2026, 6, 1, 11, 59, 0, 0, time.UTC))
	s, err := hourbell.New(store.New(db), hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import"}}, Now: clock.Now, Logger: slog.New(slog.DiscardHandler),
		Definitions: []hourbell.Definition{{
			ID: "a", Name: `50%_of\all 'a'`, Cron: "0 * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true,
		}},
	})
	require.NoError(t, err)
	return s, clock
}

// requireWorks requires that a schedule can be stored, fired, changed and read.
func requireWorks(t *testing.T, db *gorm.DB) {
	t.Helper()
	s, clock := newScheduler(t, db)
	require.NoError(t, s.Sync(t.Context()))
	clock.Advance(time.Minute)
	report, err := s.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Fired)
	require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{Note: `a\b`}))
	schedule, err := s.Schedule(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, clock.Now(), schedule.SettledThrough)
	require.Equal(t, `a\b`, schedule.EnabledNote)
	require.Zero(t, schedule.NextRunAt)
	require.Zero(t, schedule.LockedAt)
}

// withSettings returns another pool on a Postgres database, whose sessions have
// the settings.
func withSettings(t *testing.T, db *dbtest.DB, settings map[string]string) *gorm.DB {
	t.Helper()
	other := *db
	for name, value := range settings {
		other.DSN += "&" + name + "=" + url.PathEscape(value)
	}
	return other.Open(t, nil)
}

// A search finds its text literally whether or not backslashes in SQL strings
// are escapes.
func TestSearchWithoutStandardConformingStrings(t *testing.T) {
	for _, setting := range []string{"on", "off"} {
		t.Run(setting, func(t *testing.T) {
			db := withSettings(t, dbtest.Postgres(t), map[string]string{"standard_conforming_strings": setting})
			requireWorks(t, db)
			s, _ := newScheduler(t, db)
			for search, want := range map[string]int{`50%_OF\`: 1, `'a'`: 1, `\\`: 0, `0_`: 0, `5%f`: 0} {
				page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Search: search})
				require.NoError(t, err)
				require.Equal(t, want, page.Total, search)
			}
		})
	}
}

// If the driver sends values as text, Sync refuses settings that change the
// meaning of such texts, and names them. In the driver's default mode, they
// work.
func TestSyncRefusesSettingsForTextValues(t *testing.T) {
	for name, value := range map[string]string{"DateStyle": "SQL, DMY", "array_nulls": "off"} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{"exec", "simple_protocol"} {
				db := dbtest.Postgres(t)
				s, _ := newScheduler(t, withSettings(t, db, map[string]string{name: value, "default_query_exec_mode": mode}))
				err := s.Sync(t.Context())
				require.ErrorContains(t, err, name+" is \""+value+"\"", mode)
				require.NotErrorIs(t, err, hourbell.ErrUnavailable)
				require.NotErrorIs(t, err, hourbell.ErrNotMigrated)
				requireWorks(t, withSettings(t, db, map[string]string{"default_query_exec_mode": mode}))
			}
			requireWorks(t, withSettings(t, dbtest.Postgres(t), map[string]string{name: value}))
		})
	}
}

// sqliteWith returns a pool on a migrated SQLite file, opened with settings of
// the DSN.
func sqliteWith(t *testing.T, settings string) *dbtest.DB {
	t.Helper()
	db := &dbtest.DB{Dialect: "sqlite", DSN: filepath.Join(t.TempDir(), "host.db") + "?_txlock=immediate" + settings}
	db.DB = db.Open(t, nil)
	require.NoError(t, store.Migrate(t.Context(), db.DB))
	return db
}

// Sync refuses settings of SQLite that cannot work, and says what to set.
func TestSyncRefusesSQLiteSettings(t *testing.T) {
	for settings, want := range map[string][]string{
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(OFF)": {"journal_mode is OFF", "_pragma=journal_mode(WAL)", "_journal_mode=WAL"},
		"&_pragma=busy_timeout(0)&_pragma=journal_mode(WAL)":    {"busy_timeout is 0", "_pragma=busy_timeout(5000)", "_busy_timeout=5000"},
	} {
		s, _ := newScheduler(t, sqliteWith(t, settings).DB)
		err := s.Sync(t.Context())
		for _, part := range want {
			require.ErrorContains(t, err, part)
		}
		require.NotErrorIs(t, err, hourbell.ErrUnavailable)
	}
	for _, settings := range []string{
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)", "&_pragma=busy_timeout(5000)&_pragma=journal_mode(DELETE)", "&_pragma=busy_timeout(5000)",
	} {
		requireWorks(t, sqliteWith(t, settings).DB)
	}
}
