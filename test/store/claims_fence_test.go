package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// requireVoid checks that no word of a claim changes anything.
func requireCannotWrite(t testing.TB, s hourbell.Store, worker string, c hourbell.Claim) {
	t.Helper()
	before := readSchedule(t, s, c.ID)
	require.False(t, advanceOne(t, s, worker, c))
	require.NoError(t, s.GiveBack(t.Context(), worker, []hourbell.Claim{c}))
	held, err := s.Hold(t.Context(), worker, []hourbell.Failure{{Claim: c, Error: "late", For: time.Second}})
	require.NoError(t, err)
	require.Empty(t, held)
	require.Equal(t, before, readSchedule(t, s, c.ID))
}

// L3: the fence. Token and holder must still be the claim's.
func TestStaleClaimCannotWrite(t *testing.T) {
	lose := map[string]func(t *testing.T, s hourbell.Store, c *testClock, held hourbell.Claim){
		"taken over": func(t *testing.T, s hourbell.Store, c *testClock, _ hourbell.Claim) {
			c.Advance(lockTTL)
			claimOne(t, s, "w2")
		},
		"taken over and given back": func(t *testing.T, s hourbell.Store, c *testClock, _ hourbell.Claim) {
			c.Advance(lockTTL)
			require.NoError(t, s.GiveBack(t.Context(), "w2", claimAll(t, s, "w2").Rows))
		},
		"claimed again by itself": func(t *testing.T, s hourbell.Store, _ *testClock, _ hourbell.Claim) { claimOne(t, s, "w1") },
		"unlocked by hand": func(t *testing.T, s hourbell.Store, _ *testClock, _ hourbell.Claim) {
			require.NoError(t, errOf(s.Unlock(t.Context(), "a")))
		},
		"advanced": func(t *testing.T, s hourbell.Store, _ *testClock, held hourbell.Claim) {
			require.True(t, advanceOne(t, s, "w1", held))
		},
		"held": func(t *testing.T, s hourbell.Store, _ *testClock, held hourbell.Claim) {
			require.NoError(t, errOf(s.Hold(t.Context(), "w1", []hourbell.Failure{{Claim: held, For: time.Second}})))
		},
		"disabled": func(t *testing.T, s hourbell.Store, _ *testClock, held hourbell.Claim) {
			r := hourbell.Revision{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true}
			r.Enabled = false
			require.True(t, updateOne(t, s, r))
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, lose := range lose {
			t.Run(name, func(t *testing.T) {
				require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
				s, c := newStore(t, db.DB)
				insertSchedules(t, s, dueSchedule("a"))
				held := claimOne(t, s, "w1")
				requireCannotWrite(t, s, "somebody else", held)
				lose(t, s, c, held)
				requireCannotWrite(t, s, "w1", held)
			})
		}
	})
}

// L3, M2: firing moves the pointer and clears lock, debt and back-off.
func TestAdvanceSettlesFiredSlot(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertUsedSchedule(t, db, s, c, "a")
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		c.Advance(time.Second)
		set := hourbell.Settlement{Claim: claimed, Fired: noon, Through: noon, Next: noon.Add(time.Hour)}
		ids, err := s.Advance(t.Context(), "w1", []hourbell.Settlement{set})
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, ids)

		want := locked
		want.NextRunAt, want.SettledUntil, want.LastRunAt, want.LastScheduledFor = noon.Add(time.Hour), noon, c.Now(), noon
		want.LockedAt, want.LockedBy, want.LockToken, want.OwedSince = time.Time{}, "", claimed.LockToken+1, time.Time{}
		want.HeldUntil, want.Failures, want.LastError, want.UpdatedAt = time.Time{}, 0, "", c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
	})
}

// M2: a skip moves the pointer and is no run.
func TestAdvanceOfSkipKeepsLastRun(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		before := insertUsedSchedule(t, db, s, c, "a")
		claimed := claimOne(t, s, "w1")
		ids, err := s.Advance(t.Context(), "w1", []hourbell.Settlement{{Claim: claimed, Through: noon, Next: noon.Add(time.Hour)}})
		require.NoError(t, err)
		require.Len(t, ids, 1)
		after := readSchedule(t, s, "a")
		require.Equal(t, []time.Time{before.LastRunAt, before.LastScheduledFor, noon}, []time.Time{after.LastRunAt, after.LastScheduledFor, after.SettledUntil})
		require.Equal(t, before.Failures, after.Failures, "nothing has succeeded")
		require.Equal(t, before.LastError, after.LastError)
		require.Zero(t, after.HeldUntil)
		require.Zero(t, after.OwedSince)
		require.Empty(t, after.LockedBy)
	})
}

// T2, T5: no slot fired or recorded as skipped lies after the clock's now.
func TestAdvanceRefusesFutureSlot(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		c.Advance(-time.Microsecond) // the clock was stepped back
		require.False(t, advanceOne(t, s, "w1", claimed))
		require.Equal(t, locked, readSchedule(t, s, "a"))
		c.Advance(time.Microsecond)
		require.True(t, advanceOne(t, s, "w1", claimed))
	})
}

