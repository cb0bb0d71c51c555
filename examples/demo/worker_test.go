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

// newBlockingWorker returns a worker whose jobs wait for the end of their
// context, and enqueues one run. The channel receives each run that starts.
func newBlockingWorker(t *testing.T, lease time.Duration) (w *worker, started <-chan hourbell.JobRun) {
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

// takeAs waits until the run is available and takes it as another worker.
func takeAs(t *testing.T, w *worker, name string) (taken hourbell.JobRun) {
	t.Helper()
	await(t, "the run is available", func() bool {
		runs, err := w.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: name})
		require.NoError(t, err)
		for _, run := range runs {
			taken = run
		}
		return len(runs) == 1
	})
	return taken
}

// E7: a worker that stops releases its run at once, long before the lease ends.
func TestStoppedWorkerReleasesItsRun(t *testing.T) {
	t.Parallel()
	w, started := newBlockingWorker(t, time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.work(ctx); close(ended) }()
	run := <-started
	stop()
	<-ended
	retaken := takeAs(t, w, "second")
	require.Equal(t, run.ID, retaken.ID)
	require.Equal(t, 2, retaken.Attempt)
}

// E7: a worker extends the lease of its run, and cancels the job when the
// lease is lost.
func TestWorkerExtendsLeaseAndCancelsLostRun(t *testing.T) {
	t.Parallel()
	w, started := newBlockingWorker(t, 300*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.work(ctx); close(ended) }()
	defer func() { stop(); <-ended }()
	run := <-started

	await(t, "the lease is extended beyond its length", func() bool {
		runs, err := w.scheduler.Runs(t.Context(), hourbell.RunQuery{})
		require.NoError(t, err)
		return runs[0].LeasedUntil.Sub(run.LeasedUntil) > w.lease
	})

	// Finishing the run elsewhere ends its lease. The worker then takes the
	// next run.
	require.NoError(t, w.scheduler.FinishRun(t.Context(), run, nil))
	_, err := w.scheduler.EnqueueJob(t.Context(), "report-stock", hourbell.EnqueueOptions{})
	require.NoError(t, err)
	require.Equal(t, "report-stock", (<-started).Job)
}
