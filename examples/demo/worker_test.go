package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// blocking is a worker whose job waits for its context, and a run for it.
func blocking(t *testing.T, lease time.Duration) (w *worker, began <-chan hourbell.JobRun) {
	t.Helper()
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: jobs})
	require.NoError(t, err)
	_, err = scheduler.EnqueueJob(t.Context(), "sync-stock", hourbell.EnqueueOptions{})
	require.NoError(t, err)
	runs := make(chan hourbell.JobRun, 1)
	return &worker{scheduler, slog.New(slog.DiscardHandler), "first", lease, func(ctx context.Context, run hourbell.JobRun) error {
		runs <- run
		<-ctx.Done()
		return ctx.Err()
	}}, runs
}

// takeAs takes the one run as another worker, as soon as that can be.
func takeAs(t *testing.T, w *worker, name string) (taken hourbell.JobRun) {
	t.Helper()
	await(t, "the run to be free", func() bool {
		runs, err := w.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: name})
		require.NoError(t, err)
		for _, run := range runs {
			taken = run
		}
		return len(runs) == 1
	})
	return taken
}

// E7: a worker that is told to stop gives its run back at once, long before its lease would have ended.
func TestStoppedWorkerGivesItsRunBack(t *testing.T) {
	t.Parallel()
	w, began := blocking(t, time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.work(ctx); close(ended) }()
	run := <-began
	stop()
	<-ended
	again := takeAs(t, w, "second")
	require.Equal(t, run.ID, again.ID)
	require.Equal(t, 2, again.Attempt)
}

// E7: a worker extends the lease of what it executes, and breaks off once the run is no longer its own.
func TestWorkerExtendsItsLeaseAndBreaksOffWhenTheRunIsNoLongerIts(t *testing.T) {
	t.Parallel()
	w, began := blocking(t, 300*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.work(ctx); close(ended) }()
	defer func() { stop(); <-ended }()
	run := <-began

	await(t, "the lease to be extended beyond its length", func() bool {
		runs, err := w.scheduler.Runs(t.Context(), hourbell.RunQuery{})
		require.NoError(t, err)
		return runs[0].LeasedUntil.Sub(run.LeasedUntil) > w.lease
	})

	// Whatever ends the run for somebody else ends it here too; the worker is then free for the next.
	require.NoError(t, w.scheduler.FinishRun(t.Context(), run, nil))
	_, err := w.scheduler.EnqueueJob(t.Context(), "report-stock", hourbell.EnqueueOptions{})
	require.NoError(t, err)
	require.Equal(t, "report-stock", (<-began).Job)
}