// D8: a row is fired by the definition that it was claimed with.
func TestAdvanceRefusesChangedDefinition(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		r := hourbell.Revision{Schedule: locked, ReadHash: "h1"} // moves nothing, so that the token stays
		r.DefinitionHash = "h2"
		require.True(t, updateOne(t, s, r))
		require.Equal(t, claimed.LockToken, readSchedule(t, s, "a").LockToken)
		require.False(t, advanceOne(t, s, "w1", claimed))
		require.NoError(t, s.GiveBack(t.Context(), "w1", []hourbell.Claim{claimed}))
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
	})
}

func TestAdvanceBatchWritesOnlyValidClaims(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		var list []hourbell.Settlement
		for _, c := range claimAll(t, s, "w1").Rows {
			list = append(list, firedAdvance(c))
		}
		list[0], list[2] = list[2], list[0]
		require.NoError(t, errOf(s.Unlock(t.Context(), "b")))
		ids, err := s.Advance(t.Context(), "w1", list)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"a", "c"}, ids)
		require.Equal(t, noon, readSchedule(t, s, "b").NextRunAt)

		ids, err = s.Advance(t.Context(), "w1", nil)
		require.NoError(t, err)
		require.Empty(t, ids)
	})
}

// L3: of two that think they hold a row, one advances it.
func TestConcurrentAdvancesSucceedOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		taken := make([]bool, 8)
		for _, err := range runConcurrently(8, func(i int) error {
			ids, err := s.Advance(testContext(t), "w1", []hourbell.Settlement{firedAdvance(claimed)})
			taken[i] = len(ids) == 1
			return err
		}) {
			require.NoError(t, err)
		}
		n := 0
		for _, one := range taken {
			if one {
				n++
			}
		}
		require.Equal(t, 1, n)
	})
}

// L5: a clean stop gives its locks back; the debt stays.
func TestReleaseKeepsUnfinishedClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		c.Advance(time.Second)
		require.NoError(t, s.GiveBack(t.Context(), "w1", []hourbell.Claim{claimed}))
		want := locked
		want.LockedAt, want.LockedBy, want.LockToken, want.UpdatedAt = time.Time{}, "", claimed.LockToken+1, c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
		require.NoError(t, s.GiveBack(t.Context(), "w1", nil))
	})
}

// E4: a failure is on the row, the debt stays open, and the next attempt comes after a while.
func TestRecordFailureBacksOff(t *testing.T) {
	owed := noon.Add(-time.Second)
	cases := []struct {
		name    string
		failure hourbell.Failure
		until   time.Duration // from the hold
		owed    time.Time
	}{
		{"for a while", hourbell.Failure{For: 4 * time.Second, Owed: owed}, 4 * time.Second, owed},
		{"at the latest until its next slot", hourbell.Failure{For: time.Minute, Until: noon.Add(31 * time.Second)}, 30 * time.Second, noon},
		{"no longer than told to when the next slot is far", hourbell.Failure{For: time.Second, Until: noon.Add(time.Hour), Owed: owed}, time.Second, owed},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for i, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				c := newClock(noon)
				s := bindStore(t, db.DB, numberedID(i), c.Now)
				insertSchedules(t, s, dueSchedule("a"))
				claimed := claimOne(t, s, "w1")
				locked := readSchedule(t, s, "a")
				c.Advance(time.Second)
				tc.failure.Claim, tc.failure.Error = claimed, "it's down"
				ids, err := s.Hold(t.Context(), "w1", []hourbell.Failure{tc.failure})
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, ids)

				want := locked
				want.Failures, want.LastError, want.HeldUntil, want.OwedSince = 1, "it's down", c.Now().Add(tc.until), tc.owed
				want.LockedAt, want.LockedBy, want.LockToken, want.UpdatedAt = time.Time{}, "", claimed.LockToken+1, c.Now()
				require.Equal(t, want, readSchedule(t, s, "a"))

				c.Set(want.HeldUntil)
				again := claimOne(t, s, "w2")
				require.Equal(t, 1, again.Failures)
				require.NoError(t, errOf(s.Hold(t.Context(), "w2", []hourbell.Failure{{Claim: again, Error: "still", For: time.Second}})))
				require.Equal(t, 2, readSchedule(t, s, "a").Failures)
			})
		}
	})
}

// L5, L6: a person can unlock by hand.
func TestUnlockClearsLockOfAnyWorker(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), scheduleDueAt("b", noon.Add(time.Hour)))
		for _, id := range []string{"a", "b", "none"} {
			holder, err := s.Unlock(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, holder)
		}
		require.Zero(t, readSchedule(t, s, "a").LockToken)

		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		holder, err := s.Unlock(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "w1", holder)
		want := locked
		want.LockedAt, want.LockedBy, want.LockToken = time.Time{}, "", claimed.LockToken+1
		require.Equal(t, want, readSchedule(t, s, "a"))
		require.Empty(t, claimOne(t, s, "w2").HeldBy, "it was free")
	})
}
