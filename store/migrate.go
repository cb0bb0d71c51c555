package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
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

// Migrations returns the files that [Migrate] applies, for hosts that use a
// migration tool of their own. The files postgres/0001_*.sql and so on are for
// Postgres, and sqlite/0001_*.sql and so on are for SQLite. They apply in the
// order of their names. Each file records its version and checksum in the table
// hourbell_migrations. Released files never change.
func Migrations(opts ...Option) fs.FS {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // impossible: the folder is embedded
	}
	if o := collectOptions(opts); o.schema != "" {
		return qualifiedFS{files, o}
	}
	return files
}

// migration is one file.
type migration struct {
	version  int
	name     string
	text     string
	checksum string
}

// migrations returns the files of a dialect, ordered by version.
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
		list[i] = migration{version, name, string(text), checksum(string(text))}
	}
	return list, nil
}

// checksumLine begins the last statement of each file, which records the
// checksum.
const checksumLine = "INSERT INTO hourbell_migrations"

// checksum returns the checksum of a file: that of the text before the
// statement that records it.
func checksum(text string) string {
	text, _, _ = strings.Cut(text, checksumLine)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// Migrate creates hourbell's tables in the database of db, or updates them to
// this version. Any number of processes may call it concurrently. It runs in
// one transaction, so an error leaves the database unchanged.
//
// db must be a database handle, not a transaction. The options must be those
// given to [New]. Migrate refuses tables that an unreleased build has made,
// with an error that matches hourbell.ErrNotMigrated: they must be dropped. If
// the database cannot be reached, the error matches hourbell.ErrUnavailable.
func Migrate(ctx context.Context, db *gorm.DB, opts ...Option) error {
	s := &database{db: db, options: collectOptions(opts)}
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("hourbell: migrate: %w", s.classify(err))
	}
	return nil
}

func (s *database) migrate(ctx context.Context) error {
	d, err := dialectOf(s.db)
	if err != nil {
		return err
	}
	o := s.options
	if err := o.validate(d); err != nil {
		return err
	}
	if _, inTx := s.db.Statement.ConnPool.(gorm.TxCommitter); inTx {
		return errors.New("db is a transaction: pass the database handle itself")
	}
	// gorm's prepared statements cannot contain several statements, so the
	// migrations run on the pool below.
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	if s.dialect = d; d == sqlite {
		if err := s.checkErrorCodes(ctx); err != nil {
			return err
		}
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return s.poolError(err)
	}
	defer conn.Close() //nolint:errcheck // returns the connection to the pool
	if err := d.beginMigration(ctx, conn, o); err != nil {
		return err
	}
	if err = d.applyMigrations(ctx, conn, o); err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil { // the connection must not return to the pool inside a transaction
		_, rollbackErr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rollbackErr)
	}
	if d == sqlite {
		return checkSharedMemory(ctx, pool, conn)
	}
	return nil
}

// beginMigration opens a transaction that excludes other migrations.
func (d *dialect) beginMigration(ctx context.Context, conn *sql.Conn, o options) error {
	if d == sqlite {
		for {
			_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
			if err == nil || !isTransient(err) || ctx.Err() != nil {
				return err
			}
			sleep(ctx, 20*time.Millisecond)
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED"); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('hourbell migrations ' || $1, 0))", o.schema)
	if err != nil {
		_, rollbackErr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rollbackErr)
	}
	return nil
}

// applyMigrations applies the files that are not applied yet.
func (d *dialect) applyMigrations(ctx context.Context, conn *sql.Conn, o options) error {
	applied, err := d.appliedMigrations(ctx, conn, o)
	if err != nil {
		return err
	}
	list, err := d.migrations()
	if err != nil {
		return err
	}
	if err := checkChecksums(list, applied); err != nil {
		return err
	}
	if d == sqlite {
		var version string
		if err := conn.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version); err != nil {
			return err
		}
		if err := checkSQLiteVersion(version); err != nil {
			return err
		}
	}
	for _, m := range list {
		if _, done := applied[m.version]; done {
			continue
		}
		if _, err := conn.ExecContext(ctx, o.qualify(m.text)); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// minSQLite is the oldest minor version of SQLite 3 with unixepoch('subsec').
const minSQLite = 42

// checkSQLiteVersion returns an error if the driver's SQLite is too old.
func checkSQLiteVersion(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("SQLite's version %q is not a version: %w", version, err)
	}
	if major < 3 || major == 3 && minor < minSQLite {
		return fmt.Errorf("the driver has SQLite %s, but hourbell needs 3.%d or later: upgrade the driver (modernc.org/sqlite 1.29 or later)", version, minSQLite)
	}
	return nil
}

