package dbtest

import (
	"context"
	"path/filepath"
	"testing"
)

// sqliteSettings are those a host should use. Without immediate, a transaction
// that reads and then writes fails at once when another has written between.
// The wait for the lock is longer than a host's: who waits in vain under the
// race detector on a busy machine has found nothing but that.
const sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"

// SQLite returns a migrated database in a file of its own.
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

// EmptySQLite returns a database without tables, in a file of its own.
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
