package dbtest

import (
	"context"
	"path/filepath"
	"testing"
)

// sqliteSettings are those that a host should use. Immediate transactions take
// the write lock at BEGIN. Otherwise, a transaction that reads and then writes
// fails if another one wrote in between. The busy timeout is longer than a
// host's, because the race detector on a busy machine slows SQLite down.
const sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"

// SQLite returns a migrated SQLite database in a temporary file.
func SQLite(t testing.TB) *DB {
	t.Helper()
	dsn := sqliteDSN(t)
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	if err := migrate(ctx, "sqlite", dsn); err != nil {
		t.Fatalf("dbtest: migrate SQLite: %v", err)
	}
	return openSQLite(t, dsn)
}

// EmptySQLite returns a SQLite database without tables in a temporary file.
func EmptySQLite(t testing.TB) *DB {
	t.Helper()
	return openSQLite(t, sqliteDSN(t))
}

func sqliteDSN(t testing.TB) string {
	return filepath.Join(t.TempDir(), "hourbell.db") + sqliteSettings
}

func openSQLite(t testing.TB, dsn string) *DB {
	t.Helper()
	db := &DB{DSN: dsn, Dialect: "sqlite"}
	db.DB = db.Open(t, nil)
	return db
}
