package hourbell

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"gorm.io/gorm"
)

// Tx is the transaction handed to an [Enqueuer] and taken by the enqueue calls: a gorm handle bound to one
// transaction of the host's database.
type Tx = *gorm.DB

var (
	// ErrNotMigrated says that hourbell's tables are missing from the database, or older than this version needs.
	ErrNotMigrated = errors.New("the database is not migrated for hourbell: call store.Migrate, or apply the files of store.Migrations")
	// ErrUnavailable says that the database could not be reached or did not answer in time. The call may have taken
	// effect all the same when it was cut off at its commit.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrBusy says that another transaction held a row for too long, or kept changing it; try again.
	ErrBusy = errors.New("the schedule is busy: another transaction holds it")
)

// Store is what the core asks of a database: one verb, one SQL statement. The package store implements it for
// Postgres and SQLite; hosts pass it to [New] and call nothing of it.
//
// Every verb is confined to the namespace given to Bind and reads the clock given there inside its own statement.
// Errors match [ErrNotMigrated], [ErrUnavailable] or [ErrBusy] where they are of that kind. Serialization failures
// and deadlocks are retried inside.
type Store interface {
	// Bind returns the same store for one namespace and one clock. A nil clock is the database's own. It fails on a
	// database that the store cannot work on.
	Bind(namespace string, clock func() time.Time) (Store, error)
	// Within returns the same store with its verbs inside the host's open transaction.
	Within(tx Tx) Store
	// Transaction runs fn in one READ COMMITTED transaction (a savepoint when the store is Within one). limit bounds
	// each statement, each wait for a lock and each idle moment in the server too. fn may be called again after a
	// serialization failure.
	Transaction(ctx context.Context, limit time.Duration, fn func(Store, Tx) error) error

	// Ready returns ErrNotMigrated unless the tables are those this version needs.
	Ready(ctx context.Context) error
	// Now is the clock that judges: the one given to Bind, or the database's.
	Now(ctx context.Context) (time.Time, error)

	// Schedules reads the schedules with these ids, or all of them without ids, by id, removed ones included.
	Schedules(ctx context.Context, ids ...string) ([]Schedule, error)
	// DefinitionHashes reads the hashes of all definitions stored and not removed, in no order.
	DefinitionHashes(ctx context.Context) ([]string, error)
	// ListSchedules reads a page of schedules with its counts. The query's Sort and Limit are set.
	ListSchedules(ctx context.Context, query ScheduleQuery) (SchedulePage, error)
	// Insert adds schedules and returns the ids of those that were not there yet and whose Until the clock has not
	// reached.
	Insert(ctx context.Context, rows []Revision) ([]string, error)
	// Revise writes schedules over and returns the ids of those that were still as they had been read.
	Revise(ctx context.Context, revisions []Revision) ([]string, error)

	// OneByOne says that the database has one writer at a time, so that several side by side are no faster.
	// Such a store has no FireOnTime.
	OneByOne() bool
	// Claim locks due schedules for a worker, earliest slot first.
	Claim(ctx context.Context, request ClaimRequest) (Claims, error)
	// FireOnTime fires schedules that need no claim, in one statement: the slot is their latest, has come and is within
	// its grace, the definition is the one given, and nobody is at the row, has failed on it or owes it a run. The
	// others it leaves alone. It fails, and fires none, where a slot has its runs already.
	FireOnTime(ctx context.Context, request FireRequest) (Fired, error)
	// Advance settles claimed schedules and clears their locks; it returns the ids of those whose claim still held.
	Advance(ctx context.Context, worker string, settlements []Settlement) ([]string, error)
	// GiveBack clears the locks of claims that still hold; debts stay.
	GiveBack(ctx context.Context, worker string, claims []Claim) error
	// Hold records failures: it clears the locks of claims that still hold and keeps the rows back for a while. It
	// returns the ids of those rows.
	Hold(ctx context.Context, worker string, failures []Failure) ([]string, error)
	// Unlock clears a schedule's lock whoever holds it, and returns the holder ("" for none).
	Unlock(ctx context.Context, id string) (holder string, err error)

	// InsertRuns adds runs and returns them with their ids, leaving out those that a unique index already has.
	InsertRuns(ctx context.Context, runs []JobRun) ([]JobRun, error)
	// RunsByKey reads the runs of a request key, having made every other caller with that key wait for this
	// transaction's end.
	RunsByKey(ctx context.Context, key string) ([]JobRun, error)
	// Runs reads runs, newest first.
	Runs(ctx context.Context, query RunQuery) ([]JobRun, error)
	// Outcomes reads the newest outcomes of each of some schedules, newest first.
	Outcomes(ctx context.Context, query OutcomeQuery) ([]Outcome, error)
	// Tallies counts the runs, at most limit, of each of the fires with these first runs.
	Tallies(ctx context.Context, firstRuns []int64, limit int) (map[int64]Tally, error)
	// TakeRuns leases queued runs, and runs whose lease has ended, to a host's worker, oldest first.
	TakeRuns(ctx context.Context, request TakeRequest) ([]JobRun, error)
	// ExtendRun and FinishRun change a run that the worker still has at that attempt; false means it has not.
	ExtendRun(ctx context.Context, run JobRun, lease time.Duration) (bool, error)
	FinishRun(ctx context.Context, run JobRun, status, message string) (bool, error)

	// InsertEvents adds events, at the clock's now.
	InsertEvents(ctx context.Context, events []Event) error
	// Events reads events, newest first.
	Events(ctx context.Context, query EventQuery) ([]Event, error)

	// Heartbeat writes a worker's row, inserting it where it is missing. A worker silent for longer than dead is dead.
	Heartbeat(ctx context.Context, worker Worker, dead time.Duration) (Beat, error)
	// StopWorker marks a worker stopped, so that whatever it still holds is free at once.
	StopWorker(ctx context.Context, id string) error
	// Workers reads the workers, latest start first.
	Workers(ctx context.Context) ([]Worker, error)

	// Purge deletes at most limit rows of each kind that have outlived their keep, and returns how many it deleted.
	Purge(ctx context.Context, keep Keep, limit int) (int64, error)
	// Health reads what stands still: see [Health]. A worker silent for longer than dead is dead.
	Health(ctx context.Context, dead time.Duration) (Health, error)
}

