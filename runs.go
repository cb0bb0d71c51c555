package hourbell

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// TakeRequest asks for runs to execute.
type TakeRequest struct {
	// LeasedBy is the host's name for the job worker, unique among those that
	// are running. It is required.
	LeasedBy string
	// Limit is the number of runs to take, 1 to 1,000. Defaults to 1.
	Limit int
	// Lease is how long the runs are reserved for the job worker. It must not
	// be negative. Defaults to 5 min.
	Lease time.Duration
	// Jobs are the names of the jobs to take. Defaults to all.
	Jobs []string
}

// ErrLeaseLost reports that a job worker no longer holds a run. Either its
// lease has expired and the run was taken again, or the run is finished.
var ErrLeaseLost = errors.New("the run is no longer leased by this job worker")

// TakeRuns leases queued runs, and runs with an expired lease, to a job worker,
// oldest first. It sets them to RUNNING and increments their attempt. It
// returns fewer runs than Limit, or none, if no more are available. It is for
// hosts without an [Enqueuer].
func (s *Scheduler) TakeRuns(ctx context.Context, request TakeRequest) ([]JobRun, error) {
	if request.Limit == 0 {
		request.Limit = 1
	}
	if request.Lease == 0 {
		request.Lease = 5 * time.Minute
	}
	switch {
	case request.LeasedBy == "":
		return nil, errors.New("hourbell: take runs: LeasedBy is empty")
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

// ExtendRun changes the lease of a run that [Scheduler.TakeRuns] returned. From
// now on, it lasts for the time lease, which must be positive. A very short
// lease makes the run available to other job workers. ExtendRun returns
// [ErrLeaseLost] if the job worker no longer holds the run.
func (s *Scheduler) ExtendRun(ctx context.Context, run JobRun, lease time.Duration) error {
	if lease <= 0 {
		return fmt.Errorf("hourbell: extend run %d: lease %v is not positive", run.ID, lease)
	}
	held, err := s.store.ExtendRun(ctx, run, lease)
	return leaseError("extend", run, held, err)
}

// FinishRun finishes a run that [Scheduler.TakeRuns] returned. If failure is
// nil, the run is SUCCEEDED. Otherwise it is FAILED, with the first 2,000 bytes
// of the error. FinishRun returns [ErrLeaseLost] if the job worker no longer
// holds the run.
func (s *Scheduler) FinishRun(ctx context.Context, run JobRun, failure error) error {
	status, message := RunSucceeded, ""
	if failure != nil {
		status, message = RunFailed, truncate(failure.Error())
	}
	held, err := s.store.FinishRun(ctx, run, status, message)
	return leaseError("finish", run, held, err)
}

// leaseError returns the error of a call that changes a leased run, if any.
func leaseError(verb string, run JobRun, held bool, err error) error {
	if err == nil && !held {
		err = ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("hourbell: %s run %d: %w", verb, run.ID, err)
	}
	return nil
}
