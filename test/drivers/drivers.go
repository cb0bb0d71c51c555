// Package drivers tests the store with SQLite drivers other than the one of
// package test/sqlite. Each of its folders tests one driver. They are a module
// of their own, so that other tests neither require these drivers nor a C
// compiler.
package drivers

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// Driver is a SQLite driver.
type Driver struct {
	// Open opens a DSN.
	Open func(t testing.TB, dsn string) gorm.Dialector
	// Settings returns the part of a DSN that sets the journal mode and the
	// busy timeout.
	Settings func(journal string, busyTimeout time.Duration) string
	// SharedMemory is the path and the parameters of a database in memory that
	// connections share.
	SharedMemory [2]string
}

// settings are those that a host should use, with a short busy timeout.
func (d Driver) settings() string { return d.Settings("WAL", 100*time.Millisecond) }

// open opens a file with more parameters in its DSN.
func (d Driver) open(t testing.TB, path, parameters string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(d.Open(t, "file:"+path+"?_txlock=immediate"+parameters), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return db
}

// migrated returns the path of a migrated file.
func (d Driver) migrated(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.db")
	db := d.open(t, path, d.settings())
	require.NoError(t, store.Migrate(t.Context(), db))
	pool, err := db.DB()
	require.NoError(t, err)
	require.NoError(t, pool.Close()) // its last connection empties the write-ahead log
	return path
}

// noon is the first slot of the hourly schedule.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newScheduler returns a Scheduler with an hourly schedule, and its clock, a
// minute before noon.
func newScheduler(t testing.TB, db *gorm.DB) (*hourbell.Scheduler, *testclock.Clock) {
	t.Helper()
	clock := testclock.New(noon.Add(-time.Minute))
	s, err := hourbell.New(store.New(db), hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import", Args: map[string]int{"n": 1}}}, Now: clock.Now, Logger: slog.New(slog.DiscardHandler),
		Definitions: []hourbell.Definition{{ID: "a", Name: "ä 'a'", Cron: "0 * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true}},
	})
	require.NoError(t, err)
	return s, clock
}

// Test tests the store with a driver.
func Test(t *testing.T, d Driver) {
	t.Run("Values", func(t *testing.T) { testValues(t, d) })
	t.Run("Unmigrated", func(t *testing.T) { testUnmigrated(t, d) })
	t.Run("Busy", func(t *testing.T) { testBusy(t, d) })
	t.Run("Unavailable", func(t *testing.T) { testUnavailable(t, d) })
	t.Run("Refused", func(t *testing.T) { testRefused(t, d) })
	t.Run("Context", func(t *testing.T) { testContext(t, d) })
	t.Run("Settings", func(t *testing.T) { testSettings(t, d) })
}

// testValues requires that times, booleans, numbers, texts and JSON are read as
// they were written.
func testValues(t *testing.T, d Driver) {
	s, clock := newScheduler(t, d.open(t, d.migrated(t), d.settings()))
	require.NoError(t, s.Sync(t.Context()))
	clock.Set(noon.Add(1234567 * time.Microsecond))
	report, err := s.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Fired)
	row, err := s.Schedule(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "ä 'a'", row.Name)
	require.True(t, row.Enabled)
	require.Equal(t, clock.Now(), row.LastRunAt)
	require.Equal(t, noon, row.LastScheduledFor)
	require.Equal(t, noon.Add(time.Hour), row.NextRunAt)
	require.Equal(t, 2*time.Minute, row.Grace)
	require.Zero(t, row.LockedAt)
	runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 10, Lease: time.Minute})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.JSONEq(t, `{"n": 1}`, string(runs[0].Args))
	require.Equal(t, clock.Now().Add(time.Minute), runs[0].LeasedUntil)
	require.NoError(t, s.FinishRun(t.Context(), runs[0], nil))
	require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", Note: `a\b`}))
	row, err = s.Schedule(t.Context(), "a")
	require.NoError(t, err)
	require.False(t, row.Enabled)
	require.Zero(t, row.NextRunAt)
	_, err = s.Health(t.Context())
	require.NoError(t, err)
}

func testUnmigrated(t *testing.T, d Driver) {
	s, _ := newScheduler(t, d.open(t, filepath.Join(t.TempDir(), "host.db"), d.settings()))
	require.ErrorIs(t, s.Run(t.Context()), hourbell.ErrNotMigrated)
}

