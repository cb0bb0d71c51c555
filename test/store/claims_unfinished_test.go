package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// L4: a claim opens a debt; whoever inherits the row inherits the debt.
func TestUnfinishedClaimPassesToNextClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		require.Equal(t, noon, claimOne(t, s, "w1").OwedSince)

		c.Advance(lockTTL + grace) // the last instant of the debt
		second := claimOne(t, s, "w2")
		require.Equal(t, noon, second.OwedSince)
		require.False(t, second.Lapsed)

		// Somebody was there just now: the debt lives on from then.
		c.Advance(lockTTL + grace)
		third := claimOne(t, s, "w3")
		require.Equal(t, noon, third.OwedSince)
		require.False(t, third.Lapsed)
	})
}

// L4: the debt lapses when nobody has claimed the row for LockTTL + Grace.
func TestUnfinishedClaimIsAbandonedWhenIdle(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimOne(t, s, "w1")
		c.Advance(lockTTL + grace + time.Microsecond)
		second := claimOne(t, s, "w2")
		require.True(t, second.Lapsed)
		require.Equal(t, c.Now(), second.OwedSince, "a new one begins")
	})
}

// L4: each schedule's own grace counts.
func TestAbandonmentUsesGraceOfSchedule(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		long := dueSchedule("long")
		long.Grace = time.Hour
		insertSchedules(t, s, dueSchedule("short"), long)
		claimAll(t, s, "w1")
		c.Advance(lockTTL + time.Hour)
		for _, got := range claimAll(t, s, "w2").Rows {
			require.Equal(t, got.ID == "short", got.Lapsed)
		}
	})
}

// L4: giving back and holding back keep the debt open and count as somebody there; settling ends it.
func TestUnfinishedClaimSurvivesReleaseAndFailure(t *testing.T) {
	ends := map[string]func(t *testing.T, s hourbell.Store, c hourbell.Claim){
		"give back": func(t *testing.T, s hourbell.Store, c hourbell.Claim) {
			require.NoError(t, s.GiveBack(t.Context(), "w1", []hourbell.Claim{c}))
		},
		"hold": func(t *testing.T, s hourbell.Store, c hourbell.Claim) {
			require.NoError(t, errOf(s.Hold(t.Context(), "w1", []hourbell.Failure{{Claim: c, For: time.Second, Owed: c.OwedSince}})))
		},
		"unlock": func(t *testing.T, s hourbell.Store, c hourbell.Claim) {
			require.NoError(t, errOf(s.Unlock(t.Context(), c.ID)))
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				c := newClock(noon)
				s := bindStore(t, db.DB, name, c.Now)
				insertSchedules(t, s, dueSchedule("a"))
				end(t, s, claimOne(t, s, "w1"))
				require.Empty(t, readSchedule(t, s, "a").LockedBy)
				require.Equal(t, noon, readSchedule(t, s, "a").OwedSince)
				c.Advance(lockTTL + grace)
				again := claimOne(t, s, "w2")
				require.Equal(t, noon, again.OwedSince)
				require.False(t, again.Lapsed)
				require.Empty(t, again.HeldBy)
			})
		}
	})
}

// L4: settling ends a debt.
func TestAdvanceEndsUnfinishedClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		require.True(t, advanceOne(t, s, "w1", claimOne(t, s, "w1")))
		require.Zero(t, readSchedule(t, s, "a").OwedSince)
		c.Advance(time.Hour)
		next := claimOne(t, s, "w1")
		require.Equal(t, noon.Add(time.Hour), next.OwedSince)
		require.False(t, next.Lapsed)
	})
}

// T5: after the clock was stepped back, a debt from the future is none.
func TestUnfinishedClaimInFutureIsAbandoned(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, scheduleDueAt("a", noon.Add(-time.Hour)))
		claimOne(t, s, "w1")
		c.Advance(-30 * time.Minute)
		again := claimOne(t, s, "w2")
		require.Equal(t, c.Now(), again.OwedSince)
		require.True(t, again.Lapsed)
	})
}