// appliedMigrations returns the checksums of the applied files by version. It
// returns errUnreleased if no checksums are recorded, and another error if the
// schema of the options does not exist.
func (d *dialect) appliedMigrations(ctx context.Context, conn *sql.Conn, o options) (map[int]string, error) {
	tables, columns := `SELECT count(to_regclass('hourbell_migrations'))`,
		`SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('hourbell_migrations') AND attname = 'checksum'`
	if d == sqlite {
		tables, columns = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'hourbell_migrations'`,
			`SELECT count(*) FROM pragma_table_info('hourbell_migrations') WHERE name = 'checksum'`
	}
	if o.schema != "" {
		var exists bool
		if err := conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`, o.schema).Scan(&exists); err != nil {
			return nil, err
		}
		if !exists {
			return nil, fmt.Errorf("store.Schema(%q): the schema does not exist: create it first", o.schema)
		}
	}
	var hasTable, hasChecksum int
	if err := conn.QueryRowContext(ctx, o.qualify(tables)).Scan(&hasTable); err != nil || hasTable == 0 {
		return nil, err
	}
	if err := conn.QueryRowContext(ctx, o.qualify(columns)).Scan(&hasChecksum); err != nil {
		return nil, err
	}
	if hasChecksum == 0 {
		return nil, errUnreleased
	}
	rows, err := conn.QueryContext(ctx, o.qualify(`SELECT version, checksum FROM hourbell_migrations`))
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err reports what matters
	applied := map[int]string{}
	for rows.Next() {
		var version int
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return nil, err
		}
		applied[version] = sum
	}
	return applied, rows.Err()
}

// unreleasedError reports tables that an unreleased build of hourbell has made.
type unreleasedError struct{}

var errUnreleased error = unreleasedError{}

func (unreleasedError) Error() string {
	return "an unreleased build of hourbell made the tables of this database, and they cannot be updated: " +
		"drop hourbell_schedules, hourbell_job_runs, hourbell_events, hourbell_workers and hourbell_migrations, then migrate again"
}

// Is makes the error match [hourbell.ErrNotMigrated].
func (unreleasedError) Is(target error) bool { return target == hourbell.ErrNotMigrated }

// checkChecksums returns errUnreleased if a file was applied with other
// contents: released files never change.
func checkChecksums(list []migration, applied map[int]string) error {
	for _, m := range list {
		if sum, done := applied[m.version]; done && sum != m.checksum {
			return errUnreleased
		}
	}
	return nil
}

var selectMigrations = prepare(`SELECT version, checksum, {isolation} FROM hourbell_migrations`)

var (
	selectSettings = prepare(`SELECT current_setting('DateStyle'), current_setting('array_nulls')`)
	echoTimes      = prepare(`SELECT t FROM unnest(CAST(@times AS timestamptz[])) AS t`)

	// PRAGMAs are those of the connection that runs the statement.
	selectPragmas = prepare(`SELECT (SELECT journal_mode FROM pragma_journal_mode), (SELECT timeout FROM pragma_busy_timeout),
	(SELECT count(*) FROM pragma_database_list WHERE name = 'main' AND file <> '')`)
)