// testBusy requires that a locked file is ErrBusy, and that writers wait for
// each other.
func testBusy(t *testing.T, d Driver) {
	path := d.migrated(t)
	db := d.open(t, path, d.settings())
	s, _ := newScheduler(t, db)
	require.NoError(t, s.Sync(t.Context()))
	other := d.open(t, path, d.settings()).Begin()
	require.NoError(t, other.Error)
	require.NoError(t, other.Exec("UPDATE hourbell_migrations SET version = version").Error)
	require.ErrorIs(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{}), hourbell.ErrBusy)
	require.NoError(t, other.Rollback().Error)

	errs := make(chan error)
	const writers = 8
	for range writers {
		go func() {
			_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{Actor: "ann"})
			errs <- err
		}()
	}
	for range writers {
		require.NoError(t, <-errs)
	}
}

// testUnavailable requires that what concerns the whole file is ErrUnavailable.
func testUnavailable(t *testing.T, d Driver) {
	enqueue := func(db *gorm.DB) error {
		s, _ := newScheduler(t, db)
		_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
		return err
	}
	t.Run("read-only", func(t *testing.T) {
		require.ErrorIs(t, enqueue(d.open(t, d.migrated(t), d.settings()+"&mode=ro")), hourbell.ErrUnavailable)
	})
	t.Run("full", func(t *testing.T) {
		db := d.open(t, d.migrated(t), d.settings())
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1) // a PRAGMA applies to one connection
		require.NoError(t, db.Exec("PRAGMA max_page_count = 1").Error)
		for err == nil {
			err = enqueue(db)
		}
		require.ErrorIs(t, err, hourbell.ErrUnavailable)
	})
	t.Run("missing folder", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "host")
		require.NoError(t, os.Mkdir(folder, 0o700))
		db := d.open(t, filepath.Join(folder, "host.db"), d.settings())
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxIdleConns(-1) // the next call opens the file again
		require.NoError(t, os.RemoveAll(folder))
		require.ErrorIs(t, enqueue(db), hourbell.ErrUnavailable)
	})
	t.Run("not a database", func(t *testing.T) {
		path := d.migrated(t)
		db := d.open(t, path, d.settings())
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxIdleConns(-1)
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("text"), 1024), 0o600))
		require.ErrorIs(t, enqueue(db), hourbell.ErrUnavailable)
	})
}

// testRefused requires that an error of one statement is not ErrUnavailable or
// ErrBusy.
func testRefused(t *testing.T, d Driver) {
	db := d.open(t, d.migrated(t), d.settings())
	require.NoError(t, db.Exec("CREATE TRIGGER refuse BEFORE INSERT ON hourbell_job_runs BEGIN SELECT RAISE(ABORT, 'refused'); END").Error)
	s, _ := newScheduler(t, db)
	_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.ErrorContains(t, err, "refused")
	require.NotErrorIs(t, err, hourbell.ErrUnavailable)
	require.NotErrorIs(t, err, hourbell.ErrBusy)
}

// endless is a statement that returns only if it is interrupted.
const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"

// testContext requires that an interrupted statement has the error of its
// context.
func testContext(t *testing.T, d Driver) {
	st, err := store.New(d.open(t, d.migrated(t), d.settings())).Bind("default", nil)
	require.NoError(t, err)
	run := func(ctx context.Context) error {
		return st.Transaction(ctx, time.Minute, func(_ hourbell.Store, tx *gorm.DB) error {
			var n int
			return tx.WithContext(ctx).Raw(endless).Scan(&n).Error
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, run(ctx), hourbell.ErrUnavailable)
	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	err = run(canceled)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, hourbell.ErrUnavailable)
}

// testSettings requires that settings with which hourbell cannot work are
// refused.
func testSettings(t *testing.T, d Driver) {
	for want, settings := range map[string]string{
		"journal_mode is OFF": d.Settings("OFF", time.Second), "busy_timeout is 0": d.Settings("WAL", 0),
	} {
		s, _ := newScheduler(t, d.open(t, d.migrated(t), settings))
		require.ErrorContains(t, s.Sync(t.Context()), want)
	}
	memory := d.open(t, ":memory:", "")
	require.ErrorContains(t, store.Migrate(t.Context(), memory), "in memory, and each connection")
	require.NoError(t, store.Migrate(t.Context(), d.open(t, d.SharedMemory[0], d.SharedMemory[1])))
}

// SharedCache is the SharedMemory of most drivers.
var SharedCache = [2]string{"shared", "&mode=memory&cache=shared"}

// Pragmas returns the settings in the form that most drivers use.
func Pragmas(journal string, busyTimeout time.Duration) string {
	return fmt.Sprintf("&_pragma=busy_timeout(%d)&_pragma=journal_mode(%s)", busyTimeout.Milliseconds(), journal)
}
