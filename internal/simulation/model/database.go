// Package model implements [hourbell.Store] in memory. It follows the contract
// of package store as Postgres executes it, including row locks and
// transactions. The caller moves the database clock. Each mechanism that makes
// a slot fire exactly once can be omitted. The tests of test/simulation compare
// the model with the real stores.
//
// A Database is not safe for concurrent use: goroutines that share one must
// take turns.
package model

import (
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// Omissions lists the mechanisms that a Database leaves out.
type Omissions struct {
	Fence            bool // Advance, Release and RecordFailures accept lost claims
	UniqueIndex      bool // the runs of a slot can be inserted twice
	UnfinishedClaims bool // unfinished_since is never stored
	Settling         bool // an update keeps version, lock and unfinished claim, and its skips are not recorded
	CompareAndSet    bool // an update applies to any version, and after its Until
	IdleTimeout      bool // idle transactions are never ended
	StatementClock   bool // a claim uses the time of the request, not that of the statement
	DefinitionHash   bool // a row fires whatever its definition hash
}

// Database holds the tables, the clock and the open transactions.
type Database struct {
	Omit    Omissions
	Now     time.Time     // the database clock; callers may step it
	Elapsed time.Duration // the time that really passed, to which limits apply
	Runs    []Run
	Events  []Event
	Log     []Change // committed writes of schedules, in order of commit

	schedules map[string]*row
	workers   map[string]hourbell.Worker
	open      []*transaction
	nextTx    int
	nextID    int64
	handle    *gorm.DB
}

// Run is a run with the transaction that inserted it.
type Run struct {
	hourbell.JobRun
	Tx          int
	RequestHash string // of the call; empty without an idempotency key
}

// Event is an event with the transaction that inserted it.
type Event struct {
	hourbell.Event
	Tx int
}

// Change is one committed write of a schedule.
type Change struct {
	Tx            int
	Operation     string        // such as "claim"
	Process       string        // Session.Process
	Worker        string        // the claiming worker; "" if there is none
	At            time.Time     // the database time of the write
	ReadAt        time.Time     // the result of the session's last call of Now
	Elapsed       time.Duration // Database.Elapsed at the write
	Before, After storage.Schedule
}

// row is a schedule as last committed, with its row lock.
type row struct {
	storage.Schedule
	committed bool         // false while the inserting transaction is open
	owner     *transaction // the transaction that holds the row lock, or nil
}

// New returns an empty database whose clock shows now.
func New(now time.Time, omit Omissions) *Database {
	handle, err := gorm.Open(nil, &gorm.Config{})
	if err != nil {
		panic(err) // a handle without a dialect opens no connection
	}
	return &Database{
		Omit: omit, Now: now, schedules: map[string]*row{}, workers: map[string]hourbell.Worker{}, handle: handle,
	}
}

// AdvanceClock moves the clock forward by d. It ends the transactions that have
// then been idle for longer than their limit.
func (db *Database) AdvanceClock(d time.Duration) {
	db.Now, db.Elapsed = db.Now.Add(d), db.Elapsed+d
	for _, tx := range append([]*transaction{}, db.open...) {
		if !db.Omit.IdleTimeout && !tx.waiting && db.Elapsed-tx.lastActive > tx.limit {
			tx.end()
		}
	}
}

// Schedule returns a committed row. It returns false if there is none.
func (db *Database) Schedule(id string) (storage.Schedule, bool) {
	if r := db.schedules[id]; r != nil && r.committed {
		return r.Schedule, true
	}
	return storage.Schedule{}, false
}

// WaitFunc waits until blocked returns false. It returns false if that takes
// longer than limit.
type WaitFunc func(blocked func() bool, limit time.Duration) bool

// Session opens a connection to the database. The session calls wait when
// another transaction blocks it. With a nil wait it fails instead, with
// [hourbell.ErrBusy].
func (db *Database) Session(wait WaitFunc) *Session {
	if wait == nil {
		wait = func(func() bool, time.Duration) bool { return false }
	}
	return &Session{db: db, wait: wait}
}