// Revision is a schedule to be added, or written over what was read. Over a row it applies only where token and
// definition hash are still those read. In either case, when Until is set, it applies only while the clock has not
// reached it: the first instant at which what was computed from the reading would be stale.
type Revision struct {
	Schedule // the values to write; LockToken is the token read
	ReadHash string
	// Settles writes what the loop owns too: next_run_at, settled_until and removed_at, with lock, debt and back-off
	// cleared and the token grown. Without it only what code owns is written.
	Settles bool
	Until   time.Time
}

// ClaimRequest asks for due schedules.
type ClaimRequest struct {
	Worker  string
	Limit   int
	LockTTL time.Duration
	MaxHold time.Duration // a back-off that lies further ahead than this is expired
	Dead    time.Duration // a worker silent for longer is dead; zero judges nobody
	// Underway is since when what the worker has locked itself is not to be claimed again, for it is at it in another lane. Zero
	// for never: whatever it still holds was left behind.
	Underway time.Time
	Except   []string // "id hash" of rows this process cannot fire
	// Fairly takes those that fired longest ago, and before them those that never did, where more are due than Limit.
	Fairly bool
}

// Claims is the answer to a ClaimRequest.
type Claims struct {
	// At is the clock's instant in the claiming statement. It alone judges the rows.
	At   time.Time
	Rows []Claim
	// Wake is the earliest instant at which another claim can find something: a slot, the end of a back-off, the end
	// of a lease. Only set when there are no rows; zero when nothing is to come.
	Wake time.Time
	// Busy says that rows are due which another worker holds: it may give them back any moment. Only set when there are no rows.
	Busy bool
}

// Claim is a schedule locked by this worker, with what it takes to decide and to settle it.
type Claim struct {
	ID, DefinitionHash string
	At                 time.Time // the clock's instant in the claiming statement
	NextRunAt          time.Time
	LockToken          int64
	OwedSince          time.Time // when its debt was opened, now or before
	Failures           int
	HeldBy             string // the holder from whom it was taken over, "" when it was free
	Lapsed             bool   // an earlier debt had lapsed
}

// FireRequest asks to fire slots on time.
type FireRequest struct {
	Fires []Fire // one at least
	// Lane is taken until the fires are committed, and who finds it taken fires nothing: of all workers of the namespace one at a
	// time is in a lane. Zero is a lane with room for all.
	Lane int
	// Ask for what a claim with the same Except would find after it.
	Ask    bool
	Except []string // as in a ClaimRequest
}

// Fire is a slot that is to fire on time.
type Fire struct {
	ScheduleID, DefinitionHash string
	Slot, Next                 time.Time // the latest slot, and the first after it
	Jobs                       []FireJob // one at least
}

// FireJob is a job to enqueue.
type FireJob struct {
	Name, Group string
	Args        json.RawMessage // nil for none
}

// Fired is what came of a batch of fires.
type Fired struct {
	At    time.Time // the clock's instant that judged
	Slots int       // that fired
	Runs  int       // inserted
	// Overtaken says that the first and the last of these slots had been dealt with before, so that the others were not looked at.
	Overtaken bool
	// Refused says that another worker was in the lane.
	Refused bool
	// Idle says that it was asked for and that nothing is due after it, held by others or not. Wake is what a claim would answer
	// then; only set where Idle is.
	Idle bool
	Wake time.Time
}

// Settlement moves one claimed schedule forward.
type Settlement struct {
	Claim
	Fired   time.Time // the slot that fires; zero when none does
	Through time.Time // the last slot fired or recorded as skipped
	Next    time.Time
}

// Failure keeps one claimed schedule back.
type Failure struct {
	Claim
	Error string
	For   time.Duration // from the clock's now
	Until time.Time     // at the latest: the schedule's next slot
	Owed  time.Time     // when the debt was opened; zero for none
}

// Beat is the answer to a heartbeat.
type Beat struct {
	At     time.Time // the instant written
	Rivals bool      // whether another worker lives whose definitions are not this one's
}

// Keep says how long rows are kept, by kind.
type Keep struct {
	Runs, Events, Removed, Workers time.Duration
	Unfinished                     bool // delete runs that were never finished too, by the time they were queued
}
