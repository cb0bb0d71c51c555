package hourbell

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/storage"
)

var (
	// ErrNotMigrated reports that hourbell's tables are missing from the
	// database, or are older than this version needs. Any method of [Scheduler]
	// that uses the database may return it, like the two errors below.
	ErrNotMigrated = errors.New("the database is not migrated for hourbell: call store.Migrate, or apply the files of store.Migrations")
	// ErrUnavailable reports that the database could not be reached, refused
	// the login, or did not respond before a deadline. It also reports that the
	// whole database is read-only, full or damaged, or that a sequence is
	// behind the ids of its table.
	//
	// If the caller cancels its context, the error matches context.Canceled
	// instead. A call that ended during its commit may have taken effect.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrBusy reports that other transactions locked a row for too long, or
	// kept changing it. The caller may retry.
	ErrBusy = errors.New("the schedule is busy: another transaction holds it")
)

// Store is the database in which hourbell keeps its state; package store
// implements it. Hosts pass it to New and call none of its methods,
// which may change in any release.
type Store = database

// database lists the operations that hourbell needs. On Postgres, each is one
// SQL statement, unless its comment says otherwise.
//
// A bound database sees one namespace. Each statement reads the clock itself.
// Errors match [ErrNotMigrated], [ErrUnavailable] or [ErrBusy] if they are of
// that kind. Serialization failures and deadlocks are retried, except inside
// the host's transaction.
type database interface {
	// Bind returns the database for one namespace and one clock; a nil clock is
	// the database's own. It sends no statement, and fails for an unsupported
	// driver.
	Bind(namespace string, clock func() time.Time) (Store, error)
	// WithTx returns the same database inside the host's open transaction.
	WithTx(tx *gorm.DB) Store
	// Transaction runs fn in one READ COMMITTED transaction, or in a savepoint
	// of the transaction given to WithTx. fn may be called again after a
	// serialization failure or deadlock.
	//
	// In a transaction of its own on Postgres, the server ends each statement
	// and each idle period after limit, and each wait for a lock after half of
	// it.
	Transaction(ctx context.Context, limit time.Duration, fn func(Store, *gorm.DB) error) error

	// CheckMigrated returns ErrNotMigrated unless all migrations of this
	// version were applied. It returns another error if a setting prevents
	// hourbell from working. It sends a few statements.
	CheckMigrated(ctx context.Context) error
	// Now returns the database time, or that of the clock given to Bind.
	Now(ctx context.Context) (time.Time, error)

	// Schedules returns the schedules with these ids, or all schedules if there
	// are no ids. They are ordered by id and include removed schedules.
	Schedules(ctx context.Context, ids ...string) ([]storage.Schedule, error)
	// Stored returns the number and the combined digest of the schedules that
	// are not removed.
	Stored(ctx context.Context) (storage.Stored, error)
	// LatestEvents returns, for each schedule and kind, the latest event. It
	// does not consider former ids. Its order is not defined.
	LatestEvents(ctx context.Context, ids []string, kinds []EventKind) ([]Event, error)
	// ListSchedules returns a page of schedules with counts, in two statements.
	// The query is valid, and its Sort and Limit are set.
	ListSchedules(ctx context.Context, query ScheduleQuery) (storage.SchedulePage, error)
	// InsertSchedules inserts schedules and returns the ids of those that were
	// not stored yet. If some were, it sends a second statement. UpdatedAt is
	// the database time unless it is set.
	InsertSchedules(ctx context.Context, rows []storage.ScheduleUpdate) ([]string, error)
	// UpdateSchedules updates the schedules that are unchanged since they were
	// read, and returns their ids.
	UpdateSchedules(ctx context.Context, updates []storage.ScheduleUpdate) ([]string, error)

	// SingleWriter reports that the database has one writer at a time, so that
	// concurrent connections gain nothing. FireOnTime is then unsupported.
	SingleWriter() bool
	// Claim locks due schedules for a worker. The claims are ordered by slot,
	// then by id.
	Claim(ctx context.Context, request storage.ClaimRequest) (storage.ClaimResult, error)
	// FireOnTime claims, advances and enqueues the slots that need no separate
	// claim, and leaves other rows alone. The row must be enabled, unlocked,
	// without failures or an unfinished claim, and must have the given
	// definition. The slot must be due, the latest, and within grace. If a slot
	// already has its runs, FireOnTime fires nothing and returns an error.
	FireOnTime(ctx context.Context, request storage.FireRequest) (storage.FireResult, error)
	// Advance settles claimed schedules and clears their locks. It returns the
	// ids of those whose claim and definition were still valid, and whose last
	// slot the clock has reached.
	Advance(ctx context.Context, worker string, rows []storage.Advance) ([]string, error)
	// Release clears the locks of claims that are still valid. Unfinished
	// claims remain.
	Release(ctx context.Context, worker string, claims []storage.Claim) error
	// RecordFailures clears the locks of claims that are still valid and sets
	// their retry time. It returns the ids of those rows.
	RecordFailures(ctx context.Context, worker string, failures []storage.Failure) ([]string, error)
	// Unlock clears a schedule's lock and returns its holder, or "" if it was
	// not locked. It sends two statements.
	Unlock(ctx context.Context, id string) (holder string, err error)

	// InsertRuns inserts runs and returns them with their ids. It leaves out
	// runs that a unique index already has. If there are any, it may send a
	// second statement. requestHash is stored with runs that have an
	// idempotency key.
	InsertRuns(ctx context.Context, runs []JobRun, requestHash string) ([]JobRun, error)
	// RunsByIdempotencyKey returns the runs of a key that are still stored,
	// ordered by ordinal, and the hash of their request. Until the transaction
	// ends, other calls with that key wait. It sends two statements.
	RunsByIdempotencyKey(ctx context.Context, key string) (runs []JobRun, requestHash string, err error)
	// Runs returns runs, newest first.
	Runs(ctx context.Context, query RunQuery) ([]JobRun, error)
	// Outcomes returns the newest outcomes of each schedule, newest first.
	// There may be more of a schedule than the query's Limit.
	Outcomes(ctx context.Context, query storage.OutcomeQuery) ([]Outcome, error)
	// Tallies counts the runs of fires and of RunNow calls, up to limit for
	// each. The result is by the id of the first run.
	Tallies(ctx context.Context, firstRuns []int64, limit int) (map[int64]Tally, error)
	// TakeRuns leases queued runs, and runs with an expired lease, oldest
	// first.
	TakeRuns(ctx context.Context, request TakeRequest) ([]JobRun, error)
	// ExtendRun and FinishRun change a run if its status is RUNNING, and its
	// job worker and attempt are still those given. They return false
	// otherwise.
	ExtendRun(ctx context.Context, run JobRun, lease time.Duration) (bool, error)
	FinishRun(ctx context.Context, run JobRun, status RunStatus, message string) (bool, error)

	// InsertEvents inserts events with the database time.
	InsertEvents(ctx context.Context, events []Event) error
	// Events returns events, newest first.
	Events(ctx context.Context, query EventQuery) ([]Event, error)

	// Heartbeat writes a worker's row, and inserts it if it is missing. A
	// worker without StartedAt starts now, even if it had stopped before. A
	// worker is dead if its heartbeat differs from the database time by more
	// than deadAfter.
	Heartbeat(ctx context.Context, worker Worker, deadAfter time.Duration) (storage.HeartbeatResult, error)
	// StopWorker marks a worker stopped, so that its locks expire at once.
	StopWorker(ctx context.Context, id string) error
	// Workers returns the workers with Active set, latest start first.
	Workers(ctx context.Context, deadAfter time.Duration) ([]Worker, error)

	// Purge deletes the rows that are past their retention, in batches of up to
	// limit rows. It sends two statements for each batch, and more to isolate
	// rows that the database refuses to delete.
	Purge(ctx context.Context, retention storage.Retention, limit int) (storage.PurgeResult, error)
	// Health returns the state of loops and schedules, in two statements at
	// most.
	Health(ctx context.Context, deadAfter time.Duration) (storage.Health, error)
}
