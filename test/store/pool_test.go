package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// O1: A call that waits for a connection of the pool until its deadline says
// that all are in use.
func TestExhaustedPoolIsNamed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		const limit = 2
		db.SQL().SetMaxOpenConns(limit)
		for range limit {
			conn, err := db.SQL().Conn(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		event := []hourbell.Event{{Kind: hourbell.EventEnabled}}
		for name, call := range map[string]func() error{
			"read":  func() error { return errOf(s.Schedules(ctx)) },
			"write": func() error { return s.InsertEvents(ctx, event) },
			"transaction": func() error {
				return s.Transaction(ctx, deadAfter, func(s hourbell.Store, _ *gorm.DB) error { return s.InsertEvents(ctx, event) })
			},
			"migrate": func() error { return store.Migrate(ctx, db.DB) },
		} {
			err := call()
			require.ErrorContains(t, err, "all connections of the pool are in use: raise its limit, SetMaxOpenConns(2)", name)
			require.ErrorIs(t, err, hourbell.ErrUnavailable, name)
			require.ErrorIs(t, err, context.DeadlineExceeded, name)
		}
	})
}

// A deadline that passes during a statement is no exhausted pool.
func TestSlowStatementIsNotExhaustedPool(t *testing.T) {
	db := dbtest.Postgres(t)
	db.SQL().SetMaxOpenConns(1)
	s, _ := newStore(t, db.DB)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Transaction(ctx, deadAfter, func(_ hourbell.Store, tx *gorm.DB) error {
		err := tx.Exec("SELECT pg_sleep(10)").Error
		require.Error(t, err)
		return err
	})
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.NotContains(t, err.Error(), "in use")
}

// One connection is enough for everything that a process does.
func TestRunWorksWithOneConnection(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		db.SQL().SetMaxOpenConns(1)
		requireFires(t, db.DB)
	})
}

