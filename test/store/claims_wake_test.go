package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// T3: A claim without rows returns the earliest time at which a claim can find
// one.
func TestEmptyClaimReportsWakeAt(t *testing.T) {
	cases := []struct {
		name      string
		prepare   func(t *testing.T, db *dbtest.DB, s hourbell.Store)
		deadAfter time.Duration
		after     time.Duration // zero if no claim ever can
	}{
		{"no schedules", func(*testing.T, *dbtest.DB, hourbell.Store) {}, deadAfter, 0},
		{"next slot", func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, scheduleDueAt("a", noon.Add(time.Hour)), scheduleDueAt("b", noon.Add(time.Minute)))
		}, deadAfter, time.Minute},
		{"only disabled, removed or excluded schedules", func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			disabled := scheduleDueAt("disabled", noon.Add(time.Minute))
			disabled.Enabled = false
			insertSchedules(t, s, disabled, scheduleDueAt("removed", noon.Add(time.Minute)), scheduleDueAt("excluded", noon.Add(time.Minute)), scheduleDueAt("excluded and due", noon))
			setColumn(t, db, "removed", "removed_at", noon)
		}, deadAfter, 0},
		{"end of a backoff", func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("a"), scheduleDueAt("b", noon.Add(time.Hour)))
			setColumn(t, db, "a", "retry_at", noon.Add(30*time.Second))
		}, deadAfter, 30 * time.Second},
		{"end of a lock", func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("a"), scheduleDueAt("b", noon.Add(time.Hour)))
			claimOne(t, s, "w1")
		}, deadAfter, lockTTL},
		{"holder dead", func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("a"), scheduleDueAt("b", noon.Add(time.Hour)))
			sendHeartbeat(t, s, "w1")
			claimOne(t, s, "w1")
		}, deadAfter, deadAfter + time.Microsecond}, // exactly at DeadAfter the holder is active
		{"end of a lock if DeadAfter is zero", func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("a"))
			sendHeartbeat(t, s, "w1")
			claimOne(t, s, "w1")
		}, 0, lockTTL},
		{"earliest of several", func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("a"))
			claimOne(t, s, "w1")
			insertSchedules(t, s, dueSchedule("b"), scheduleDueAt("c", noon.Add(20*time.Second)))
			setColumn(t, db, "b", "retry_at", noon.Add(15*time.Second))
		}, deadAfter, 15 * time.Second},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				for _, table := range []string{"hourbell_schedules", "hourbell_workers"} {
					require.NoError(t, db.Exec("DELETE FROM "+table).Error)
				}
				s, c := newStore(t, db.DB)
				tc.prepare(t, db, s)
				r := claimRequest("w2")
				r.DeadAfter = tc.deadAfter
				r.Exclude = []string{"excluded h1", "excluded and due h1"}
				result, err := s.Claim(t.Context(), r)
				require.NoError(t, err)
				require.Empty(t, result.Claims)
				require.Equal(t, noon, result.At)
				if tc.after == 0 {
					require.Zero(t, result.WakeAt)
					return
				}
				require.Equal(t, noon.Add(tc.after), result.WakeAt)

				c.Set(result.WakeAt.Add(-time.Microsecond))
				early, err := s.Claim(t.Context(), r)
				require.NoError(t, err)
				require.Empty(t, early.Claims)
				c.Set(result.WakeAt)
				due, err := s.Claim(t.Context(), r)
				require.NoError(t, err)
				require.NotEmpty(t, due.Claims)
				require.Zero(t, due.WakeAt)
			})
		}
	})
}

// T3: A claim without rows reports whether another worker holds a due schedule,
// because that worker may release it at any time.
func TestEmptyClaimReportsHeldByOthers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		heldByOthers := func() bool {
			t.Helper()
			result, err := s.Claim(t.Context(), claimRequest("w2"))
			require.NoError(t, err)
			require.Empty(t, result.Claims)
			return result.HeldByOthers
		}
		insertSchedules(t, s, scheduleDueAt("later", noon.Add(time.Hour)), dueSchedule("a"))
		held := claimOne(t, s, "w1")
		require.True(t, heldByOthers())
		setColumn(t, db, "a", "enabled", false)
		require.False(t, heldByOthers())
		setColumn(t, db, "a", "enabled", true)
		setColumn(t, db, "a", "next_run_at", noon.Add(time.Minute))
		require.False(t, heldByOthers())
		setColumn(t, db, "a", "next_run_at", noon)
		require.True(t, heldByOthers())
		require.NoError(t, s.Release(t.Context(), "w1", []storage.Claim{held}))
		result, err := s.Claim(t.Context(), claimRequest("w2"))
		require.NoError(t, err)
		require.Len(t, result.Claims, 1)
		require.False(t, result.HeldByOthers)
	})
}
