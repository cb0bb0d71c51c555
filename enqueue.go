package hourbell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// JobRun is one enqueued job. Instants are UTC; a zero instant is none.
type JobRun struct {
	ID           int64
	Namespace    string
	Job, Group   string
	Trigger      string    // CRON, MANUAL (RunNow) or API (the enqueue calls)
	ScheduleID   string    // empty for API
	ScheduledFor time.Time // the slot; none unless Trigger is CRON
	Ordinal      int       // place in its fire or call, from 0
	Status       string    // QUEUED, RUNNING, SUCCEEDED or FAILED
	Args         json.RawMessage
	QueuedAt     time.Time
	StartedAt    time.Time
	FinishedAt   time.Time
	WorkerID     string    // who took it
	LeasedUntil  time.Time // after this anybody may take it again
	Attempt      int       // how often it was taken
	Error        string
	Actor        string
	RequestKey   string
	// Repeated says, in the answer to a call with a key, that an earlier call with that key had enqueued the run. It is
	// not stored.
	Repeated bool
}

// The triggers and statuses, as stored.
const (
	triggerCron   = "CRON"
	triggerManual = "MANUAL"
	triggerAPI    = "API"

	statusQueued    = "QUEUED"
	statusRunning   = "RUNNING"
	statusSucceeded = "SUCCEEDED"
	statusFailed    = "FAILED"
)

// Key names a run for ever, in whatever attempt or transaction it is handed over: namespace/schedule@slot/job for a
// slot. Engines that cannot join the transaction drop duplicates by it.
func (r JobRun) Key() string {
	switch {
	case r.Trigger == triggerCron:
		return r.Namespace + "/" + r.ScheduleID + "@" + r.ScheduledFor.UTC().Format(time.RFC3339) + "/" + r.Job
	case r.RequestKey != "":
		return r.Namespace + "#" + r.RequestKey + "/" + r.Job
	}
	return r.Namespace + "#" + strconv.FormatInt(r.ID, 10)
}

// Enqueuer hands runs to whatever executes them.
type Enqueuer interface {
	// Enqueue gets runs that were just inserted, in the transaction that inserted them. What it writes through tx
	// commits or rolls back together with them. It must not commit or roll back tx, nor keep it. The same runs may
	// come again, under the same keys, when the transaction did not commit. Calls for different runs come side by side, each
	// with a transaction of its own. ctx ends at the fire's deadline; a call that outlives it is abandoned and counts as failed.
	Enqueue(ctx context.Context, tx Tx, runs []JobRun) error
}

// EnqueueOptions are the ways to enqueue a job by hand.
type EnqueueOptions struct {
	By
	// Tx is an open transaction of the host's to join: rolled back means never enqueued. Defaults to one of its own.
	Tx Tx
	// Key makes the request repeatable: the same key enqueues nothing new and returns the same runs, for as long as
	// these are kept. Up to 200 characters. Defaults to none.
	Key string
	// Args replace the jobs' default arguments. Defaults to them.
	Args any
}

// EnqueueAll enqueues every declared job once.
func (s *Scheduler) EnqueueAll(ctx context.Context, options EnqueueOptions) ([]JobRun, error) {
	return s.request(ctx, AllJobs(), Schedule{}, options)
}

// EnqueueGroup enqueues every declared job of a group once, or returns [ErrUnknownGroup].
func (s *Scheduler) EnqueueGroup(ctx context.Context, group string, options EnqueueOptions) ([]JobRun, error) {
	return s.request(ctx, Group(group), Schedule{}, options)
}

// EnqueueJob enqueues one declared job, or returns [ErrUnknownJob].
func (s *Scheduler) EnqueueJob(ctx context.Context, name string, options EnqueueOptions) ([]JobRun, error) {
	return s.request(ctx, Jobs(name), Schedule{}, options)
}

// RunNow enqueues what a stored schedule targets, now, whether it is enabled or not. It changes nothing of the
// schedule: the next slot fires as ever.
func (s *Scheduler) RunNow(ctx context.Context, id string, options EnqueueOptions) ([]JobRun, error) {
	st := s.store
	if options.Tx != nil {
		st = st.Within(options.Tx)
	}
	rows, err := st.Schedules(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("hourbell: %w: %q", ErrUnknownSchedule, id)
	}
	target, err := storedTarget(rows[0])
	if err != nil {
		return nil, err
	}
	return s.request(ctx, target, rows[0], options)
}

// ErrKeyReused says that a request key was used before for something else.
var ErrKeyReused = errors.New("the request key was used before for another target")

