package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
)

//go:embed migrations
var embedded embed.FS

// Migrations are the files that [Migrate] applies, for hosts that use a migration tool of their own: postgres/0001_*.sql
// and on, and sqlite/0001_*.sql and on. Each file records its version in hourbell_migrations itself.
func Migrations() fs.FS {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return files
}

// migration is one file.
type migration struct {
	version int
	name    string
	text    string
}

// migrations lists the files of a dialect by version.
func (d *dialect) migrations() ([]migration, error) {
	files := Migrations()
	matches, err := fs.Glob(files, d.name+"/*.sql") // sorted by name
	if err != nil {
		return nil, err
	}
	list := make([]migration, len(matches))
	for i, name := range matches {
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s has no version: %w", name, err)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list[i] = migration{version, name, string(text)}
	}
	return list, nil
}

// Migrate creates hourbell's tables in the database of db, or brings them up to date. Any number of processes may call
// it at once. All of it happens in one transaction: an error leaves the database as it was.
func Migrate(ctx context.Context, db *gorm.DB) error {
	if err := migrate(ctx, db); err != nil {
		return fmt.Errorf("hourbell: migrate: %w", classify(err))
	}
	return nil
}

func migrate(ctx context.Context, db *gorm.DB) error {
	d, err := dialectOf(db)
	if err != nil {
		return err
	}
	if _, inside := db.Statement.ConnPool.(gorm.TxCommitter); inside {
		return errors.New("db is a transaction; migrations need the database itself")
	}
	// Below gorm and its prepared statements, which take one statement at a time.
	pool, err := db.DB()
	if err != nil {
		return err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // gives it back to the pool
	if err := d.begin(ctx, conn); err != nil {
		return err
	}
	if err = d.migrateIn(ctx, conn); err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil { // the pool must not get a connection back that is in a transaction
		_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, undone)
	}
	return nil
}

// begin opens a transaction that no other migration is beside.
func (d *dialect) begin(ctx context.Context, conn *sql.Conn) error {
	if d == sqlite {
		for {
			_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
			if err == nil || !transient(err) || ctx.Err() != nil {
				return err
			}
			pause(ctx, 20*time.Millisecond)
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('hourbell_migrations', 0))")
	if err != nil {
		_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, undone)
	}
	return nil
}

// migrateIn applies what is missing.
func (d *dialect) migrateIn(ctx context.Context, conn *sql.Conn) error {
	var tables int
	if err := conn.QueryRowContext(ctx, d.hasMigrations()).Scan(&tables); err != nil {
		return err
	}
	applied := 0
	if tables > 0 {
		if err := conn.QueryRowContext(ctx, "SELECT COALESCE(max(version), 0) FROM hourbell_migrations").Scan(&applied); err != nil {
			return err
		}
	}
	list, err := d.migrations()
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.version <= applied {
			continue
		}
		if _, err := conn.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// hasMigrations counts the table of versions where the connection would find it.
func (d *dialect) hasMigrations() string {
	if d == sqlite {
		return "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'hourbell_migrations'"
	}
	return "SELECT count(to_regclass('hourbell_migrations'))"
}

var appliedVersion = prepare(`SELECT COALESCE(max(version), 0), {isolation} FROM hourbell_migrations`)

// Ready implements [hourbell.Store].
func (s *Store) Ready(ctx context.Context) error {
	list, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	applied, needed := 0, list[len(list)-1].version
	var isolation string
	err = s.query(ctx, appliedVersion, nil, func(rows *sql.Rows) error { return rows.Scan(&applied, &isolation) })
	s.committed.Store(isolation == "read committed")
	if err == nil && applied < needed {
		err = fmt.Errorf("%w (it has version %d of %d)", hourbell.ErrNotMigrated, applied, needed)
	}
	return err
}
