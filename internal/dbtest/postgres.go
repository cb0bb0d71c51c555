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

// databasePrefix begins the names of test databases. The creation time follows,
// so that sweep can drop the databases of killed tests.
const databasePrefix = "hourbell_test_"

// Postgres returns a new, migrated Postgres database.
func Postgres(t testing.TB) *DB {
	t.Helper()
	return newPostgres(t, (*session).createMigrated)
}

// EmptyPostgres returns a new Postgres database without tables.
func EmptyPostgres(t testing.TB) *DB {
	t.Helper()
	return newPostgres(t, (*session).createEmpty)
}

func newPostgres(t testing.TB, create func(*session, context.Context, string) error) *DB {
	t.Helper()
	srv := requireServer(t)
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()

	// One session creates the database and drops it, because connecting takes
	// longest. It closes with the test: tests that look for leaks would report
	// a session that stays open.
	admin, err := srv.connect(ctx)
	if err != nil {
		t.Fatalf("dbtest: connect to server: %v", err)
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

// databaseName returns a random name with the time of creation.
func databaseName(created time.Time) string {
	return fmt.Sprintf("%s%d_%s", databasePrefix, created.Unix(), strings.ToLower(rand.Text()[:12]))
}

// session is a connection to the maintenance database of the server.
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

// copy creates a database as a copy of template. Postgres 15 and later copy the
// files, which is faster for small databases than writing to the log.
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

// drop drops a database and ends its connections. Some tests leave a stopped
// process connected on purpose.
func (s *session) drop(ctx context.Context, name string) error {
	return s.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// sweep drops databases that killed tests have left. It keeps databases that
// are in use, and those younger than minAge, whose tests may not have connected
// yet.
func (s *session) sweep(ctx context.Context, minAge time.Duration) error {
	names, err := s.databases(ctx, databasePrefix, "NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)")
	for _, name := range names {
		suffix, _, _ := strings.Cut(strings.TrimPrefix(name, databasePrefix), "_")
		created, parseErr := strconv.ParseInt(suffix, 10, 64)
		if parseErr == nil && time.Since(time.Unix(created, 0)) > minAge {
			_ = s.exec(ctx, "DROP DATABASE IF EXISTS "+name) // fails if a client has connected since
		}
	}
	return err
}

// databases returns the names of databases that begin with prefix and match the
// SQL condition.
func (s *session) databases(ctx context.Context, prefix, condition string) (names []string, err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT datname FROM pg_database d WHERE starts_with(datname, $1) AND "+condition, prefix)
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
