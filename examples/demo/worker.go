package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hourbell/hourbell"
)

// worker is a job worker: it takes runs from hourbell's table and executes
// them one at a time. A backend with real load passes its runs to a job queue
// instead: see hourbell.Enqueuer.
type worker struct {
	scheduler *hourbell.Scheduler
	log       *slog.Logger
	name      string
	lease     time.Duration // of each run, unless it is extended
	execute   func(context.Context, hourbell.JobRun) error
}

func newWorker(scheduler *hourbell.Scheduler, log *slog.Logger) *worker {
	host, _ := os.Hostname()
	return &worker{scheduler, log, fmt.Sprintf("%s:%d", host, os.Getpid()), 30 * time.Second, execute}
}

// work takes and executes runs until ctx ends.
func (w *worker) work(ctx context.Context) {
	for ctx.Err() == nil {
		pause := 250 * time.Millisecond
		runs, err := w.take(ctx)
		if err != nil {
			w.log.Error("taking runs failed", "error", err)
			pause = 2 * time.Second
		}
		for _, run := range runs {
			w.process(ctx, run)
		}
		if len(runs) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

func (w *worker) take(ctx context.Context) ([]hourbell.JobRun, error) {
	ctx, cancel := callContext(ctx)
	defer cancel()
	return w.scheduler.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: w.name, Lease: w.lease})
}

// process executes a run and extends its lease until the run ends.
func (w *worker) process(ctx context.Context, run hourbell.JobRun) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.execute(ctx, run) }()
	ticker := time.NewTicker(w.lease / 3)
	defer ticker.Stop()
	for {
		select {
		case failure := <-done:
			w.finish(ctx, run, failure)
			return
		case <-ticker.C:
			if errors.Is(w.extend(ctx, run), hourbell.ErrLeaseLost) {
				cancel() // another worker has taken the run
			}
		}
	}
}

// finish records the result of a run. It releases a run that ctx interrupted,
// by shortening its lease, so that another worker can take it at once.
func (w *worker) finish(ctx context.Context, run hourbell.JobRun, failure error) {
	interrupted := failure != nil && ctx.Err() != nil
	ctx, cancel := callContext(ctx)
	defer cancel()
	var err error
	if interrupted {
		err = w.scheduler.ExtendRun(ctx, run, time.Millisecond)
	} else {
		err = w.scheduler.FinishRun(ctx, run, failure)
	}
	switch {
	case err != nil:
		w.log.Error("finishing run failed", "job", run.Job, "error", err)
	case interrupted:
		w.log.Info("released", "job", run.Job)
	default:
		w.log.Info("executed", logFields(run, failure)...)
	}
}

func (w *worker) extend(ctx context.Context, run hourbell.JobRun) error {
	ctx, cancel := callContext(ctx)
	defer cancel()
	return w.scheduler.ExtendRun(ctx, run, w.lease)
}

// callContext is the context of one database call. It outlasts the worker's
// context, so that the result of a call is not lost when the worker stops.
func callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
}

// logFields describes an executed run. The field late is the time from the
// slot to the enqueueing.
func logFields(run hourbell.JobRun, failure error) []any {
	fields := []any{"job", run.Job, "trigger", run.Trigger}
	if !run.ScheduledFor.IsZero() {
		fields = append(fields, "slot", run.ScheduledFor.Format(time.RFC3339),
			"late", run.QueuedAt.Sub(run.ScheduledFor).Round(time.Millisecond))
	}
	if failure != nil {
		fields = append(fields, "error", failure)
	}
	return fields
}