// requireFires requires that Run fires a schedule.
func requireFires(t *testing.T, db *gorm.DB) {
	t.Helper()
	log := startRun(t, db, hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import"}}, BatchSize: 1, Connections: 4,
		Definitions: []hourbell.Definition{
			{ID: "x", Cron: "* * * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true},
			{ID: "y", Cron: "* * * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true},
		},
	})
	awaitLog(t, log, "schedules=[x]")
	awaitLog(t, log, "schedules=[y]")
	require.NotContains(t, log.String(), "level=ERROR")
}

// openSQLite opens a SQLite database with a DSN of the test's own.
func openSQLite(t testing.TB, dsn string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(sqlite.Open(dsn), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { _ = poolOf(t, db).Close() })
	return db
}

// memoryDSNs are DSNs with which each connection has a database of its own.
var memoryDSNs = []string{":memory:", "", "file::memory:", "file:name?mode=memory", ":memory:?_pragma=busy_timeout(5000)"}

// In memory, each connection has a database of its own. A pool of more than one
// connection is refused, whether the tables are there or not.
func TestPooledMemoryDatabaseIsRefused(t *testing.T) {
	for _, dsn := range memoryDSNs {
		for _, limit := range []int{0, 2} {
			db := openSQLite(t, dsn)
			poolOf(t, db).SetMaxOpenConns(limit)
			requireMemoryRefused(t, store.Migrate(testContext(t), db))
			s, _ := newScheduler(t, db)
			requireMemoryRefused(t, s.Run(testContext(t)))

			pool := poolOf(t, db)
			migrated, err := pool.Conn(t.Context())
			require.NoError(t, err)
			other, err := pool.Conn(t.Context())
			require.NoError(t, err)
			require.NoError(t, migrated.Close())
			require.NoError(t, other.Close()) // the pool lends it first
			requireMemoryRefused(t, s.Sync(testContext(t)))
		}
	}
}

func requireMemoryRefused(t testing.TB, err error) {
	t.Helper()
	for _, text := range []string{"in memory", "each connection", "SetMaxOpenConns(1)", "file::memory:?cache=shared"} {
		require.ErrorContains(t, err, text)
	}
	require.NotErrorIs(t, err, hourbell.ErrNotMigrated)
	require.NotErrorIs(t, err, hourbell.ErrUnavailable)
}

// A pool that closes its only connection after each use loses the database.
func TestMemoryDatabaseNeedsIdleConnection(t *testing.T) {
	db := openSQLite(t, ":memory:")
	poolOf(t, db).SetMaxOpenConns(1)
	poolOf(t, db).SetMaxIdleConns(-1)
	requireMemoryRefused(t, store.Migrate(testContext(t), db))
}

// A database in memory works with one connection, or with a shared cache.
func TestSharedMemoryDatabaseWorks(t *testing.T) {
	t.Run("one connection", func(t *testing.T) {
		for _, dsn := range memoryDSNs {
			db := openSQLite(t, dsn)
			poolOf(t, db).SetMaxOpenConns(1)
			require.NoError(t, store.Migrate(testContext(t), db))
			requireWorks(t, db)
		}
	})
	t.Run("shared cache", func(t *testing.T) {
		db := openSQLite(t, "file:TestSharedMemoryDatabaseWorks?mode=memory&cache=shared&_pragma=busy_timeout(5000)")
		require.NoError(t, store.Migrate(testContext(t), db))
		requireWorks(t, db)
		requireFires(t, db)
	})
}

// plainDriver is a SQLite driver whose errors are texts, like those of drivers
// for remote databases.
type plainDriver struct{ driver.Driver }

func (d plainDriver) Open(dsn string) (driver.Conn, error) {
	conn, err := d.Driver.Open(dsn)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	return plainConn{conn}, nil
}

type plainConn struct{ driver.Conn }

func (c plainConn) Prepare(text string) (driver.Stmt, error) {
	stmt, err := c.Conn.Prepare(text)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	return stmt, nil
}

func (c plainConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
	if err != nil {
		return nil, errors.New(err.Error())
	}
	return rows, nil
}

// A driver whose errors cannot be read is refused by name.
func TestUnreadableSQLiteDriverIsRefused(t *testing.T) {
	file := sqliteWith(t, "")
	pool := sql.OpenDB(dsnConnector{file.DSN, plainDriver{file.SQL().Driver()}})
	db, err := gorm.Open(&sqlite.Dialector{Conn: pool}, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	s, _ := newScheduler(t, db)
	for _, err := range []error{store.Migrate(testContext(t), db), s.Sync(testContext(t)), s.Run(testContext(t))} {
		require.ErrorContains(t, err, "the SQLite driver store_test.plainDriver is not supported")
		require.ErrorContains(t, err, "use github.com/glebarez/sqlite")
		require.NotErrorIs(t, err, hourbell.ErrUnavailable)
	}
}

type dsnConnector struct {
	dsn    string
	driver driver.Driver
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

// A file that is damaged or is no database concerns all schedules: it is
// ErrUnavailable until it is restored.
func TestDamagedSQLiteFileReturnsErrUnavailable(t *testing.T) {
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "host.db")
		s, _ := newStore(t, openSQLite(t, path))
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("text"), 1024), 0o600))
		require.ErrorIs(t, s.CheckMigrated(testContext(t)), hourbell.ErrUnavailable)
	})
	t.Run("malformed", func(t *testing.T) {
		db := dbtest.SQLite(t)
		var path string
		require.NoError(t, db.Raw("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path).Error)
		require.NoError(t, db.Exec("PRAGMA wal_checkpoint(TRUNCATE)").Error)
		var size, root int64
		require.NoError(t, db.Raw("SELECT page_size FROM pragma_page_size").Scan(&size).Error)
		require.NoError(t, db.Raw("SELECT rootpage FROM sqlite_master WHERE name = 'hourbell_events'").Scan(&root).Error)
		require.NoError(t, db.SQL().Close())
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = file.WriteAt(make([]byte, size), (root-1)*size)
		require.NoError(t, errors.Join(err, file.Close()))
		s, _ := newStore(t, db.Open(t, nil))
		err = s.InsertEvents(testContext(t), []hourbell.Event{{Kind: hourbell.EventEnabled}})
		require.ErrorIs(t, err, hourbell.ErrUnavailable)
		require.ErrorContains(t, err, "malformed")
	})
}

// endless is a statement that returns only if it is interrupted.
const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"

// O1: A statement of SQLite that is interrupted has the error of its context.
func TestInterruptedSQLiteStatement(t *testing.T) {
	db := dbtest.SQLite(t)
	s, _ := newStore(t, db.DB)
	run := func(ctx context.Context) error {
		return s.Transaction(ctx, deadAfter, func(_ hourbell.Store, tx *gorm.DB) error {
			return tx.WithContext(ctx).Exec(endless).Error
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := run(ctx)
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	err = run(canceled)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, hourbell.ErrUnavailable)
}
