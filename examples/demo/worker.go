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

// worker takes runs from hourbell's table and executes them, one at a time. A backend with real load hands them to an
// engine instead: see hourbell.Enqueuer.
type worker struct {
	scheduler *hourbell.Scheduler
	log       *slog.Logger
	name      string
	lease     time.Duration // how long a run stays this worker's without a word from it
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
			w.log.Error("runs could not be taken", "error", err)
			pause = 2 * time.Second
		}
		for _, run := range runs {
			w.do(ctx, run)
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
	ctx, cancel := brief(ctx)
	defer cancel()
	return w.scheduler.TakeRuns(ctx, hourbell.TakeRequest{Worker: w.name, Lease: w.lease})
}

// do executes a run and extends its lease for as long as that takes.
func (w *worker) do(ctx context.Context, run hourbell.JobRun) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.execute(ctx, run) }()
	extend := time.NewTicker(w.lease / 3)
	defer extend.Stop()
	for {
		select {
		case failure := <-done:
			w.finish(ctx, run, failure)
			return
		case <-extend.C:
			if errors.Is(w.extend(ctx, run), hourbell.ErrLeaseLost) {
				cancel() // another worker has it
			}
		}
	}
}

// finish records what became of a run. One that was broken off is given back, by a lease that ends at once.
func (w *worker) finish(ctx context.Context, run hourbell.JobRun, failure error) {
	brokenOff := failure != nil && ctx.Err() != nil
	ctx, cancel := brief(ctx)
	defer cancel()
	var err error
	if brokenOff {
		err = w.scheduler.ExtendRun(ctx, run, time.Millisecond)
	} else {
		err = w.scheduler.FinishRun(ctx, run, failure)
	}
	switch {
	case err != nil:
		w.log.Error("run is lost to another worker, or will be", "job", run.Job, "error", err)
	case brokenOff:
		w.log.Info("given back", "job", run.Job)
	default:
		w.log.Info("executed", report(run, failure)...)
	}
}

func (w *worker) extend(ctx context.Context, run hourbell.JobRun) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	return w.scheduler.ExtendRun(ctx, run, w.lease)
}

// brief is the context of one call to the database. It does not end with the worker's, so that no answer is lost.
func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
}

// report describes an executed run. Late is how long after its slot it was enqueued.
func report(run hourbell.JobRun, failure error) []any {
	fields := []any{"job", run.Job, "trigger", run.Trigger}
	if !run.ScheduledFor.IsZero() {
		fields = append(fields, "slot", run.ScheduledFor.Format(time.RFC3339), "late", run.QueuedAt.Sub(run.ScheduledFor).Round(time.Millisecond))
	}
	if failure != nil {
		fields = append(fields, "error", failure)
	}
	return fields
}
