package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

var worker = hourbell.Worker{
	ID: "w1", Namespace: "test", WorkerType: "schedule_daemon", Hostname: "host-1", PID: 4711, Version: "v1.2.3",
	BuildTime: noon.Add(-24 * time.Hour), DefinitionsHash: "h", LastTickAt: noon.Add(-time.Second), ClockSkew: -1500 * time.Microsecond,
}

// O4: heartbeats say that the process lives.
func TestAHeartbeatWritesTheWorker(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		at, err := s.Heartbeat(t.Context(), worker)
		require.NoError(t, err)
		require.Equal(t, noon, at)
		want := worker
		want.StartedAt, want.HeartbeatAt = noon, noon
		require.Equal(t, []hourbell.Worker{want}, workers(t, s))

		c.Advance(10 * time.Second)
		next := worker
		next.StartedAt, next.LastTickAt, next.ClockSkew, next.Hostname = noon, noon, time.Hour, "of no account"
		at, err = s.Heartbeat(t.Context(), next)
		require.NoError(t, err)
		require.Equal(t, c.Now(), at)
		want.HeartbeatAt, want.LastTickAt, want.ClockSkew = c.Now(), noon, time.Hour
		require.Equal(t, []hourbell.Worker{want}, workers(t, s))
	})
}

func workers(t testing.TB, s hourbell.Store) []hourbell.Worker {
	t.Helper()
	list, err := s.Workers(t.Context())
	require.NoError(t, err)
	return list
}

// O4: a heartbeat that finds no row inserts it again, with the start it began with.
func TestAHeartbeatInsertsTheWorkerAgain(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		started, err := s.Heartbeat(t.Context(), worker)
		require.NoError(t, err)
		require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
		c.Advance(time.Hour)
		again := worker
		again.StartedAt = started
		at, err := s.Heartbeat(t.Context(), again)
		require.NoError(t, err)
		again.HeartbeatAt = at
		require.Equal(t, []hourbell.Worker{again}, workers(t, s))
	})
}

// L5: what a stopped worker holds is free at once.
func TestAStoppedWorkerIsMarkedSo(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		require.NoError(t, second(s.Heartbeat(t.Context(), worker)))
		c.Advance(time.Second)
		require.NoError(t, s.StopWorker(t.Context(), "nobody"))
		require.Zero(t, workers(t, s)[0].StoppedAt)
		require.NoError(t, s.StopWorker(t.Context(), "w1"))
		require.Equal(t, c.Now(), workers(t, s)[0].StoppedAt)
	})
}

func TestWorkersAreListedLatestStartFirst(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		for _, id := range []string{"c", "a", "b"} {
			beat(t, s, id)
			c.Advance(time.Second)
		}
		var ids []string
		for _, w := range workers(t, s) {
			ids = append(ids, w.ID)
		}
		require.Equal(t, []string{"b", "a", "c"}, ids)
	})
}
