// Package store keeps hourbell's state in a Postgres or SQLite database. It holds all of hourbell's SQL.
//
// Hosts call [New] with their gorm handle and pass the result to hourbell.New, and create the tables with [Migrate]
// or, with a tool of their own, from [Migrations]. Statements go straight to the handle's connection pool: gorm's naming
// strategy, callbacks, logger and prepared statements have no part in them.
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
)

// Store implements [hourbell.Store]. It is safe for concurrent use.
type Store struct {
	db        *gorm.DB
	dialect   *dialect
	namespace string
	clock     func() time.Time
	inside    bool         // in an open transaction
	committed *atomic.Bool // whether the host's transactions are READ COMMITTED by default
}

// New wraps a gorm handle on Postgres or SQLite. A handle that cannot serve is reported by hourbell.New.
func New(db *gorm.DB) *Store { return &Store{db: db} }

// Bind implements [hourbell.Store].
func (s *Store) Bind(namespace string, clock func() time.Time) (hourbell.Store, error) {
	d, err := dialectOf(s.db)
	if err != nil {
		return nil, err
	}
	return &Store{db: s.db, dialect: d, namespace: namespace, clock: clock, committed: new(atomic.Bool)}, nil
}

// Within implements [hourbell.Store].
func (s *Store) Within(tx hourbell.Tx) hourbell.Store { return s.within(tx) }

func (s *Store) within(tx *gorm.DB) *Store {
	inner := *s
	inner.db, inner.inside = tx, true
	return &inner
}

// limits makes the server end what the client can no longer: a transaction whose process was stopped would keep its
// rows for ever. A wait for a lock ends at half the time, so that it can be told from a slow statement, and from a client
// that has given up.
var limits = prepare(`
SELECT set_config('idle_in_transaction_session_timeout', @limit, true),
       set_config('statement_timeout', @limit, true),
       set_config('lock_timeout', @lock_limit, true)`)

func (s *Store) limit(ctx context.Context, limit time.Duration) error {
	milliseconds := func(d time.Duration) string { return fmt.Sprintf("%dms", max(d.Milliseconds(), 1)) }
	return s.exec(ctx, limits, values{"limit": milliseconds(limit), "lock_limit": milliseconds(limit / 2)})
}

// Transaction implements [hourbell.Store].
func (s *Store) Transaction(ctx context.Context, limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) error {
	return s.transaction(ctx, limit, func(tx *Store) error { return fn(tx, tx.db) })
}

// transaction runs fn in a READ COMMITTED transaction, or in a savepoint of the one that is open, and again after a
// failure that another try may mend.
func (s *Store) transaction(ctx context.Context, limit time.Duration, fn func(*Store) error) error {
	if s.inside {
		return s.savepoint(ctx, fn)
	}
	var options []*sql.TxOptions
	if s.dialect == postgres {
		options = append(options, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	return s.retry(ctx, func() error {
		return s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error {
			tx := s.within(db)
			if s.dialect == postgres {
				if err := tx.limit(ctx, limit); err != nil {
					return err
				}
			}
			return fn(tx)
		}, options...)
	})
}

// lastWord is how long a savepoint may take to be undone after its context has ended.
const lastWord = time.Second

// savepoint runs fn in a savepoint of the host's transaction. What fails in it is undone even where it fails because
// ctx has ended: the host may commit the rest.
func (s *Store) savepoint(ctx context.Context, fn func(*Store) error) error {
	if _, open := s.db.Statement.ConnPool.(gorm.TxCommitter); !open {
		return errors.New("store: the Tx given is not an open transaction: what is written through it could not be rolled back")
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		pause(lasting, lastWord)
		cancel()
	})()
	db := s.db.WithContext(lasting)
	db.DisableNestedTransaction = false // a call that fails must undo its part, though the host does without savepoints
	return s.retry(ctx, func() error {
		return db.Transaction(func(tx *gorm.DB) error { return fn(s.within(tx.WithContext(ctx))) })
	})
}

// unlessTaken runs an insert that expects nothing of it to be there yet, and where something is, again as one that passes that
// by: to expect it costs Postgres a tenth of a fire, and it is next to impossible in a transaction that has advanced the
// schedule.
func (s *Store) unlessTaken(ctx context.Context, insert func(s *Store, taken bool) error) error {
	if s.inside && s.dialect == postgres {
		err := s.savepoint(ctx, func(tx *Store) error { return insert(tx, false) })
		if sqlState(err) != uniqueViolation {
			return err
		}
	}
	return insert(s, true)
}

// longest bounds a statement that stands alone, where its caller has set no earlier deadline.
const longest = 10 * time.Second

// query runs a statement that only reads.
func (s *Store) query(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return s.retry(ctx, func() error {
		rows := 0
		err := s.run(ctx, st, v, func(row *sql.Rows) error { rows++; return scan(row) })
		if err != nil && rows > 0 && !s.inside {
			return answered{err}
		}
		return err
	})
}

// write runs a statement that writes, and asks for READ COMMITTED whatever the host's default is: a claim fails most
// of the time under the higher levels.
func (s *Store) write(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	if s.inside {
		return s.run(ctx, st, v, scan)
	}
	if s.dialect == sqlite { // a statement is a transaction, and there is one level only
		return s.query(ctx, st, v, scan)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return s.transaction(ctx, remaining(ctx), func(tx *Store) error { return tx.run(ctx, st, v, scan) })
}

// alone runs a statement that is a transaction by itself and waits for no row. Where the host's transactions are READ
// COMMITTED by default it needs none around it that asks for that, at a fourth of the price.
func (s *Store) alone(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	if s.inside || !s.committed.Load() {
		return s.write(ctx, st, v, scan)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	rows := 0
	err := s.run(ctx, st, v, func(row *sql.Rows) error { rows++; return scan(row) })
	if transient(err) && rows == 0 { // this connection has another default
		s.committed.Store(false)
		return s.write(ctx, st, v, scan)
	}
	return classify(err)
}

// remaining is how long a context has to its deadline.
func remaining(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return time.Until(deadline)
}

func (s *Store) exec(ctx context.Context, st *statement, v values) error {
	return s.write(ctx, st, v, func(*sql.Rows) error { return nil })
}

// pool is where statements go: beneath gorm's cache of prepared statements (PrepareStmt), in which a call that waits for
// a connection to prepare a statement on holds up every other call with that statement, those that have a connection
// included. The drivers keep prepared statements of their own.
func (s *Store) pool() gorm.ConnPool {
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
func (s *Store) run(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) (err error) {
	text, args := st.bind(s.dialect, v, s.namespace, s.clock)
	rows, err := s.pool().QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

var now = prepare(`SELECT {now}`)

// Now implements [hourbell.Store].
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := s.query(ctx, now, nil, func(rows *sql.Rows) error { return rows.Scan(toTime(&at)) })
	return at, err
}