// request enqueues a target by hand, for a schedule or for none.
func (s *Scheduler) request(ctx context.Context, target Target, schedule Schedule, options EnqueueOptions) ([]JobRun, error) {
	runs, err := s.requested(target, schedule.ID, options)
	if err != nil {
		return nil, fmt.Errorf("hourbell: enqueue: %w", err)
	}
	st := s.store
	if options.Tx != nil {
		st = st.Within(options.Tx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.fireDeadline())
	defer cancel()
	var answer []JobRun
	err = st.Transaction(ctx, s.fireDeadline(), func(st Store, tx Tx) error {
		var err error
		if answer, err = repeated(ctx, st, options.Key, runs); err != nil || answer != nil {
			return err
		}
		if err := options.unchanged(schedule); err != nil {
			return err
		}
		if answer, err = s.enqueue(ctx, st, tx, runs); err != nil {
			return err
		}
		if len(answer) != len(runs) {
			return fmt.Errorf("%w: %q", ErrKeyReused, options.Key)
		}
		if schedule.ID == "" && options.By == (By{}) {
			return nil
		}
		return st.InsertEvents(ctx, []Event{{
			ScheduleID: schedule.ID, Kind: eventRunNow, Actor: options.Actor, Note: options.Note,
			Detail: fmt.Sprintf("%d runs of %s", len(runs), target),
		}})
	})
	if err != nil {
		return nil, fmt.Errorf("hourbell: enqueue: %w", err)
	}
	return answer, nil
}

// requested lists the runs that a request asks for.
func (s *Scheduler) requested(target Target, scheduleID string, options EnqueueOptions) ([]JobRun, error) {
	if len(options.Key) > 0 {
		if err := checkName(options.Key); err != nil {
			return nil, fmt.Errorf("key %w", err)
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
	trigger := triggerAPI
	if scheduleID != "" {
		trigger = triggerManual
	}
	runs := make([]JobRun, len(jobs))
	for i, j := range jobs {
		runs[i] = JobRun{
			Namespace: s.cfg.Namespace, Job: j.Name, Group: j.Group, Trigger: trigger, ScheduleID: scheduleID,
			Ordinal: i, Status: statusQueued, Args: j.Args, Actor: options.Actor, RequestKey: options.Key,
		}
		if args != nil {
			runs[i].Args = args
		}
	}
	return runs, nil
}

// repeated returns the runs of an earlier request with the same key, nil when there was none, and an error when that
// request was for something else.
func repeated(ctx context.Context, st Store, key string, wanted []JobRun) ([]JobRun, error) {
	if key == "" {
		return nil, nil
	}
	earlier, err := st.RunsByKey(ctx, key)
	if err != nil || len(earlier) == 0 {
		return nil, err
	}
	same := len(earlier) == len(wanted)
	for i := 0; same && i < len(wanted); i++ {
		same = earlier[i].Job == wanted[i].Job && earlier[i].ScheduleID == wanted[i].ScheduleID
	}
	if !same {
		return nil, fmt.Errorf("%w: %q", ErrKeyReused, key)
	}
	for i := range earlier {
		earlier[i].Repeated = true
	}
	return earlier, nil
}

// enqueue is the one path on which runs come into being, for the loop and for every other call (rule E1): the first
// run of each fire, then the others of those fires whose first was not there yet, then the Enqueuer. It returns the
// runs inserted.
func (s *Scheduler) enqueue(ctx context.Context, st Store, tx Tx, runs []JobRun) ([]JobRun, error) {
	heads := runs
	if slices.ContainsFunc(runs, follows) {
		heads = slices.DeleteFunc(slices.Clone(runs), follows)
	}
	inserted, err := st.InsertRuns(ctx, heads)
	if err != nil {
		return nil, err
	}
	if len(heads) < len(runs) && len(inserted) > 0 {
		fresh := make(map[string]bool, len(inserted))
		for i := range inserted {
			fresh[inserted[i].ScheduleID] = true
		}
		others := slices.DeleteFunc(slices.Clone(runs), func(run JobRun) bool { return !follows(run) || !fresh[run.ScheduleID] })
		more, err := st.InsertRuns(ctx, others)
		if err != nil {
			return nil, err
		}
		inserted = append(inserted, more...)
	}
	if s.cfg.Enqueuer == nil || len(inserted) == 0 {
		return inserted, nil
	}
	return inserted, s.hand(ctx, tx, inserted)
}

// follows says that a run is not the first of its fire or call.
func follows(run JobRun) bool { return run.Ordinal > 0 }

// errEnqueuerLate says that the Enqueuer did not return in time.
var errEnqueuerLate = errors.New("the Enqueuer has not returned by its deadline and was abandoned")

// hand calls the Enqueuer. A panic is a failure, and so is a call that outlives its deadline.
func (s *Scheduler) hand(ctx context.Context, tx Tx, runs []JobRun) error {
	done := make(chan error, 1)
	own := tx.WithContext(ctx) // not shared with who rolls back while an abandoned call goes on
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				done <- fmt.Errorf("the Enqueuer panicked: %v", reason)
			}
		}()
		done <- s.cfg.Enqueuer.Enqueue(ctx, own, runs)
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errEnqueuerLate, err)
		}
		return err
	case <-ctx.Done():
		return errEnqueuerLate
	}
}