// checkSettings returns an error that names a setting with which hourbell
// cannot work.
func (s *database) checkSettings(ctx context.Context) error {
	if s.dialect == sqlite {
		return s.checkPragmas(ctx)
	}
	var dateStyle, arrayNulls string
	err := s.query(ctx, selectSettings, nil, func(rows *sql.Rows) error { return rows.Scan(&dateStyle, &arrayNulls) })
	if err != nil || strings.HasPrefix(dateStyle, "ISO") && arrayNulls == "on" {
		return err
	}
	// The settings matter only if the driver sends values as text.
	sent := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	var received []time.Time
	err = s.query(ctx, echoTimes, values{"times": []*time.Time{&sent, nil}}, func(rows *sql.Rows) error {
		var t time.Time
		err := rows.Scan(toTime(&t))
		received = append(received, t)
		return err
	})
	if err == nil && len(received) == 2 && received[0].Equal(sent) && received[1].IsZero() {
		return nil
	}
	return fmt.Errorf("the driver sends values as text (simple_protocol or exec mode), which needs DateStyle ISO and array_nulls on, "+
		"but DateStyle is %q and array_nulls is %q: change them, for example with ALTER ROLE … SET, or use the driver's default mode", dateStyle, arrayNulls)
}

// checkPragmas checks the settings of SQLite. Their names in a DSN depend on
// the driver.
func (s *database) checkPragmas(ctx context.Context) error {
	var journal string
	var timeout, files int
	err := s.query(ctx, selectPragmas, nil, func(rows *sql.Rows) error { return rows.Scan(&journal, &timeout, &files) })
	switch {
	case err != nil:
		return err
	case strings.EqualFold(journal, "off"):
		return errors.New("SQLite's journal_mode is OFF, so that no transaction can be rolled back: " +
			"set it to WAL in the DSN, with _pragma=journal_mode(WAL) (glebarez, modernc, ncruces) or _journal_mode=WAL (mattn)")
	case files > 0 && timeout == 0:
		return errors.New("SQLite's busy_timeout is 0, so that concurrent writes fail at once: " +
			"set some seconds in the DSN, with _pragma=busy_timeout(5000) (glebarez, modernc, ncruces) or _busy_timeout=5000 (mattn)")
	case files == 0:
		return s.checkMemory(ctx)
	}
	return nil
}

// CheckMigrated implements [hourbell.Store]. It also checks the settings, and
// reads the default isolation of the host's connections: see
// database.readCommitted.
func (s *database) CheckMigrated(ctx context.Context) error {
	list, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	if s.dialect == sqlite {
		if err := s.checkErrorCodes(ctx); err != nil {
			return err
		}
	}
	applied := map[int]string{}
	var isolation string
	err = s.query(ctx, selectMigrations, nil, func(rows *sql.Rows) error {
		var version int
		var sum string
		err := rows.Scan(&version, &sum, &isolation)
		applied[version] = sum
		return err
	})
	s.readCommitted.Store(isolation == "read committed")
	switch {
	case isMissingChecksum(err):
		return errUnreleased
	case s.dialect == postgres && isMissingTable(err):
		return s.notMigrated(ctx)
	case isMissingTable(err): // on this connection
		return cmp.Or(s.checkMemory(ctx), err)
	case err != nil:
		return err
	}
	for _, m := range list {
		if _, done := applied[m.version]; !done {
			return fmt.Errorf("%w (migration %d is missing)", hourbell.ErrNotMigrated, m.version)
		}
	}
	if err := checkChecksums(list, applied); err != nil {
		return err
	}
	return s.checkSettings(ctx)
}

// notMigrated returns ErrNotMigrated, with the schema or search_path in which
// the tables are missing.
func (s *database) notMigrated(ctx context.Context) error {
	if s.options.schema != "" {
		return fmt.Errorf("%w (the schema %q has no hourbell_migrations)", hourbell.ErrNotMigrated, s.options.schema)
	}
	var path string
	err := s.query(ctx, selectSearchPath, nil, func(rows *sql.Rows) error { return rows.Scan(&path) })
	if err != nil {
		return err
	}
	return fmt.Errorf("%w (no schema of the search_path %q has hourbell_migrations)", hourbell.ErrNotMigrated, path)
}

var selectSearchPath = prepare(`SELECT current_setting('search_path')`)

// isMissingChecksum reports whether hourbell_migrations has no column checksum.
func isMissingChecksum(err error) bool {
	return sqlState(err) == undefinedColumn ||
		sqliteCode(err) == sqliteError && strings.Contains(err.Error(), "no such column: checksum")
}
