// Package dbtest gives a test a real database of its own.
//
//	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
//		s := store.New(db.DB)
//		…
//	})
//
// runs the test on SQLite and on Postgres, each migrated, empty and gone
// afterwards. Tests may run in parallel, also with those of other packages.
//
// The Postgres server is the one TEST_DATABASE_URL names (as a user who may
// create databases), else one that is started from the binaries on this
// machine, once in a test process, and dies with it. Without either, what
// needs Postgres is skipped, loudly; with HOURBELL_REQUIRE_POSTGRES=1 it fails
// instead. `make test` starts one server for all packages.
//
// The package imports store and thereby the root, so tests that use it are
// black-box tests: package store_test or hourbell_test.
package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell/store"
)

// idleConns is what a pool keeps. The default of database/sql, two, makes
// replicas that share a pool reconnect all the time.
const idleConns = 20

// prepareTimeout bounds what happens around a test, not the test.
const prepareTimeout = 2 * time.Minute

// DB is one test's database.
type DB struct {
	*gorm.DB

	// DSN opens the same database elsewhere: in another process, through a
	// proxy. It ends in a query, so that "&key=value" may be appended.
	DSN string

	// Dialect is "postgres" or "sqlite", as gorm names them.
	Dialect string
}

// onlyPostgresEnv leaves SQLite out of Each. It is for the race detector, which finds the same races on either database, and
// makes SQLite, which is Go, many times slower.
const onlyPostgresEnv = "HOURBELL_ONLY_POSTGRES"

// openSQLiteDialector opens SQLite; nil until RegisterSQLite is called.
var openSQLiteDialector func(dsn string) gorm.Dialector

// RegisterSQLite sets the driver with which SQLite databases are opened. The
// package test/sqlite calls it: the core module requires no SQLite driver.
func RegisterSQLite(open func(dsn string) gorm.Dialector) { openSQLiteDialector = open }

// Each runs a subtest on a migrated database of each kind.
func Each(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	if os.Getenv(onlyPostgresEnv) == "" && openSQLiteDialector != nil {
		t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	}
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQL is the pool beneath. (DB.DB is the gorm handle, which hides the method
// of that name.)
func (d *DB) SQL() *sql.DB { return pool(d.DB) }

// Open opens another pool on the database, as another replica of a host would,
// with that host's settings. Defaults to gorm's own settings. It logs nothing
// unless cfg has a logger. The pool is closed when t ends.
func (d *DB) Open(t testing.TB, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	db, err := open(d.Dialect, d.DSN, cfg)
	if err != nil {
		t.Fatalf("dbtest: open %s database: %v", d.Dialect, err)
	}
	t.Cleanup(func() { _ = pool(db).Close() })
	return db
}

func open(dialect, dsn string, cfg *gorm.Config) (*gorm.DB, error) {
	own := gorm.Config{}
	if cfg != nil {
		own = *cfg
	}
	if own.Logger == nil {
		own.Logger = logger.Default.LogMode(logger.Silent)
	}
	dialector := postgres.Open(dsn)
	if dialect == "sqlite" {
		if openSQLiteDialector == nil {
			return nil, errors.New("no SQLite driver is registered: import github.com/hourbell/hourbell/test/sqlite")
		}
		dialector = openSQLiteDialector(dsn)
	}
	db, err := gorm.Open(dialector, &own)
	if err != nil {
		return nil, err
	}
	pool(db).SetMaxIdleConns(idleConns)
	return db, nil
}

func pool(db *gorm.DB) *sql.DB {
	p, err := db.DB()
	if err != nil {
		panic(fmt.Sprintf("dbtest: a gorm handle without a pool: %v", err)) // cannot be: open made it from a DSN
	}
	return p
}

func migrate(ctx context.Context, dialect, dsn string) error {
	db, err := open(dialect, dsn, nil)
	if err != nil {
		return err
	}
	defer func() { _ = pool(db).Close() }()
	return store.Migrate(ctx, db)
}
