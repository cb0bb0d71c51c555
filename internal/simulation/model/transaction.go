package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// Session is a connection to a Database. It implements the operations of
// [hourbell.Store] that a schedule needs from its definition to its runs.
// The other operations panic.
type Session struct {
	hourbell.Store // nil
	db             *Database
	tx             *transaction // the open transaction, or nil
	wait           WaitFunc
	readAt         time.Time // the result of the last call of Now

	// RequestedAt is the time of the current request. It is used only if the
	// statement clock is omitted.
	RequestedAt time.Time

	// Process is recorded in the changes of the session.
	Process string
}

// transaction holds writes that are not committed yet. Its rows stay locked
// until it ends.
type transaction struct {
	db         *Database
	id         int
	limit      time.Duration // bounds idle time; half of it bounds a wait for a lock
	lastActive time.Duration // Database.Elapsed at the end of the last statement
	readAt     time.Time     // Session.readAt at its start
	process    string        // Session.Process
	waiting    bool          // for a lock, which is not idle time
	ended      bool
	aborted    bool // a statement failed, so only a rollback is possible
	changed    map[string]storage.Schedule
	log        []Change
	runs       []Run
	events     []Event
	keys       []string // the idempotency keys that it has locked
}

// statementLimit is the limit of a statement that is its own transaction.
const statementLimit = 10 * time.Second

var (
	errEnded   = fmt.Errorf("%w: the server ended the transaction", hourbell.ErrUnavailable)
	errAborted = errors.New("the transaction is aborted")
)

func (s *Session) begin(limit time.Duration) *transaction {
	db := s.db
	db.nextTx++
	tx := &transaction{db: db, id: db.nextTx, limit: limit, lastActive: db.Elapsed, readAt: s.readAt, process: s.Process, changed: map[string]storage.Schedule{}}
	db.open = append(db.open, tx)
	return tx
}

// end discards uncommitted writes and releases the row locks.
func (tx *transaction) end() {
	tx.ended = true
	tx.db.open = slices.DeleteFunc(tx.db.open, func(other *transaction) bool { return other == tx })
	for id, r := range tx.db.schedules {
		if r.owner == tx {
			r.owner = nil
			if !r.committed {
				delete(tx.db.schedules, id)
			}
		}
	}
}

func (tx *transaction) commit() error {
	switch {
	case tx.ended:
		return errEnded
	case tx.aborted:
		tx.end()
		return errAborted
	}
	for id, written := range tx.changed {
		r := tx.db.schedules[id]
		r.Schedule, r.committed = written, true
	}
	tx.db.Log = append(tx.db.Log, tx.log...)
	tx.db.Runs = append(tx.db.Runs, tx.runs...)
	tx.db.Events = append(tx.db.Events, tx.events...)
	tx.end()
	return nil
}

// Begin opens a transaction and returns a session inside it.
func (s *Session) Begin(limit time.Duration) *Session {
	inner := *s
	inner.tx = s.begin(limit)
	return &inner
}

// Commit commits the transaction that Begin opened.
func (s *Session) Commit() error { return s.tx.commit() }

// Rollback ends the transaction that Begin opened. It does nothing after
// Commit.
func (s *Session) Rollback() { s.tx.end() }

// Handle returns the gorm handle that an Enqueuer receives. It is connected to
// no database.
func (s *Session) Handle() *gorm.DB { return s.db.handle }

// Transaction implements [hourbell.Store].
func (s *Session) Transaction(_ context.Context, limit time.Duration, fn func(hourbell.Store, *gorm.DB) error) error {
	inner := s.Begin(limit)
	defer inner.Rollback()
	if err := fn(inner, s.db.handle); err != nil {
		return err
	}
	return inner.Commit()
}

// WithTx implements [hourbell.Store]. It panics: the model cannot join a host's
// transaction.
func (s *Session) WithTx(*gorm.DB) hourbell.Store {
	panic("model: WithTx is not implemented")
}

// statement executes one statement in the open transaction, or in one of its
// own.
func (s *Session) statement(execute func(tx *transaction) error) error {
	if s.tx == nil {
		tx := s.begin(statementLimit)
		defer tx.end()
		if err := execute(tx); err != nil {
			return err
		}
		return tx.commit()
	}
	switch {
	case s.tx.ended:
		return errEnded
	case s.tx.aborted:
		return errAborted
	}
	err := execute(s.tx)
	if s.tx.lastActive = s.db.Elapsed; err != nil {
		s.tx.aborted = true
	}
	return err
}

// waitWhile waits until blocked returns false.
func (s *Session) waitWhile(tx *transaction, blocked func() bool) error {
	if !blocked() {
		return nil
	}
	tx.waiting = true
	free := s.wait(blocked, tx.limit/2)
	tx.waiting, tx.lastActive = false, s.db.Elapsed
	if !free {
		return hourbell.ErrBusy
	}
	if tx.ended {
		return errEnded
	}
	return nil
}

// lockRows locks the rows with these ids, in id order. If none of them matches
// as the transaction sees it, lockRows locks none: the statement on Postgres
// then selects no row to lock.
func (s *Session) lockRows(tx *transaction, ids []string, matches func(storage.Schedule) bool) error {
	found := slices.ContainsFunc(ids, func(id string) bool {
		row, exists := tx.read(id)
		return exists && matches(row)
	})
	if !found {
		return nil
	}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		r := s.db.schedules[id]
		if r == nil || !r.committed && r.owner != tx {
			continue
		}
		if err := s.waitWhile(tx, func() bool { return r.owner != nil && r.owner != tx }); err != nil {
			return err
		}
		r.owner = tx
	}
	return nil
}

// read returns a row as the transaction sees it.
func (tx *transaction) read(id string) (storage.Schedule, bool) {
	if written, ok := tx.changed[id]; ok {
		return written, true
	}
	return tx.db.Schedule(id)
}

// write changes a row and locks it.
func (tx *transaction) write(operation, worker string, at time.Time, before, after storage.Schedule) {
	tx.db.schedules[after.ID].owner = tx
	tx.changed[after.ID] = after
	tx.log = append(tx.log, Change{tx.id, operation, tx.process, worker, at, tx.readAt, tx.db.Elapsed, before, after})
}

// ids returns the ids of the rows that the transaction sees, in order.
func (tx *transaction) ids() []string {
	ids := slices.Sorted(maps.Keys(tx.db.schedules))
	return slices.DeleteFunc(ids, func(id string) bool { _, exists := tx.read(id); return !exists })
}
