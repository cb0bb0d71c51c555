package dbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// databasePrefix is followed by the time the database was made, so that what
// killed tests left on a server that stays can be told and swept.
const databasePrefix = "hourbell_test_"

// Postgres returns a migrated database of its own.
func Postgres(t testing.TB) *DB {
	t.Helper()
	return newPostgres(t, (*session).createMigrated)
}

// EmptyPostgres returns a database without tables, of its own.
func EmptyPostgres(t testing.TB) *DB {
	t.Helper()
	return newPostgres(t, (*session).createEmpty)
}

func newPostgres(t testing.TB, create func(*session, context.Context, string) error) *DB {
	t.Helper()
	srv := need(t)
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()

	// One session makes the database and drops it. It lives as long as the
	// test: connecting is the dearest part, and a session kept for longer
	// would look like a leak to tests that look for those.
	admin, err := srv.connect(ctx)
	if err != nil {
		t.Fatalf("dbtest: connect to the server: %v", err)
	}
	t.Cleanup(admin.close)

	name := databaseName(time.Now())
	if err := create(admin, ctx, name); err != nil {
		t.Fatalf("dbtest: create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
		defer cancel()
		if err := admin.drop(ctx, name); err != nil {
			t.Errorf("dbtest: drop database: %v", err)
		}
	})

	db := &DB{DSN: srv.dsn(name), Dialect: "postgres"}
	db.DB = db.Open(t, nil)
	return db
}

func databaseName(at time.Time) string {
	return fmt.Sprintf("%s%d_%s", databasePrefix, at.Unix(), strings.ToLower(rand.Text()[:12]))
}

// session is a connection to the server's maintenance database.
type session struct {
	server *server
	pool   *sql.DB
	conn   *sql.Conn
}

func (s *server) connect(ctx context.Context) (*session, error) {
	db, err := open("postgres", s.url.String(), nil)
	if err != nil {
		return nil, err
	}
	p := pool(db)
	conn, err := p.Conn(ctx)
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return &session{server: s, pool: p, conn: conn}, nil
}

func (s *session) close() {
	_ = s.conn.Close()
	_ = s.pool.Close()
}

func (s *session) exec(ctx context.Context, statement string, args ...any) error {
	if _, err := s.conn.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (s *session) createEmpty(ctx context.Context, name string) error {
	return s.copy(ctx, "template0", name)
}

// copy copies a database file by file, where the server can be told to: for a
// small one that is much faster than through the log.
func (s *session) copy(ctx context.Context, template, name string) error {
	var version int
	if err := s.conn.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	statement := "CREATE DATABASE " + name + " TEMPLATE " + template
	if version >= 150000 {
		statement += " STRATEGY FILE_COPY"
	}
	return s.exec(ctx, statement)
}

// drop drops a database, whoever is connected to it: a test may have left a
// stopped process there on purpose.
func (s *session) drop(ctx context.Context, name string) error {
	return s.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// sweep drops the databases of tests that were killed. Those in use stay, and
// so do young ones: their tests may be about to connect.
func (s *session) sweep(ctx context.Context, olderThan time.Duration) error {
	names, err := s.databases(ctx, databasePrefix, "AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)")
	for _, name := range names {
		made, _, _ := strings.Cut(strings.TrimPrefix(name, databasePrefix), "_")
		if at, bad := strconv.ParseInt(made, 10, 64); bad == nil && time.Since(time.Unix(at, 0)) > olderThan {
			_ = s.exec(ctx, "DROP DATABASE IF EXISTS "+name) // refused, as it should be, if somebody has come since
		}
	}
	return err
}

func (s *session) databases(ctx context.Context, prefix, and string) (names []string, err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT datname FROM pg_database d WHERE starts_with(datname, $1) "+and, prefix)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
