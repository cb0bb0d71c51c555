package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// L2, T5: A worker may take over a lock that is stalled or expired, a lock of a
// worker that is dead or has stopped, and its own lock. The holder "w1" locks
// the row and sends a heartbeat at noon.
func TestLockTakeoverConditions(t *testing.T) {
	longTTL := func(r *storage.ClaimRequest) { r.LockTTL = 24 * time.Hour }
	cases := []struct {
		name    string
		prepare func(t *testing.T, s hourbell.Store, c *testClock)
		request func(r *storage.ClaimRequest)
		taken   bool
	}{
		{"lock and heartbeat are recent", func(_ *testing.T, _ hourbell.Store, c *testClock) { c.Advance(deadAfter) }, nil, false},
		{"lock is LockTTL old", func(t *testing.T, s hourbell.Store, c *testClock) {
			c.Advance(lockTTL)
			sendHeartbeat(t, s, "w1")
		}, nil, true},
		{"lock is almost LockTTL old", func(t *testing.T, s hourbell.Store, c *testClock) {
			c.Advance(lockTTL - time.Microsecond)
			sendHeartbeat(t, s, "w1")
		}, nil, false},
		{"holder has stopped", func(t *testing.T, s hourbell.Store, _ *testClock) {
			require.NoError(t, s.StopWorker(t.Context(), "w1"))
		}, longTTL, true},
		{"holder missed its heartbeats", func(_ *testing.T, _ hourbell.Store, c *testClock) { c.Advance(deadAfter + time.Microsecond) }, longTTL, true},
		{
			"holder missed its heartbeats but DeadAfter is zero", func(_ *testing.T, _ hourbell.Store, c *testClock) { c.Advance(time.Hour) },
			func(r *storage.ClaimRequest) { longTTL(r); r.DeadAfter = 0 }, false,
		},
		{"holder is active", func(t *testing.T, s hourbell.Store, c *testClock) {
			c.Advance(time.Hour)
			sendHeartbeat(t, s, "w1")
		}, longTTL, false},
		{"holder is the caller", nil, func(r *storage.ClaimRequest) { r.Worker = "w1" }, true},
		{"heartbeat is far in the future", func(_ *testing.T, _ hourbell.Store, c *testClock) { c.Advance(-deadAfter - time.Microsecond) }, longTTL, true},
		{"heartbeat is slightly in the future", func(_ *testing.T, _ hourbell.Store, c *testClock) { c.Advance(-deadAfter) }, longTTL, false},
		{"lock is further in the future than LockTTL", func(t *testing.T, s hourbell.Store, c *testClock) {
			c.Advance(-lockTTL - time.Microsecond)
			sendHeartbeat(t, s, "w1")
		}, nil, true},
		{"lock is LockTTL in the future", func(t *testing.T, s hourbell.Store, c *testClock) {
			c.Advance(-lockTTL)
			sendHeartbeat(t, s, "w1")
		}, nil, false},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for i, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				c := newClock(noon)
				s := bindStore(t, db.DB, numberedID(i), c.Now)
				insertSchedules(t, s, scheduleDueAt("a", noon.Add(-time.Hour)))
				// Worker ids are unique across namespaces, so the rows of the
				// previous subtest must go.
				require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
				sendHeartbeat(t, s, "w1")
				held := claimOne(t, s, "w1")
				if tc.prepare != nil {
					tc.prepare(t, s, c)
				}
				r := claimRequest("w2")
				if tc.request != nil {
					tc.request(&r)
				}
				result, err := s.Claim(t.Context(), r)
				require.NoError(t, err)
				if !tc.taken {
					require.Empty(t, result.Claims)
					require.True(t, result.WakeAt.After(result.At), "%v is not after %v", result.WakeAt, result.At)
					return
				}
				require.Len(t, result.Claims, 1)
				require.Equal(t, "w1", result.Claims[0].HeldBy)
				require.Equal(t, r.Worker, readSchedule(t, s, result.Claims[0].ID).LockedBy)
				require.Equal(t, held.Version+1, result.Claims[0].Version)
				// L3: The previous holder can no longer write.
				require.False(t, advanceOne(t, s, "w1", held))
			})
		}
	})
}

func TestLockOfUnknownWorkerLastsLockTTL(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimOne(t, s, "never seen")
		c.Advance(lockTTL - time.Microsecond)
		require.Empty(t, claimAll(t, s, "w2").Claims)
		c.Advance(time.Microsecond)
		require.Equal(t, "never seen", claimOne(t, s, "w2").HeldBy)
	})
}

// L2, T1: Without a configured clock the database clock decides that a lock is
// stalled.
func TestStalledLockIsTakenOverByDatabaseClock(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := bindStore(t, db.DB, "test", nil)
		insertSchedules(t, s, scheduleDueAt("a", time.Now().Add(-time.Minute)))
		claimOne(t, s, "w1")
		require.Empty(t, claimAll(t, s, "w2").Claims)
		r := claimRequest("w2")
		r.LockTTL = 50 * time.Millisecond
		require.Eventually(t, func() bool {
			result, err := s.Claim(t.Context(), r)
			return err == nil && len(result.Claims) == 1 && result.Claims[0].HeldBy == "w1"
		}, 5*time.Second, 5*time.Millisecond)
	})
}

// E4, T5: A schedule can be claimed when its backoff has ended, or when
// retry_at is further in the future than the longest backoff.
func TestScheduleIsClaimedWhenBackoffEnds(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		until := noon.Add(maxBackoff)
		for at, free := range map[time.Duration]bool{0: false, maxBackoff - time.Microsecond: false, maxBackoff: true, -time.Microsecond: true} {
			setColumn(t, db, "a", "retry_at", until)
			setColumn(t, db, "a", "next_run_at", noon.Add(-time.Hour))
			c.Set(noon.Add(at))
			require.Len(t, claimAll(t, s, "w1").Claims, map[bool]int{true: 1}[free], "%v", at)
			_, err := s.Unlock(t.Context(), "a")
			require.NoError(t, err)
		}
	})
}
