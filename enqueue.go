package hourbell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/storage"
)

// Trigger says what enqueued a run.
type Trigger string

// The triggers.
const (
	TriggerCron   Trigger = "CRON"   // a slot of a schedule
	TriggerManual Trigger = "MANUAL" // [Scheduler.RunNow]
	TriggerAPI    Trigger = "API"    // EnqueueAll, EnqueueGroup or EnqueueJob
)

// RunStatus is the state of a run.
type RunStatus string

// The run statuses. With an [Enqueuer], runs stay QUEUED.
const (
	RunQueued    RunStatus = "QUEUED"    // waits for a job worker
	RunRunning   RunStatus = "RUNNING"   // a job worker has taken the run, even if its lease has expired
	RunSucceeded RunStatus = "SUCCEEDED" // finished without an error
	RunFailed    RunStatus = "FAILED"    // finished with an error
)

var (
	triggers    = []Trigger{TriggerCron, TriggerManual, TriggerAPI}
	runStatuses = []RunStatus{RunQueued, RunRunning, RunSucceeded, RunFailed}
)

// JobRun is one enqueued job. All times are UTC and by the database clock; the
// zero time means none.
type JobRun struct {
	ID             int64
	Namespace      string
	Job, Group     string // Group is empty for none
	Trigger        Trigger
	ScheduleID     string    // empty for TriggerAPI
	ScheduledFor   time.Time // the slot; zero unless Trigger is TriggerCron
	Ordinal        int       // position among the runs of its fire or call, from 0
	Status         RunStatus
	Args           json.RawMessage // nil for none
	QueuedAt       time.Time       // when the run was inserted
	StartedAt      time.Time       // start of the last attempt
	FinishedAt     time.Time
	LeasedBy       string    // the job worker that took the run last; empty for none
	LeasedUntil    time.Time // after this time, any job worker may take the run
	Attempt        int       // how often the run was taken
	Error          string    // why the run failed; empty for none
	Actor          string    // who asked for the run; empty for TriggerCron
	IdempotencyKey string    // of the call; empty for none
	// Duplicate reports that an earlier call with the same idempotency key
	// enqueued this run. Only RunNow and the enqueue calls set it. It is not
	// stored.
	Duplicate bool
}

// Key identifies the run permanently. An engine that cannot join the
// transaction uses it to drop duplicates.
//
// For a cron run, it is namespace/schedule@slot/job, with the slot in RFC 3339
// and UTC. For another run with an idempotency key, it is namespace#key/job.
// Each time that such a run is enqueued again after a rollback, the key is the
// same. For all other runs, it is namespace#ID, which is new each time.
func (r JobRun) Key() string {
	switch {
	case r.Trigger == TriggerCron:
		return r.Namespace + "/" + r.ScheduleID + "@" + r.ScheduledFor.UTC().Format(time.RFC3339) + "/" + r.Job
	case r.IdempotencyKey != "":
		return r.Namespace + "#" + r.IdempotencyKey + "/" + r.Job
	}
	return r.Namespace + "#" + strconv.FormatInt(r.ID, 10)
}

// Enqueuer passes runs to an engine, such as River, that executes them.
type Enqueuer interface {
	// Enqueue receives runs that were just inserted, and the transaction that
	// inserted them. What it writes through tx commits or rolls back with the
	// runs. It must not change the runs, must not commit or roll back tx, and
	// must not use tx after it has returned. If it returns an error, the
	// transaction rolls back.
	//
	// If the transaction does not commit, the runs of the same slots may be
	// passed again, with the same keys. Calls for different runs may be
	// concurrent, each with its own transaction.
	//
	// ctx ends after 30 s or half of Config.LockTTL, whichever is smaller. It
	// ends earlier if the caller's context does, or soon after that of Run. A
	// call that has not returned by then is abandoned and counts as failed, as
	// does a panic.
	Enqueue(ctx context.Context, tx *gorm.DB, runs []JobRun) error
}

// EnqueueOptions are the options of RunNow and of the enqueue calls. The zero
// value is valid.
type EnqueueOptions struct {
	// Actor is who asks for the runs, and Note is why. An event records both.
	// The runs also record Actor. Default to none.
	Actor, Note string
	// IfMatch is for RunNow only: the [Schedule].ETag that the caller has read.
	// If it has changed since, the call fails with [ErrChanged]. Defaults to no
	// condition.
	IfMatch string
	// IdempotencyKey makes the call repeatable. A second call with the same key
	// and target enqueues nothing and returns the runs of the first, as long as
	// they are kept. With another target, it fails with [ErrKeyReused]. A key
	// has up to 200 printable characters. Defaults to none.
	IdempotencyKey string
	// Args replace the default arguments of every job that the call enqueues:
	// any value that encoding/json accepts, without NUL characters. Defaults to
	// each job's own arguments.
	Args any
	// Tx is an open transaction of the host, which the call joins. If it rolls
	// back, nothing is enqueued. Defaults to a transaction of the call's own.
	Tx *gorm.DB
}

