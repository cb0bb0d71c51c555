// Package store keeps hourbell's state in a Postgres or SQLite database. It holds all of hourbell's SQL.
//
// Hosts call [New] with their gorm handle and pass the result to hourbell.New, and create the tables with [Migrate]
// or, with a tool of their own, from [Migrations]. Statements go straight to the handle's connection pool, or to its
// prepared statements: gorm's naming strategy, callbacks and logger have no part in them.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	inside    bool // in an open transaction
}

// New wraps a gorm handle on Postgres or SQLite. A handle that cannot serve is reported by hourbell.New.
func New(db *gorm.DB) *Store { return &Store{db: db} }

// Bind implements [hourbell.Store].
func (s *Store) Bind(namespace string, clock func() time.Time) (hourbell.Store, error) {
	d, err := dialectOf(s.db)
	if err != nil {
		return nil, err
	}
	return &Store{db: s.db, dialect: d, namespace: namespace, clock: clock}, nil
}

// Within implements [hourbell.Store].
func (s *Store) Within(tx hourbell.Tx) hourbell.Store { return s.within(tx) }

func (s *Store) within(tx *gorm.DB) *Store {
	inner := *s
	inner.db, inner.inside = tx, true
	return &inner
}

// limits makes the server end what the client can no longer: a transaction whose process was stopped would keep its
// rows for ever.
var limits = prepare(`
SELECT set_config('idle_in_transaction_session_timeout', @limit, true),
       set_config('statement_timeout', @limit, true),
       set_config('lock_timeout', @limit, true)`)

// Transaction implements [hourbell.Store].
func (s *Store) Transaction(ctx context.Context, limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) error {
	return s.transaction(ctx, func(tx *Store) error {
		if !s.inside && s.dialect == postgres {
			milliseconds := fmt.Sprintf("%dms", max(limit.Milliseconds(), 1))
			if err := tx.exec(ctx, limits, values{"limit": milliseconds}); err != nil {
				return err
			}
		}
		return fn(tx, tx.db)
	})
}

// transaction runs fn in a READ COMMITTED transaction, or in a savepoint of the one that is open, and again after a
// failure that another try may mend.
func (s *Store) transaction(ctx context.Context, fn func(*Store) error) error {
	var options []*sql.TxOptions
	if s.dialect == postgres && !s.inside {
		options = append(options, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	if _, open := s.db.Statement.ConnPool.(gorm.TxCommitter); s.inside && !open {
		return errors.New("store: the Tx given is not an open transaction: what is written through it could not be rolled back")
	}
	return s.retry(ctx, func() error {
		db := s.db.WithContext(ctx)
		db.DisableNestedTransaction = false // a call that fails must undo its part, though the host does without savepoints
		return db.Transaction(func(tx *gorm.DB) error { return fn(s.within(tx)) }, options...)
	})
}

// longest bounds a statement that stands alone, where its caller has set no earlier deadline.
const longest = 10 * time.Second

// query runs a statement that only reads.
func (s *Store) query(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return s.retry(ctx, func() error { return s.run(ctx, st, v, scan) })
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
	return s.transaction(ctx, func(tx *Store) error { return tx.run(ctx, st, v, scan) })
}

func (s *Store) exec(ctx context.Context, st *statement, v values) error {
	return s.write(ctx, st, v, func(*sql.Rows) error { return nil })
}

// run sends a statement and scans its rows.
func (s *Store) run(ctx context.Context, st *statement, v values, scan func(*sql.Rows) error) (err error) {
	text, args := st.bind(s.dialect, v, s.namespace, s.clock)
	rows, err := s.db.Statement.ConnPool.QueryContext(ctx, text, args...)
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
