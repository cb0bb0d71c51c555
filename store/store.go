// Package store keeps hourbell's state in a Postgres or SQLite database. It
// contains all of hourbell's SQL.
//
// Hosts pass [New] their gorm handle and pass the result to hourbell.New. They
// create the tables with [Migrate], or apply the files of [Migrations] with a
// migration tool of their own.
//
// Statements go directly to the handle's connection pool. gorm's naming
// strategy, callbacks, logger and prepared statements do not apply to them.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/timing"
)

// New returns a store on the Postgres or SQLite database of a gorm handle. It
// sends no statement. hourbell.New returns an error if the handle is nil or of
// another database, or if an option is invalid.
func New(db *gorm.DB, opts ...Option) hourbell.Store {
	return &database{db: db, options: collectOptions(opts)}
}

// database implements [hourbell.Store]. It is safe for concurrent use.
type database struct {
	db        *gorm.DB
	options   options
	dialect   *dialect
	namespace string
	clock     func() time.Time // replaces the database clock; nil for none
	inTx      bool             // db is an open transaction
	// readCommitted reports that READ COMMITTED is the default isolation of the
	// host's connections. CheckMigrated sets it.
	readCommitted *atomic.Bool
}

// Bind implements [hourbell.Store].
func (s *database) Bind(namespace string, clock func() time.Time) (hourbell.Store, error) {
	d, err := dialectOf(s.db)
	if err != nil {
		return nil, err
	}
	if err := s.options.validate(d); err != nil {
		return nil, err
	}
	return &database{db: s.db, options: s.options, dialect: d, namespace: namespace, clock: clock, readCommitted: new(atomic.Bool)}, nil
}

// WithTx implements [hourbell.Store].
func (s *database) WithTx(tx *gorm.DB) hourbell.Store { return s.withTx(tx) }

func (s *database) withTx(tx *gorm.DB) *database {
	inner := *s
	inner.db, inner.inTx = tx, true
	return &inner
}

// setLimits makes the server end what a paused client cannot end itself.
// Otherwise, a process that is paused inside a transaction would keep its row
// locks. The limit for locks is half of the others. So the server reports a
// wait for a lock as such, and not as a slow statement.
var setLimits = prepare(`
SELECT set_config('idle_in_transaction_session_timeout', @limit, true),
	set_config('statement_timeout', @limit, true),
	set_config('lock_timeout', @lock_limit, true)`)

func (s *database) setLimits(ctx context.Context, limit time.Duration) error {
	milliseconds := func(d time.Duration) string { return fmt.Sprintf("%dms", max(d.Milliseconds(), 1)) }
	return s.exec(ctx, setLimits, values{"limit": milliseconds(limit), "lock_limit": milliseconds(limit / 2)})
}

// Transaction implements [hourbell.Store].
func (s *database) Transaction(ctx context.Context, limit time.Duration, fn func(hourbell.Store, *gorm.DB) error) error {
	return s.transaction(ctx, limit, func(tx *database) error { return fn(tx, tx.db) })
}

// transaction runs fn in a READ COMMITTED transaction, or in a savepoint of the
// open one. It retries a transaction, but no savepoint, after serialization
// failures and deadlocks.
func (s *database) transaction(ctx context.Context, limit time.Duration, fn func(*database) error) error {
	if s.inTx {
		return s.savepoint(ctx, fn)
	}
	if s.dialect == sqlite {
		return s.retry(ctx, func() error { return s.sqliteTransaction(ctx, fn) })
	}
	return s.retry(ctx, func() error {
		begun := false
		err := s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error {
			begun = true
			tx := s.withTx(db)
			if err := tx.setLimits(ctx, limit); err != nil {
				return err
			}
			return fn(tx)
		}, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if !begun {
			err = s.poolError(err)
		}
		return err
	})
}

// sqliteTransaction runs fn in a transaction. Without a write-ahead log, a
// reader can prevent a COMMIT, and the connection then remains in the
// transaction: what it writes later would be acknowledged and never stored. So
// the connection is kept until the transaction has ended, and rolled back if
// the COMMIT fails.
//
// A pool of the host's own, such as one that traces statements, does not lend
// connections.
func (s *database) sqliteTransaction(ctx context.Context, fn func(*database) error) (err error) {
	pool, ok := s.pool().(*sql.DB)
	if !ok {
		return s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error { return fn(s.withTx(db)) })
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return s.poolError(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	sqlTx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed {
			_ = sqlTx.Rollback()
		}
	}()
	db := s.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = sqlTx
	if err := fn(s.withTx(db)); err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // fails if the transaction has ended
		return err
	}
	committed = true
	return nil
}

