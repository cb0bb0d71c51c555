// Package model is a database for hourbell in memory: an implementation of [hourbell.Store] that keeps the contract of
// the package store as Postgres does, rows, locks and transactions included. Its clock is the caller's to move, and
// each of the mechanisms that make a slot fire once can be taken out of it. A test holds it against the real store.
//
// It is not safe for concurrent use: whoever uses it from several goroutines lets them take turns.
package model

import (
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
)

// Without says which mechanisms are missing.
type Without struct {
	Fence         bool // who advances, gives back or holds a row need not have its claim
	UniqueIndex   bool // a slot may have its runs twice
	Debt          bool // owed_since is never stored
	Settling      bool // a change clears neither lock nor debt, grows no token, and what it passes over is not recorded
	CompareAndSet bool // a change applies whatever the row has become, and however late it is
	IdleLimit     bool // no transaction is ended for being idle
	OwnClock      bool // a claim is judged by the instant at which it was asked for
	Definition    bool // a row is anybody's to fire, whatever its definition
}

// Database is the tables, the clock and the transactions under way.
type Database struct {
	Without Without
	Now     time.Time     // the clock that judges; it may be stepped
	Elapsed time.Duration // what really passed; time limits go by it
	Runs    []Run
	Events  []Event
	Log     []Change // of the schedules' rows, as committed

	schedules map[string]*row
	workers   map[string]hourbell.Worker
	open      []*transaction
	nextTx    int
	nextID    int64
	handle    *gorm.DB
}

// Run is a run, and Event an event, with the transaction that wrote it.
type (
	Run struct {
		hourbell.JobRun
		Tx int
	}
	Event struct {
		hourbell.Event
		Tx int
	}
)

// Change is one write of a schedule's row.
type Change struct {
	Tx            int
	Verb          string
	Worker        string
	At            time.Time // the clock in the statement
	Seen          time.Time // the clock when the writer last read it by itself
	Elapsed       time.Duration
	Before, After hourbell.Schedule
}

// row is a schedule as committed, or to be, and who has it locked.
type row struct {
	hourbell.Schedule
	there bool // committed
	owner *transaction
}

// New makes an empty database whose clock stands at an instant.
func New(now time.Time, without Without) *Database {
	handle, err := gorm.Open(nil, &gorm.Config{})
	if err != nil {
		panic(err) // a handle on nothing, which is handed to Enqueuers and used by nobody
	}
	return &Database{
		Without: without, Now: now, schedules: map[string]*row{}, workers: map[string]hourbell.Worker{}, handle: handle,
	}
}

// Advance lets time pass, and ends the transactions that were idle for too long.
func (db *Database) Advance(d time.Duration) {
	db.Now, db.Elapsed = db.Now.Add(d), db.Elapsed+d
	for _, tx := range append([]*transaction{}, db.open...) {
		if !db.Without.IdleLimit && !tx.waits && db.Elapsed-tx.active > tx.limit {
			tx.end()
		}
	}
}

// Schedule reads a row as committed; false if there is none.
func (db *Database) Schedule(id string) (hourbell.Schedule, bool) {
	if r := db.schedules[id]; r != nil && r.there {
		return r.Schedule, true
	}
	return hourbell.Schedule{}, false
}

// Session is a connection to the database. wait is called while another transaction is in the way, until it says that it
// is not; it returns false when that took longer than the limit. Without it nobody waits.
func (db *Database) Session(wait func(blocked func() bool, limit time.Duration) bool) *Session {
	if wait == nil {
		wait = func(func() bool, time.Duration) bool { return false }
	}
	return &Session{db: db, wait: wait}
}
