package hourbell_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// These tests send single heartbeats and run single sweeps, which Run does on
// timers. All other tests of a Scheduler are in test/contract.

// noon is a slot of the hourly schedules of newSyncedScheduler.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newSyncedScheduler returns a Scheduler with n enabled schedules, s0, s1 and
// so on. Each has one job and is due at every full hour. Their definitions are
// stored.
func newSyncedScheduler(t *testing.T, db *gorm.DB, n int, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	cfg.Jobs, cfg.Logger = []hourbell.Job{{Name: "import"}}, slog.New(slog.DiscardHandler)
	for i := range n {
		cfg.Definitions = append(cfg.Definitions, hourbell.Definition{
			ID: fmt.Sprintf("s%d", i), Cron: "0 * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true,
		})
	}
	s, err := hourbell.New(store.New(db), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Sync(t.Context()))
	return s
}

// tick calls Tick, which must succeed.
func tick(t *testing.T, s *hourbell.Scheduler) hourbell.TickReport {
	t.Helper()
	report, err := s.Tick(t.Context())
	require.NoError(t, err)
	return report
}

// readWorkers reads all workers.
func readWorkers(t *testing.T, s *hourbell.Scheduler) []hourbell.Worker {
	t.Helper()
	workers, err := s.Workers(t.Context())
	require.NoError(t, err)
	return workers
}

// O4: a heartbeat inserts the worker's row again if it was deleted.
func TestHeartbeatRestoresDeletedWorker(t *testing.T) {
	db := dbtest.Postgres(t)
	now := testclock.New(noon)
	s := newSyncedScheduler(t, db.DB, 1, hourbell.Config{Now: now.Now})
	require.NoError(t, hourbell.SendHeartbeat(t.Context(), s))
	before := readWorkers(t, s)
	require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
	require.NoError(t, hourbell.SendHeartbeat(t.Context(), s))
	require.Equal(t, before, readWorkers(t, s))
}

// O4: a heartbeat shows that the process is alive. It does not change
// LastTickAt, which shows that the loop makes progress.
func TestHeartbeatDoesNotUpdateLastTick(t *testing.T) {
	now := testclock.New(noon.Add(-time.Minute))
	s := newSyncedScheduler(t, dbtest.Postgres(t).DB, 1, hourbell.Config{Now: now.Now})
	tick(t, s)
	require.NoError(t, hourbell.SendHeartbeat(t.Context(), s))
	now.Advance(20 * time.Second)
	require.NoError(t, hourbell.SendHeartbeat(t.Context(), s))
	w := readWorkers(t, s)[0]
	require.Equal(t, noon.Add(-time.Minute), w.LastTickAt)
	require.Equal(t, noon.Add(-40*time.Second), w.HeartbeatAt)
	require.Equal(t, noon.Add(-time.Minute), w.StartedAt)
}

// D5: a schedule that is missing from code is kept for 14 days and then purged.
func TestSweepPurgesRemovedScheduleAfter14Days(t *testing.T) {
	db := dbtest.Postgres(t)
	now := testclock.New(noon)
	newSyncedScheduler(t, db.DB, 2, hourbell.Config{Now: now.Now})
	s := newSyncedScheduler(t, db.DB, 1, hourbell.Config{Now: now.Now})

	now.Advance(14 * 24 * time.Hour)
	_, err := hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	removed, err := s.Schedule(t.Context(), "s1")
	require.NoError(t, err)
	require.Equal(t, noon, removed.RemovedAt)

	now.Advance(time.Second)
	_, err = hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	_, err = s.Schedule(t.Context(), "s1")
	require.ErrorIs(t, err, hourbell.ErrUnknownSchedule)
	_, err = s.Schedule(t.Context(), "s0")
	require.NoError(t, err)
}

// Finished runs and events are purged after Config.Retention. Unfinished runs
// are kept.
func TestSweepPurgesFinishedRunsAndEvents(t *testing.T) {
	now := testclock.New(noon.Add(-time.Minute))
	s := newSyncedScheduler(t, dbtest.Postgres(t).DB, 3, hourbell.Config{Now: now.Now, Retention: time.Hour})
	now.Set(noon)
	tick(t, s)
	runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 2})
	require.NoError(t, err)
	for _, run := range runs {
		require.NoError(t, s.FinishRun(t.Context(), run, nil))
	}

	now.Advance(time.Hour + time.Second)
	deleted, err := hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	require.EqualValues(t, 2+3, deleted, "two runs, and an event for each definition")
	left, err := s.Runs(t.Context(), hourbell.RunQuery{})
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// With an Enqueuer, runs are purged by the time at which they were queued,
// because hourbell never learns that they are finished.
func TestSweepPurgesRunsOfEnqueuerByAge(t *testing.T) {
	now := testclock.New(noon.Add(-time.Minute))
	s := newSyncedScheduler(t, dbtest.Postgres(t).DB, 1, hourbell.Config{Now: now.Now, Retention: time.Hour, Enqueuer: noopEnqueuer{}})
	now.Set(noon)
	require.Equal(t, 1, tick(t, s).Fired)
	now.Advance(time.Hour + time.Second)
	_, err := hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	runs, err := s.Runs(t.Context(), hourbell.RunQuery{})
	require.NoError(t, err)
	require.Empty(t, runs)
}

// noopEnqueuer succeeds without doing anything.
type noopEnqueuer struct{}

func (noopEnqueuer) Enqueue(context.Context, *gorm.DB, []hourbell.JobRun) error { return nil }

// O4: the row of a worker that has been dead for 24 hours is purged.
func TestSweepPurgesDeadWorkerAfterOneDay(t *testing.T) {
	now := testclock.New(noon)
	s := newSyncedScheduler(t, dbtest.Postgres(t).DB, 0, hourbell.Config{Now: now.Now})
	require.NoError(t, hourbell.SendHeartbeat(t.Context(), s))
	now.Advance(24 * time.Hour)
	_, err := hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	require.Len(t, readWorkers(t, s), 1)

	now.Advance(time.Second)
	_, err = hourbell.SweepOnce(t.Context(), s)
	require.NoError(t, err)
	require.Empty(t, readWorkers(t, s))
}