// rollbackTimeout limits the rollback of a savepoint whose context has ended.
const rollbackTimeout = time.Second

// savepoint runs fn in a savepoint of the open transaction. If fn fails, its
// writes are rolled back even if ctx has ended, because a host may still commit
// its own writes.
func (s *database) savepoint(ctx context.Context, fn func(*database) error) error {
	if _, open := s.db.Statement.ConnPool.(gorm.TxCommitter); !open {
		return errors.New("store: Tx is not an open transaction: what is written through it could not be rolled back")
	}
	rollbackCtx, cancel := timing.DelayCancel(ctx, rollbackTimeout)
	defer cancel()
	db := s.db.WithContext(rollbackCtx)
	db.DisableNestedTransaction = false // a call must undo its own part, even if the host disables savepoints
	return s.retry(ctx, func() error {
		return db.Transaction(func(tx *gorm.DB) error { return fn(s.withTx(tx.WithContext(ctx))) })
	})
}

// insertOptimistic inserts rows that are expected to be new. In a transaction
// on Postgres, it first inserts without ON CONFLICT, which is slower because
// Postgres inserts each row speculatively. If a row exists already, or
// elsewhere, it inserts with ON CONFLICT.
func (s *database) insertOptimistic(ctx context.Context, insert func(s *database, onConflict bool) error) error {
	if s.inTx && s.dialect == postgres {
		err := s.savepoint(ctx, func(tx *database) error { return insert(tx, false) })
		if sqlState(err) != uniqueViolation || duplicateIDTable(err) != "" {
			return err
		}
	}
	return insert(s, true)
}

// statementTimeout limits a statement outside a transaction, unless its caller
// has set an earlier deadline.
const statementTimeout = 10 * time.Second

// query runs a statement that only reads, or any statement on SQLite.
func (s *database) query(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return s.retry(ctx, func() error {
		rows := 0
		err := s.run(ctx, st, v, func(row *sql.Rows) error { rows++; return scan(row) })
		if err != nil && rows > 0 && !s.inTx {
			return partialResult{err}
		}
		return err
	})
}

// write runs a statement that writes, in READ COMMITTED whatever the host's
// default isolation is. At higher levels, most concurrent claims fail.
func (s *database) write(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	if s.inTx {
		return s.run(ctx, st, v, scan)
	}
	if s.dialect == sqlite { // SQLite has only one isolation level
		return s.query(ctx, st, v, scan)
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return s.transaction(ctx, remaining(ctx), func(tx *database) error { return tx.run(ctx, st, v, scan) })
}

// writeAutocommit runs a statement that writes and waits for no row lock. If
// the host's default isolation is READ COMMITTED, it needs no explicit
// transaction, which would add three round trips.
func (s *database) writeAutocommit(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	if s.inTx || !s.readCommitted.Load() {
		return s.write(ctx, st, v, scan)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, statementTimeout)
		defer cancel()
	}
	rows := 0
	err := s.run(ctx, st, v, func(row *sql.Rows) error { rows++; return scan(row) })
	if isTransient(err) && rows == 0 { // this connection may have another default isolation
		s.readCommitted.Store(false)
		return s.write(ctx, st, v, scan)
	}
	return s.classify(err)
}

// remaining returns the time until a context's deadline. The context must have
// one.
func remaining(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

// exec runs a statement that writes and returns no rows.
func (s *database) exec(ctx context.Context, st *statement, v values) error {
	return s.write(ctx, st, v, func(*sql.Rows) error { return nil })
}

// pool returns the pool or transaction to which statements go. It bypasses
// gorm's cache of prepared statements, in which a call that waits for a
// connection blocks all other calls of the same statement. The drivers have
// caches of their own.
func (s *database) pool() gorm.ConnPool {
	switch pool := s.db.Statement.ConnPool.(type) {
	case *gorm.PreparedStmtDB:
		return pool.ConnPool
	case *gorm.PreparedStmtTX:
		return pool.Tx
	default:
		return pool
	}
}

// run sends a statement and scans its rows.
func (s *database) run(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) (err error) {
	text, args := st.bind(s.dialect, s.options, v, s.namespace, s.clock)
	rows, err := s.pool().QueryContext(ctx, text, args...)
	if err != nil {
		return s.poolError(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

var selectNow = prepare(`SELECT {now}`)

// Now implements [hourbell.Store].
func (s *database) Now(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := s.query(ctx, selectNow, nil, func(rows *sql.Rows) error { return rows.Scan(toTime(&at)) })
	return at, err
}
