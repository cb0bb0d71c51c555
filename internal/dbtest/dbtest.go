// Package dbtest gives each test a real database.
//
//	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
//		s := store.New(db.DB)
//		…
//	})
//
// The test runs once on SQLite and once on Postgres. Each database is migrated
// and empty, and is dropped after the test. Tests may run in parallel, in any
// number of packages.
//
// TEST_DATABASE_URL names the Postgres server to use. Its user must have the
// right to create databases. Without it, each test process starts a server from
// the binaries on this machine and stops it at the end. Without binaries, the
// tests on Postgres are skipped, and a line on the terminal reports it. They
// fail instead if HOURBELL_REQUIRE_POSTGRES is 1. `make test` starts one server
// for all packages.
//
// SQLite needs a driver, which RegisterSQLite sets. Package test/sqlite
// registers one.
//
// Package dbtest imports store and thereby the root. Tests in those packages
// that use it are black-box tests: package store_test or hourbell_test.
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

// idleConns is the number of idle connections that a pool keeps. The default of
// database/sql is two, so replicas that share a pool would reconnect often.
const idleConns = 20

// prepareTimeout limits creating and dropping a database, not the test itself.
const prepareTimeout = 2 * time.Minute

// DB is the database of one test.
type DB struct {
	*gorm.DB

	// DSN opens the same database in another process or through a proxy. It
	// ends in a query, so callers may append "&key=value".
	DSN string

	// Dialect is gorm's name of the database: "postgres" or "sqlite".
	Dialect string
}

// onlyPostgresEnv, set to any value, makes Each skip SQLite. `make race` sets
// it: the race detector slows down SQLite, which is Go code, many times, and
// finds the same races on Postgres.
const onlyPostgresEnv = "HOURBELL_ONLY_POSTGRES"

// openSQLiteDialector opens a SQLite database. It is nil until RegisterSQLite
// is called.
var openSQLiteDialector func(dsn string) gorm.Dialector

// RegisterSQLite sets the driver that opens SQLite databases. Package
// test/sqlite calls it, because the core module requires no SQLite driver.
func RegisterSQLite(open func(dsn string) gorm.Dialector) { openSQLiteDialector = open }

// Each runs a subtest on a migrated SQLite database, if a driver is registered,
// and one on a migrated Postgres database.
func Each(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	if os.Getenv(onlyPostgresEnv) == "" && openSQLiteDialector != nil {
		t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	}
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQL returns the connection pool of the gorm handle. (The field DB hides
// gorm's method of that name.)
func (db *DB) SQL() *sql.DB { return pool(db.DB) }

// Open opens another connection pool on the database, as another replica would,
// with the settings of cfg. A nil cfg means gorm's defaults. The pool logs only
// if cfg has a logger, and is closed when t ends.
func (db *DB) Open(t testing.TB, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	opened, err := open(db.Dialect, db.DSN, cfg)
	if err != nil {
		t.Fatalf("dbtest: open %s database: %v", db.Dialect, err)
	}
	t.Cleanup(func() { _ = pool(opened).Close() })
	return opened
}

// open opens a database that is empty or was created before.
func open(dialect, dsn string, cfg *gorm.Config) (*gorm.DB, error) {
	settings := gorm.Config{}
	if cfg != nil {
		settings = *cfg
	}
	if settings.Logger == nil {
		settings.Logger = logger.Default.LogMode(logger.Silent)
	}
	dialector := postgres.Open(dsn)
	if dialect == "sqlite" {
		if openSQLiteDialector == nil {
			return nil, errors.New("no SQLite driver is registered: import github.com/hourbell/hourbell/test/sqlite")
		}
		dialector = openSQLiteDialector(dsn)
	}
	db, err := gorm.Open(dialector, &settings)
	if err != nil {
		return nil, err
	}
	pool(db).SetMaxIdleConns(idleConns)
	return db, nil
}

// pool returns the connection pool of db.
func pool(db *gorm.DB) *sql.DB {
	p, err := db.DB()
	if err != nil {
		panic(fmt.Sprintf("dbtest: gorm handle without a pool: %v", err)) // open always sets a pool
	}
	return p
}

// migrate creates hourbell's tables.
func migrate(ctx context.Context, dialect, dsn string) error {
	db, err := open(dialect, dsn, nil)
	if err != nil {
		return err
	}
	defer func() { _ = pool(db).Close() }()
	return store.Migrate(ctx, db)
}
