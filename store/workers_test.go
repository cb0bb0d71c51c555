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
		beat, err := s.Heartbeat(t.Context(), worker, dead)
		require.NoError(t, err)
		require.Equal(t, hourbell.Beat{At: noon}, beat)
		want := worker
		want.StartedAt, want.HeartbeatAt = noon, noon
		require.Equal(t, []hourbell.Worker{want}, workers(t, s))

		c.Advance(10 * time.Second)
		next := worker
		next.StartedAt, next.LastTickAt, next.ClockSkew, next.Hostname = noon, noon, time.Hour, "of no account"
		beat, err = s.Heartbeat(t.Context(), next, dead)
		require.NoError(t, err)
		require.Equal(t, hourbell.Beat{At: c.Now()}, beat)
		want.HeartbeatAt, want.LastTickAt, want.ClockSkew = c.Now(), noon, time.Hour
		require.Equal(t, []hourbell.Worker{want}, workers(t, s))
	})
}

// D7: a heartbeat says whether another worker lives whose definitions are not this one's.
func TestAHeartbeatSaysWhetherAnotherBuildLives(t *testing.T) {
	other := func(change func(*hourbell.Worker)) hourbell.Worker {
		w := worker
		w.ID, w.DefinitionsHash = "w2", "another"
		change(&w)
		return w
	}
	for name, c := range map[string]struct {
		other  hourbell.Worker
		after  time.Duration
		stop   bool
		rivals bool
	}{
		"lives":                {other(func(*hourbell.Worker) {}), dead, false, true},
		"is silent":            {other(func(*hourbell.Worker) {}), dead + time.Microsecond, false, false},
		"lives in the future":  {other(func(*hourbell.Worker) {}), -dead, false, true},
		"is silent, in future": {other(func(*hourbell.Worker) {}), -dead - time.Microsecond, false, false},
		"has stopped":          {other(func(*hourbell.Worker) {}), 0, true, false},
		"declares the same":    {other(func(w *hourbell.Worker) { w.DefinitionsHash = "h" }), 0, false, false},
		"is itself":            {other(func(w *hourbell.Worker) { w.ID = "w1" }), 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, clock *clock) {
				require.NoError(t, second(s.Heartbeat(t.Context(), c.other, dead)))
				if c.stop {
					require.NoError(t, s.StopWorker(t.Context(), c.other.ID))
				}
				clock.Advance(c.after)
				beat, err := s.Heartbeat(t.Context(), worker, dead)
				require.NoError(t, err)
				require.Equal(t, c.rivals, beat.Rivals)
			})
		})
	}
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
		first, err := s.Heartbeat(t.Context(), worker, dead)
		require.NoError(t, err)
		require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
		c.Advance(time.Hour)
		again := worker
		again.StartedAt = first.At
		beat, err := s.Heartbeat(t.Context(), again, dead)
		require.NoError(t, err)
		again.HeartbeatAt = beat.At
		require.Equal(t, []hourbell.Worker{again}, workers(t, s))
	})
}

// L5: what a stopped worker holds is free at once.
func TestAStoppedWorkerIsMarkedSo(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		require.NoError(t, second(s.Heartbeat(t.Context(), worker, dead)))
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
