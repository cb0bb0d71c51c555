package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

var testWorker = hourbell.Worker{
	ID: "w1", Namespace: "test", WorkerType: "schedule_daemon", Hostname: "host-1", PID: 4711, Version: "v1.2.3",
	BuildTime: noon.Add(-24 * time.Hour), DefinitionsHash: "h", LastTickAt: noon.Add(-time.Second), ClockSkew: -1500 * time.Microsecond,
}

func listWorkers(t testing.TB, s hourbell.Store) []hourbell.Worker {
	t.Helper()
	list, err := s.Workers(t.Context(), deadAfter)
	require.NoError(t, err)
	return list
}

// O4: A heartbeat writes the row of its worker.
func TestHeartbeatWritesWorker(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		result, err := s.Heartbeat(t.Context(), testWorker, deadAfter)
		require.NoError(t, err)
		require.Equal(t, storage.HeartbeatResult{At: noon}, result)
		want := testWorker
		want.StartedAt, want.HeartbeatAt, want.Active = noon, noon, true
		require.Equal(t, []hourbell.Worker{want}, listWorkers(t, s))

		c.Advance(10 * time.Second)
		next := testWorker
		next.StartedAt, next.LastTickAt, next.ClockSkew, next.Hostname = noon, noon, time.Hour, "ignored"
		result, err = s.Heartbeat(t.Context(), next, deadAfter)
		require.NoError(t, err)
		require.Equal(t, storage.HeartbeatResult{At: c.Now()}, result)
		want.HeartbeatAt, want.LastTickAt, want.ClockSkew = c.Now(), noon, time.Hour
		require.Equal(t, []hourbell.Worker{want}, listWorkers(t, s))
	})
}

// D7: A heartbeat reports whether an active worker has other definitions.
func TestHeartbeatReportsOtherActiveBuild(t *testing.T) {
	other := func(change func(*hourbell.Worker)) hourbell.Worker {
		w := testWorker
		w.ID, w.DefinitionsHash = "w2", "another"
		change(&w)
		return w
	}
	for name, c := range map[string]struct {
		other            hourbell.Worker
		after            time.Duration
		stop             bool
		otherBuildActive bool
	}{
		"active":                       {other(func(*hourbell.Worker) {}), deadAfter, false, true},
		"missed its heartbeats":        {other(func(*hourbell.Worker) {}), deadAfter + time.Microsecond, false, false},
		"heartbeat slightly in future": {other(func(*hourbell.Worker) {}), -deadAfter, false, true},
		"heartbeat far in future":      {other(func(*hourbell.Worker) {}), -deadAfter - time.Microsecond, false, false},
		"stopped":                      {other(func(*hourbell.Worker) {}), 0, true, false},
		"same definitions":             {other(func(w *hourbell.Worker) { w.DefinitionsHash = "h" }), 0, false, false},
		"same worker":                  {other(func(w *hourbell.Worker) { w.ID = "w1" }), 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, clock *testClock) {
				require.NoError(t, errOf(s.Heartbeat(t.Context(), c.other, deadAfter)))
				if c.stop {
					require.NoError(t, s.StopWorker(t.Context(), c.other.ID))
				}
				clock.Advance(c.after)
				result, err := s.Heartbeat(t.Context(), testWorker, deadAfter)
				require.NoError(t, err)
				require.Equal(t, c.otherBuildActive, result.OtherBuildActive)
			})
		})
	}
}

// O4: A heartbeat inserts a missing row again, with the original start time.
func TestHeartbeatReinsertsWorker(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		first, err := s.Heartbeat(t.Context(), testWorker, deadAfter)
		require.NoError(t, err)
		require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
		c.Advance(time.Hour)
		again := testWorker
		again.StartedAt = first.At
		result, err := s.Heartbeat(t.Context(), again, deadAfter)
		require.NoError(t, err)
		again.HeartbeatAt, again.Active = result.At, true
		require.Equal(t, []hourbell.Worker{again}, listWorkers(t, s))
	})
}

// L5: A stopped worker is marked, so that its locks are free at once.
func TestStopWorkerMarksWorkerStopped(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		require.NoError(t, errOf(s.Heartbeat(t.Context(), testWorker, deadAfter)))
		c.Advance(time.Second)
		require.NoError(t, s.StopWorker(t.Context(), "unknown"))
		require.Zero(t, listWorkers(t, s)[0].StoppedAt)
		require.True(t, listWorkers(t, s)[0].Active)
		require.NoError(t, s.StopWorker(t.Context(), "w1"))
		require.Equal(t, c.Now(), listWorkers(t, s)[0].StoppedAt)
		require.False(t, listWorkers(t, s)[0].Active)
	})
}

// L2, T5: A worker is active while its heartbeat and the clock differ by at
// most DeadAfter.
func TestWorkersReportActive(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		sendHeartbeat(t, s, "w1")
		for offset, active := range map[time.Duration]bool{
			-deadAfter - time.Microsecond: false, -deadAfter: true, 0: true, deadAfter: true, deadAfter + time.Microsecond: false,
		} {
			c.Set(noon.Add(offset))
			require.Equal(t, active, listWorkers(t, s)[0].Active, "%v", offset)
		}
	})
}

func TestWorkersSortByLatestStart(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		for _, id := range []string{"c", "a", "b"} {
			sendHeartbeat(t, s, id)
			c.Advance(time.Second)
		}
		var ids []string
		for _, w := range listWorkers(t, s) {
			ids = append(ids, w.ID)
		}
		require.Equal(t, []string{"b", "a", "c"}, ids)
	})
}
