package hourbell

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RunQuery selects runs. Its zero value selects the newest 100 of all.
type RunQuery struct {
	ID                                      int64  // one run; zero: any
	ScheduleID, Job, Group, Status, Trigger string // empty: any

	Before int64 // only those with a smaller id: the last one of the page before
	Limit  int   // 1 to 1,000. Defaults to 100.
}

// Runs lists runs, newest first. The error is a [*QueryError] where the query is at fault.
func (s *Scheduler) Runs(ctx context.Context, query RunQuery) ([]JobRun, error) {
	err := errors.Join(checkLimit(&query.Limit),
		oneOf("Status", query.Status, statusQueued, statusRunning, statusSucceeded, statusFailed),
		oneOf("Trigger", query.Trigger, triggerCron, triggerManual, triggerAPI))
	if err != nil {
		return nil, err
	}
	return s.store.Runs(ctx, query)
}

// TakeRequest asks for runs to execute.
type TakeRequest struct {
	Worker string        // the host's name for whoever executes them
	Limit  int           // 1 to 1,000. Defaults to 1.
	Lease  time.Duration // how long before they may be taken again. Defaults to 5 min.
	Jobs   []string      // only these. Defaults to all.
}

// ErrLeaseLost says that a run is no longer the worker's: its lease ended and another took it, or it is finished.
var ErrLeaseLost = errors.New("the run is no longer this worker's")

// TakeRuns leases queued runs, oldest first, and runs whose lease has ended. A run taken is RUNNING and has its
// attempt counted. It is for hosts without an Enqueuer.
func (s *Scheduler) TakeRuns(ctx context.Context, request TakeRequest) ([]JobRun, error) {
	if request.Limit == 0 {
		request.Limit = 1
	}
	if request.Lease == 0 {
		request.Lease = 5 * time.Minute
	}
	switch {
	case request.Worker == "":
		return nil, errors.New("hourbell: take runs: Worker is empty")
	case request.Limit < 1 || request.Limit > 1000:
		return nil, fmt.Errorf("hourbell: take runs: Limit %d is not in 1-1000", request.Limit)
	case request.Lease < 0:
		return nil, fmt.Errorf("hourbell: take runs: Lease %v is negative", request.Lease)
	}
	runs, err := s.store.TakeRuns(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("hourbell: take runs: %w", err)
	}
	return runs, nil
}

// ExtendRun makes the lease of a run that [Scheduler.TakeRuns] returned end a lease from now, or returns [ErrLeaseLost].
// A lease of a millisecond gives the run back.
func (s *Scheduler) ExtendRun(ctx context.Context, run JobRun, lease time.Duration) error {
	if lease <= 0 {
		return fmt.Errorf("hourbell: extend run %d: lease %v is not positive", run.ID, lease)
	}
	held, err := s.store.ExtendRun(ctx, run, lease)
	return leaseError("extend", run, held, err)
}

// FinishRun ends a run that [Scheduler.TakeRuns] returned, as SUCCEEDED, or as FAILED with the first 2,000 bytes of
// what failure says, or returns [ErrLeaseLost].
func (s *Scheduler) FinishRun(ctx context.Context, run JobRun, failure error) error {
	status, message := statusSucceeded, ""
	if failure != nil {
		status, message = statusFailed, shortened(failure.Error())
	}
	held, err := s.store.FinishRun(ctx, run, status, message)
	return leaseError("finish", run, held, err)
}

func leaseError(verb string, run JobRun, held bool, err error) error {
	if err == nil && !held {
		err = ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("hourbell: %s run %d: %w", verb, run.ID, err)
	}
	return nil
}