// ErrKeyReused reports that an idempotency key was used before for another
// target.
var ErrKeyReused = errors.New("the idempotency key was used before for another target")

// EnqueueAll enqueues one run of every declared job, and returns the runs in
// the order of declaration. It returns [ErrUnknownTarget] if no job is
// declared, or [ErrKeyReused].
func (s *Scheduler) EnqueueAll(ctx context.Context, options EnqueueOptions) ([]JobRun, error) {
	return s.enqueueTarget(ctx, AllJobs(), nil, options)
}

// EnqueueGroup enqueues one run of every declared job of a group, and returns
// the runs in the order of declaration. It returns [ErrUnknownTarget] if no job
// is in the group, or [ErrKeyReused].
func (s *Scheduler) EnqueueGroup(ctx context.Context, group string, options EnqueueOptions) ([]JobRun, error) {
	return s.enqueueTarget(ctx, Group(group), nil, options)
}

// EnqueueJob enqueues one run of a declared job, and returns it as the only
// element. It returns [ErrUnknownTarget] if the job is not declared, or
// [ErrKeyReused].
func (s *Scheduler) EnqueueJob(ctx context.Context, name string, options EnqueueOptions) ([]JobRun, error) {
	return s.enqueueTarget(ctx, Jobs(name), nil, options)
}

// RunNow enqueues the jobs that a stored schedule targets, whether it is
// enabled or not, and returns the runs in the order of the target. It does not
// change the schedule: the next slot fires as planned.
//
// It returns [ErrUnknownSchedule] if the schedule is not stored, and
// [ErrUnknownTarget] if this process does not declare the target. It returns
// [ErrChanged] or [ErrKeyReused] as described at [EnqueueOptions].
func (s *Scheduler) RunNow(ctx context.Context, id string, options EnqueueOptions) ([]JobRun, error) {
	row, err := s.readRow(ctx, s.storeFor(options.Tx), id)
	if err != nil {
		return nil, err
	}
	target, err := storedTarget(row)
	if err != nil {
		return nil, err
	}
	return s.enqueueTarget(ctx, target, row, options)
}

// storeFor returns the store inside the host's transaction, if there is one.
func (s *Scheduler) storeFor(tx *gorm.DB) Store {
	if tx == nil {
		return s.store
	}
	return s.store.WithTx(tx)
}

// enqueueTarget enqueues the jobs of a target. row is the schedule of RunNow,
// and nil for the other calls.
func (s *Scheduler) enqueueTarget(ctx context.Context, target Target, row *storage.Schedule, options EnqueueOptions) ([]JobRun, error) {
	scheduleID := ""
	if row != nil {
		scheduleID = row.ID
	}
	requested, err := s.requestedRuns(target, scheduleID, options)
	if err != nil {
		return nil, fmt.Errorf("hourbell: enqueue: %w", err)
	}
	timeout := s.cfg.fireTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var runs []JobRun
	err = s.storeFor(options.Tx).Transaction(ctx, timeout, func(st Store, tx *gorm.DB) error {
		var err error
		if runs, err = duplicates(ctx, st, options.IdempotencyKey, requested); err != nil || runs != nil {
			return err
		}
		if row != nil {
			if err := checkMatch(row, options.IfMatch); err != nil {
				return err
			}
		}
		if runs, err = s.enqueue(ctx, st, tx, requested); err != nil {
			return err
		}
		if len(runs) != len(requested) { // the key has runs that duplicates did not find
			return fmt.Errorf("%w: %q", ErrKeyReused, options.IdempotencyKey)
		}
		if scheduleID == "" && options.Actor == "" && options.Note == "" {
			return nil
		}
		return st.InsertEvents(ctx, []Event{{
			ScheduleID: scheduleID, Kind: EventRunNow, Actor: options.Actor, Note: options.Note,
			Detail: fmt.Sprintf("%d runs of %s", len(runs), target),
		}})
	})
	if err != nil {
		return nil, fmt.Errorf("hourbell: enqueue: %w", err)
	}
	return runs, nil
}

