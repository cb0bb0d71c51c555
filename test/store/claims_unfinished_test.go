package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// L4: A claim within grace stays unfinished until it is settled. Later claims
// of the row keep its start time.
func TestUnfinishedClaimPassesToNextClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		require.Equal(t, noon, claimOne(t, s, "w1").UnfinishedSince)

		c.Advance(lockTTL + grace) // the last moment before it is abandoned
		second := claimOne(t, s, "w2")
		require.Equal(t, noon, second.UnfinishedSince)
		require.False(t, second.Abandoned)

		// Each claim restarts the time until abandonment.
		c.Advance(lockTTL + grace)
		third := claimOne(t, s, "w3")
		require.Equal(t, noon, third.UnfinishedSince)
		require.False(t, third.Abandoned)
	})
}

// L4: An unfinished claim is abandoned when no worker has claimed the row for
// LockTTL + Grace.
func TestUnfinishedClaimIsAbandonedWhenIdle(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimOne(t, s, "w1")
		c.Advance(lockTTL + grace + time.Microsecond)
		second := claimOne(t, s, "w2")
		require.True(t, second.Abandoned)
		require.Equal(t, c.Now(), second.UnfinishedSince, "a new unfinished claim begins")
	})
}

// L4: The time until abandonment depends on the grace of the schedule.
func TestAbandonmentUsesGraceOfSchedule(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		long := dueSchedule("long")
		long.Grace = time.Hour
		insertSchedules(t, s, dueSchedule("short"), long)
		claimAll(t, s, "w1")
		c.Advance(lockTTL + time.Hour)
		for _, got := range claimAll(t, s, "w2").Claims {
			require.Equal(t, got.ID == "short", got.Abandoned)
		}
	})
}

// L4: A release, a recorded failure and an unlock keep the claim unfinished. A
// release and a failure restart the time until abandonment.
func TestUnfinishedClaimSurvivesReleaseAndFailure(t *testing.T) {
	endings := map[string]func(t *testing.T, s hourbell.Store, c storage.Claim){
		"release": func(t *testing.T, s hourbell.Store, c storage.Claim) {
			require.NoError(t, s.Release(t.Context(), "w1", []storage.Claim{c}))
		},
		"record failure": func(t *testing.T, s hourbell.Store, c storage.Claim) {
			require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: c, Backoff: time.Second, UnfinishedSince: c.UnfinishedSince}})))
		},
		"unlock": func(t *testing.T, s hourbell.Store, c storage.Claim) {
			require.NoError(t, errOf(s.Unlock(t.Context(), c.ID)))
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, end := range endings {
			t.Run(name, func(t *testing.T) {
				c := newClock(noon)
				s := bindStore(t, db.DB, name, c.Now)
				insertSchedules(t, s, dueSchedule("a"))
				end(t, s, claimOne(t, s, "w1"))
				require.Empty(t, readSchedule(t, s, "a").LockedBy)
				require.Equal(t, noon, readSchedule(t, s, "a").UnfinishedSince)
				c.Advance(lockTTL + grace)
				again := claimOne(t, s, "w2")
				require.Equal(t, noon, again.UnfinishedSince)
				require.False(t, again.Abandoned)
				require.Empty(t, again.HeldBy)
			})
		}
	})
}

// L4: Settling ends the unfinished claim.
func TestAdvanceEndsUnfinishedClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		require.True(t, advanceOne(t, s, "w1", claimOne(t, s, "w1")))
		require.Zero(t, readSchedule(t, s, "a").UnfinishedSince)
		c.Advance(time.Hour)
		next := claimOne(t, s, "w1")
		require.Equal(t, noon.Add(time.Hour), next.UnfinishedSince)
		require.False(t, next.Abandoned)
	})
}

// T5: An unfinished claim that began in the future is abandoned: the clock was
// stepped back.
func TestUnfinishedClaimInFutureIsAbandoned(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, scheduleDueAt("a", noon.Add(-time.Hour)))
		claimOne(t, s, "w1")
		c.Advance(-30 * time.Minute)
		again := claimOne(t, s, "w2")
		require.Equal(t, c.Now(), again.UnfinishedSince)
		require.True(t, again.Abandoned)
	})
}
