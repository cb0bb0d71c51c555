package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

func health(t testing.TB, s hourbell.Store) hourbell.Health {
	t.Helper()
	h, err := s.Health(t.Context(), dead)
	require.NoError(t, err)
	return h
}

func TestHealthOfAnEmptyDatabaseIsGood(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		require.Equal(t, hourbell.Health{At: noon}, health(t, s))
	})
}

func TestHealthNamesWhatIsOverdue(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		disabled := dueAt("disabled", noon.Add(-time.Hour))
		disabled.Enabled = false
		patient := dueAt("patient", noon.Add(-time.Hour))
		patient.Grace = 2 * time.Hour
		insert(t, s, dueAt("late", noon.Add(-time.Minute)), dueAt("later", noon.Add(-30*time.Second)), dueAt("due", noon), disabled, patient,
			dueAt("removed", noon.Add(-time.Hour)), dueAt("next", noon.Add(time.Hour)))
		set(t, db, "removed", "removed_at", noon)
		c.Set(noon.Add(time.Minute)) // the grace of "late" ends
		require.Zero(t, health(t, s).Overdue)

		c.Set(noon.Add(2 * time.Minute))
		h := health(t, s)
		require.Equal(t, 2, h.Overdue)
		require.Equal(t, noon.Add(-time.Minute), h.OldestDue)
		require.Equal(t, []hourbell.Schedule{row(t, s, "late"), row(t, s, "later")}, h.Late)
	})
}

func TestHealthNamesAHundredOfMany(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		for i := range 120 {
			insert(t, s, dueAt(id(i), noon.Add(-time.Duration(i)*time.Second)))
		}
		c.Advance(time.Hour)
		h := health(t, s)
		require.Equal(t, 120, h.Overdue)
		require.Len(t, h.Late, 100)
		require.Equal(t, id(119), h.Late[0].ID)
	})
}

// T1: the skew of each replica's clock is shown.
func TestHealthShowsTheLargestSkewOfTheLiving(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		skewed := func(id string, skew time.Duration) {
			require.NoError(t, second(s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", ClockSkew: skew}, 30*time.Second)))
		}
		skewed("dead", time.Hour)
		c.Advance(dead + time.Microsecond)
		skewed("stopped", time.Hour)
		require.NoError(t, s.StopWorker(t.Context(), "stopped"))
		require.Zero(t, health(t, s).Workers)
		require.Zero(t, health(t, s).MaxSkew)
		skewed("ahead", time.Second)
		skewed("behind", -2500*time.Millisecond)
		c.Advance(dead) // the last instant of their lives
		h := health(t, s)
		require.Equal(t, 2, h.Workers)
		require.Equal(t, 2500*time.Millisecond, h.MaxSkew)
		require.Zero(t, h.NewestTick) // they have not claimed yet
	})
}

func TestHealthSaysWhenTheLivingLastTicked(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		ticked := func(id string, at time.Time) {
			require.NoError(t, second(s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", LastTickAt: at}, 30*time.Second)))
		}
		ticked("dead", noon.Add(time.Hour))
		c.Advance(dead + time.Microsecond)
		ticked("a", noon.Add(time.Second))
		ticked("b", noon)
		require.Equal(t, noon.Add(time.Second), health(t, s).NewestTick)
	})
}

// T5: health says why nothing fires after the clock was stepped back.
func TestHealthSaysThatTheClockWasSteppedBack(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		require.True(t, advance(t, s, "w1", claimOne(t, s, "w1")))
		require.Zero(t, health(t, s).ClockBehind)
		c.Advance(-40 * time.Minute)
		require.Equal(t, 40*time.Minute, health(t, s).ClockBehind)
	})
}