// requestedRuns returns the runs that a call is to insert, one for each job of
// the target.
func (s *Scheduler) requestedRuns(target Target, scheduleID string, options EnqueueOptions) ([]JobRun, error) {
	if options.IdempotencyKey != "" {
		if err := checkName(options.IdempotencyKey); err != nil {
			return nil, fmt.Errorf("idempotency key %w", err)
		}
	}
	jobs, err := s.catalog.resolve(target)
	if err != nil {
		return nil, err
	}
	args, err := marshalArgs(options.Args)
	if err != nil {
		return nil, err
	}
	trigger := TriggerAPI
	if scheduleID != "" {
		trigger = TriggerManual
	}
	runs := make([]JobRun, len(jobs))
	for i, job := range jobs {
		if args != nil {
			job.Args = args
		}
		runs[i] = s.newRun(job, i, trigger, scheduleID)
		runs[i].Actor, runs[i].IdempotencyKey = options.Actor, options.IdempotencyKey
	}
	return runs, nil
}

// newRun returns a queued run of a job, to be inserted. It is the only
// constructor of such runs.
func (s *Scheduler) newRun(job storage.JobSpec, ordinal int, trigger Trigger, scheduleID string) JobRun {
	return JobRun{
		Namespace: s.cfg.Namespace, Job: job.Name, Group: job.Group, Args: job.Args,
		Trigger: trigger, ScheduleID: scheduleID, Ordinal: ordinal, Status: RunQueued,
	}
}

// duplicates returns the runs of an earlier call with the same idempotency key,
// or nil if there was none. It returns an error if that call had another
// target.
func duplicates(ctx context.Context, st Store, key string, requested []JobRun) ([]JobRun, error) {
	if key == "" {
		return nil, nil
	}
	runs, err := st.RunsByIdempotencyKey(ctx, key)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	sameTarget := slices.EqualFunc(runs, requested, func(a, b JobRun) bool {
		return a.Job == b.Job && a.ScheduleID == b.ScheduleID
	})
	if !sameTarget {
		return nil, fmt.Errorf("%w: %q", ErrKeyReused, key)
	}
	for i := range runs {
		runs[i].Duplicate = true
	}
	return runs, nil
}

// enqueue inserts the runs of fires, or of one call. It is the only code that
// does, for the claim path and for all calls (rule E1). It inserts the first
// run of each schedule. If that was new, it inserts the schedule's other runs.
// It passes what it has inserted to the Enqueuer, and returns it.
func (s *Scheduler) enqueue(ctx context.Context, st Store, tx *gorm.DB, runs []JobRun) ([]JobRun, error) {
	isFirst := func(run JobRun) bool { return run.Ordinal == 0 }
	firstRuns := runs
	if slices.ContainsFunc(runs, func(run JobRun) bool { return !isFirst(run) }) {
		firstRuns = slices.DeleteFunc(slices.Clone(runs), func(run JobRun) bool { return !isFirst(run) })
	}
	inserted, err := st.InsertRuns(ctx, firstRuns)
	if err != nil {
		return nil, err
	}
	if len(firstRuns) < len(runs) && len(inserted) > 0 {
		isNew := make(map[string]bool, len(inserted)) // by schedule; "" for a call without one
		for i := range inserted {
			isNew[inserted[i].ScheduleID] = true
		}
		others := slices.DeleteFunc(slices.Clone(runs), func(run JobRun) bool { return isFirst(run) || !isNew[run.ScheduleID] })
		more, err := st.InsertRuns(ctx, others)
		if err != nil {
			return nil, err
		}
		inserted = append(inserted, more...)
	}
	if s.cfg.Enqueuer == nil || len(inserted) == 0 {
		return inserted, nil
	}
	return inserted, s.callEnqueuer(ctx, tx, inserted)
}

// errEnqueuerTimeout reports that the Enqueuer did not return in time.
var errEnqueuerTimeout = errors.New("the Enqueuer did not return by its deadline and was abandoned")

// callEnqueuer calls the Enqueuer in a goroutine of its own, so that it can
// stop waiting when ctx ends. It returns a panic as an error.
func (s *Scheduler) callEnqueuer(ctx context.Context, tx *gorm.DB, runs []JobRun) error {
	done := make(chan error, 1)
	// An abandoned call may still use its handle while the transaction is
	// rolled back, so it gets a handle of its own.
	handle := tx.WithContext(ctx)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				done <- fmt.Errorf("the Enqueuer panicked: %v", reason)
			}
		}()
		done <- s.cfg.Enqueuer.Enqueue(ctx, handle, runs)
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errEnqueuerTimeout, err)
		}
		return err
	case <-ctx.Done():
		return errEnqueuerTimeout
	}
}
