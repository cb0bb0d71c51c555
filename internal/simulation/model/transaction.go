package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
)

// Session implements those verbs of [hourbell.Store] that a schedule's way from definition to run consists of; of the
// others none is there to be called.
type Session struct {
	hourbell.Store
	db   *Database
	tx   *transaction // the one that is open
	wait func(blocked func() bool, limit time.Duration) bool
	seen time.Time // the clock when it was last read by itself
	// Asked is when a claim was asked for, where that is to judge.
	Asked time.Time
}

// transaction is what one has written and not yet committed. Its rows are locked until it ends.
type transaction struct {
	db      *Database
	id      int
	limit   time.Duration // on a statement, an idle moment, and half of it on a wait for a lock
	active  time.Duration // when it was last heard of
	seen    time.Time
	waits   bool
	over    bool
	aborted bool // a statement failed: nothing but its end is to come
	changed map[string]hourbell.Schedule
	log     []Change
	runs    []Run
	events  []Event
}

// standalone bounds a statement that is a transaction by itself.
const standalone = 10 * time.Second

// errEnded is what a connection says whose transaction the server has ended.
var errEnded = fmt.Errorf("%w: the server ended the transaction", hourbell.ErrUnavailable)

func (s *Session) begin(limit time.Duration) *transaction {
	db := s.db
	db.nextTx++
	tx := &transaction{db: db, id: db.nextTx, limit: limit, active: db.Elapsed, seen: s.seen, changed: map[string]hourbell.Schedule{}}
	db.open = append(db.open, tx)
	return tx
}

// end rolls back what was not committed and frees the rows.
func (tx *transaction) end() {
	tx.over = true
	tx.db.open = slices.DeleteFunc(tx.db.open, func(other *transaction) bool { return other == tx })
	for id, r := range tx.db.schedules {
		if r.owner == tx {
			r.owner = nil
			if !r.there {
				delete(tx.db.schedules, id)
			}
		}
	}
}

func (tx *transaction) commit() error {
	switch {
	case tx.over:
		return errEnded
	case tx.aborted:
		tx.end()
		return errors.New("the transaction is aborted")
	}
	for id, written := range tx.changed {
		r := tx.db.schedules[id]
		r.Schedule, r.there = written, true
	}
	tx.db.Log = append(tx.db.Log, tx.log...)
	tx.db.Runs = append(tx.db.Runs, tx.runs...)
	tx.db.Events = append(tx.db.Events, tx.events...)
	tx.end()
	return nil
}

// Begin opens a transaction. The session returned is inside it.
func (s *Session) Begin(limit time.Duration) *Session {
	inner := *s
	inner.tx = s.begin(limit)
	return &inner
}

// Commit and Rollback end the transaction that the session is inside.
func (s *Session) Commit() error { return s.tx.commit() }

// Rollback undoes it.
func (s *Session) Rollback() { s.tx.end() }

// Transaction implements [hourbell.Store].
func (s *Session) Transaction(_ context.Context, limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) error {
	inner := s.Begin(limit)
	defer inner.Rollback()
	if err := fn(inner, s.db.handle); err != nil {
		return err
	}
	return inner.Commit()
}

// Handle is what stands for the transaction in the hands of an Enqueuer.
func (s *Session) Handle() hourbell.Tx { return s.db.handle }

// statement runs one statement, in the open transaction or in one of its own.
func (s *Session) statement(run func(tx *transaction) error) error {
	if s.tx == nil {
		tx := s.begin(standalone)
		defer tx.end()
		if err := run(tx); err != nil {
			return err
		}
		return tx.commit()
	}
	switch {
	case s.tx.over:
		return errEnded
	case s.tx.aborted:
		return errors.New("the transaction is aborted")
	}
	err := run(s.tx)
	if s.tx.active = s.db.Elapsed; err != nil {
		s.tx.aborted = true
	}
	return err
}

// unblocked waits while others are in the way.
func (s *Session) unblocked(tx *transaction, blocked func() bool) error {
	if !blocked() {
		return nil
	}
	tx.waits = true // which is not idle
	free := s.wait(blocked, tx.limit/2)
	tx.waits, tx.active = false, s.db.Elapsed
	if !free {
		return hourbell.ErrBusy
	}
	if tx.over {
		return errEnded
	}
	return nil
}

// lock locks the rows that are there, in the order of their ids; none of them, if there is none that fits as it stands:
// the real statement then has no reason to look further.
func (s *Session) lock(tx *transaction, ids []string, fits func(hourbell.Schedule) bool) error {
	fitting := slices.ContainsFunc(ids, func(id string) bool {
		row, there := tx.read(id)
		return there && fits(row)
	})
	if !fitting {
		return nil
	}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		r := s.db.schedules[id]
		if r == nil || !r.there && r.owner != tx {
			continue
		}
		if err := s.unblocked(tx, func() bool { return r.owner != nil && r.owner != tx }); err != nil {
			return err
		}
		r.owner = tx
	}
	return nil
}

// read is a row as the transaction sees it.
func (tx *transaction) read(id string) (hourbell.Schedule, bool) {
	if written, ok := tx.changed[id]; ok {
		return written, true
	}
	return tx.db.Schedule(id)
}

// write changes a row that the transaction has locked.
func (tx *transaction) write(verb, worker string, at time.Time, before, after hourbell.Schedule) {
	tx.db.schedules[after.ID].owner = tx
	tx.changed[after.ID] = after
	tx.log = append(tx.log, Change{tx.id, verb, worker, at, tx.seen, tx.db.Elapsed, before, after})
}

// all are the ids of the rows that the transaction sees, in order.
func (tx *transaction) all() []string {
	ids := slices.Sorted(maps.Keys(tx.db.schedules))
	return slices.DeleteFunc(ids, func(id string) bool { _, there := tx.read(id); return !there })
}
