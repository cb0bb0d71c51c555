package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

func readHealth(t testing.TB, s hourbell.Store) storage.Health {
	t.Helper()
	h, err := s.Health(t.Context(), deadAfter)
	require.NoError(t, err)
	return h
}

func TestHealthOfEmptyDatabase(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		require.Equal(t, storage.Health{At: noon}, readHealth(t, s))
	})
}

func TestHealthListsOverdueSchedules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		disabled := scheduleDueAt("disabled", noon.Add(-time.Hour))
		disabled.Enabled = false
		longGrace := scheduleDueAt("long grace", noon.Add(-time.Hour))
		longGrace.Grace = 2 * time.Hour
		insertSchedules(t, s, scheduleDueAt("late", noon.Add(-time.Minute)), scheduleDueAt("later", noon.Add(-deadAfter)), scheduleDueAt("due", noon), disabled, longGrace,
			scheduleDueAt("removed", noon.Add(-time.Hour)), scheduleDueAt("next", noon.Add(time.Hour)))
		setColumn(t, db, "removed", "removed_at", noon)
		c.Set(noon.Add(time.Minute)) // the end of the grace of "late"
		require.Zero(t, readHealth(t, s).Overdue)

		c.Set(noon.Add(2 * time.Minute))
		h := readHealth(t, s)
		require.Equal(t, 2, h.Overdue)
		require.Equal(t, noon.Add(-time.Minute), h.OldestDue)
		late, later := readSchedule(t, s, "late"), readSchedule(t, s, "later")
		late.ReadAt, later.ReadAt = c.Now(), c.Now()
		require.Equal(t, []storage.Schedule{late, later}, h.Late)
	})
}

func TestHealthListsAtMostHundredSchedules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		for i := range 120 {
			insertSchedules(t, s, scheduleDueAt(numberedID(i), noon.Add(-time.Duration(i)*time.Second)))
		}
		c.Advance(time.Hour)
		h := readHealth(t, s)
		require.Equal(t, 120, h.Overdue)
		require.Len(t, h.Late, 100)
		require.Equal(t, numberedID(119), h.Late[0].ID)
	})
}

// T1: Health shows the largest clock skew of the active workers.
func TestHealthReportsMaxSkewOfActiveWorkers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		sendSkew := func(id string, skew time.Duration) {
			require.NoError(t, errOf(s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", ClockSkew: skew}, deadAfter)))
		}
		sendSkew("dead", time.Hour)
		c.Advance(deadAfter + time.Microsecond)
		sendSkew("stopped", time.Hour)
		require.NoError(t, s.StopWorker(t.Context(), "stopped"))
		require.Zero(t, readHealth(t, s).Workers)
		require.Zero(t, readHealth(t, s).MaxSkew)
		sendSkew("ahead", time.Second)
		sendSkew("behind", -2500*time.Millisecond)
		c.Advance(deadAfter) // the last moment at which the heartbeats count
		h := readHealth(t, s)
		require.Equal(t, 2, h.Workers)
		require.Equal(t, 2500*time.Millisecond, h.MaxSkew)
		require.Zero(t, h.NewestTick) // the workers have not ticked
	})
}

func TestHealthReportsNewestTickOfActiveWorkers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		sendTick := func(id string, at time.Time) {
			require.NoError(t, errOf(s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", LastTickAt: at}, deadAfter)))
		}
		sendTick("dead", noon.Add(time.Hour))
		c.Advance(deadAfter + time.Microsecond)
		sendTick("a", noon.Add(time.Second))
		sendTick("b", noon)
		require.Equal(t, noon.Add(time.Second), readHealth(t, s).NewestTick)
	})
}

// T5: Health shows by how much the clock was stepped back.
func TestHealthReportsClockBehind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		require.True(t, advanceOne(t, s, "w1", claimOne(t, s, "w1")))
		require.Zero(t, readHealth(t, s).ClockBehind)
		c.Advance(-40 * time.Minute)
		require.Equal(t, 40*time.Minute, readHealth(t, s).ClockBehind)
	})
}
