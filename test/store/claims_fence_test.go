package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// requireCannotWrite checks that a worker can write nothing with a claim.
func requireCannotWrite(t testing.TB, s hourbell.Store, worker string, c storage.Claim) {
	t.Helper()
	before := readSchedule(t, s, c.ID)
	require.False(t, advanceOne(t, s, worker, c))
	require.NoError(t, s.Release(t.Context(), worker, []storage.Claim{c}))
	held, err := s.RecordFailures(t.Context(), worker, []storage.Failure{{Claim: c, Error: "late", Backoff: time.Second}})
	require.NoError(t, err)
	require.Empty(t, held)
	require.Equal(t, before, readSchedule(t, s, c.ID))
}

// L3: A claim can write only while the row has its version and its holder.
func TestStaleClaimCannotWrite(t *testing.T) {
	invalidations := map[string]func(t *testing.T, s hourbell.Store, c *testClock, held storage.Claim){
		"taken over": func(t *testing.T, s hourbell.Store, c *testClock, _ storage.Claim) {
			c.Advance(lockTTL)
			claimOne(t, s, "w2")
		},
		"taken over and released": func(t *testing.T, s hourbell.Store, c *testClock, _ storage.Claim) {
			c.Advance(lockTTL)
			require.NoError(t, s.Release(t.Context(), "w2", claimAll(t, s, "w2").Claims))
		},
		"claimed again by its holder": func(t *testing.T, s hourbell.Store, _ *testClock, _ storage.Claim) { claimOne(t, s, "w1") },
		"unlocked by an operator": func(t *testing.T, s hourbell.Store, _ *testClock, _ storage.Claim) {
			require.NoError(t, errOf(s.Unlock(t.Context(), "a")))
		},
		"advanced": func(t *testing.T, s hourbell.Store, _ *testClock, held storage.Claim) {
			require.True(t, advanceOne(t, s, "w1", held))
		},
		"failure recorded": func(t *testing.T, s hourbell.Store, _ *testClock, held storage.Claim) {
			require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: held, Backoff: time.Second}})))
		},
		"disabled": func(t *testing.T, s hourbell.Store, _ *testClock, held storage.Claim) {
			r := storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true}
			r.Enabled = false
			require.True(t, updateOne(t, s, r))
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, invalidate := range invalidations {
			t.Run(name, func(t *testing.T) {
				require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
				s, c := newStore(t, db.DB)
				insertSchedules(t, s, dueSchedule("a"))
				held := claimOne(t, s, "w1")
				requireCannotWrite(t, s, "another worker", held)
				invalidate(t, s, c, held)
				requireCannotWrite(t, s, "w1", held)
			})
		}
	})
}

// L3, M2: A fire moves next_run_at and clears the lock, the retry state and the
// unfinished claim.
func TestAdvanceSettlesFiredSlot(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertUsedSchedule(t, db, s, c, "a")
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		c.Advance(time.Second)
		fired := storage.Advance{Claim: claimed, Fired: noon, Through: noon, Next: noon.Add(time.Hour)}
		ids, err := s.Advance(t.Context(), "w1", []storage.Advance{fired})
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, ids)

		want := locked
		want.NextRunAt, want.SettledThrough, want.LastRunAt, want.LastScheduledFor = noon.Add(time.Hour), noon, c.Now(), noon
		want.LockedAt, want.LockedBy, want.Version, want.UnfinishedSince = time.Time{}, "", claimed.Version+1, time.Time{}
		want.RetryAt, want.ConsecutiveFailures, want.LastError, want.UpdatedAt = time.Time{}, 0, "", c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
	})
}

// M2: A skip moves next_run_at and leaves the last run as it was.
func TestAdvanceOfSkipKeepsLastRun(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		before := insertUsedSchedule(t, db, s, c, "a")
		claimed := claimOne(t, s, "w1")
		ids, err := s.Advance(t.Context(), "w1", []storage.Advance{{Claim: claimed, Through: noon, Next: noon.Add(time.Hour)}})
		require.NoError(t, err)
		require.Len(t, ids, 1)
		after := readSchedule(t, s, "a")
		require.Equal(t, []time.Time{before.LastRunAt, before.LastScheduledFor, noon}, []time.Time{after.LastRunAt, after.LastScheduledFor, after.SettledThrough})
		require.Equal(t, before.ConsecutiveFailures, after.ConsecutiveFailures, "a skip is not a success")
		require.Equal(t, before.LastError, after.LastError)
		require.Zero(t, after.RetryAt)
		require.Zero(t, after.UnfinishedSince)
		require.Empty(t, after.LockedBy)
	})
}

// T2, T5: No slot after the database's current time is fired or recorded as
// skipped.
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

// D8: A claim fires a row only by the definition with which it was claimed.
func TestAdvanceRefusesChangedDefinition(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		r := storage.ScheduleUpdate{Schedule: locked, ReadHash: "h1"} // settles nothing, so the version stays
		r.DefinitionHash = "h2"
		require.True(t, updateOne(t, s, r))
		require.Equal(t, claimed.Version, readSchedule(t, s, "a").Version)
		require.False(t, advanceOne(t, s, "w1", claimed))
		require.NoError(t, s.Release(t.Context(), "w1", []storage.Claim{claimed}))
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
	})
}

func TestAdvanceBatchWritesOnlyValidClaims(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		var list []storage.Advance
		for _, c := range claimAll(t, s, "w1").Claims {
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

// L3: Of several advances with one claim exactly one succeeds.
func TestConcurrentAdvancesSucceedOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		advanced := make([]bool, 8)
		for _, err := range runConcurrently(8, func(i int) error {
			ids, err := s.Advance(testContext(t), "w1", []storage.Advance{firedAdvance(claimed)})
			advanced[i] = len(ids) == 1
			return err
		}) {
			require.NoError(t, err)
		}
		n := 0
		for _, ok := range advanced {
			if ok {
				n++
			}
		}
		require.Equal(t, 1, n)
	})
}

// L5, L4: A release clears the lock and keeps the unfinished claim.
func TestReleaseKeepsUnfinishedClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		c.Advance(time.Second)
		require.NoError(t, s.Release(t.Context(), "w1", []storage.Claim{claimed}))
		want := locked
		want.LockedAt, want.LockedBy, want.Version, want.UpdatedAt = time.Time{}, "", claimed.Version+1, c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
		require.NoError(t, s.Release(t.Context(), "w1", nil))
	})
}

// E4: A failure is recorded on the row, keeps the claim unfinished and delays
// the next attempt.
func TestRecordFailureBacksOff(t *testing.T) {
	earlier := noon.Add(-time.Second)
	cases := []struct {
		name    string
		failure storage.Failure
		delay   time.Duration // from the failure to the retry
		since   time.Time     // when the claim became unfinished
	}{
		{"waits for the backoff", storage.Failure{Backoff: 4 * time.Second, UnfinishedSince: earlier}, 4 * time.Second, earlier},
		{"waits no longer than the next slot", storage.Failure{Backoff: time.Minute, Until: noon.Add(31 * time.Second)}, 30 * time.Second, noon},
		{"waits for the backoff if the next slot is later", storage.Failure{Backoff: time.Second, Until: noon.Add(time.Hour), UnfinishedSince: earlier}, time.Second, earlier},
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
				ids, err := s.RecordFailures(t.Context(), "w1", []storage.Failure{tc.failure})
				require.NoError(t, err)
				require.Equal(t, []string{"a"}, ids)

				want := locked
				want.ConsecutiveFailures, want.LastError, want.RetryAt, want.UnfinishedSince = 1, "it's down", c.Now().Add(tc.delay), tc.since
				want.LockedAt, want.LockedBy, want.Version, want.UpdatedAt = time.Time{}, "", claimed.Version+1, c.Now()
				require.Equal(t, want, readSchedule(t, s, "a"))

				c.Set(want.RetryAt)
				again := claimOne(t, s, "w2")
				require.Equal(t, 1, again.ConsecutiveFailures)
				require.NoError(t, errOf(s.RecordFailures(t.Context(), "w2", []storage.Failure{{Claim: again, Error: "still", Backoff: time.Second}})))
				require.Equal(t, 2, readSchedule(t, s, "a").ConsecutiveFailures)
			})
		}
	})
}

// L5, L6: An operator can unlock a schedule. This increments the version.
func TestUnlockClearsLockOfAnyWorker(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), scheduleDueAt("b", noon.Add(time.Hour)))
		for _, id := range []string{"a", "b", "none"} {
			holder, err := s.Unlock(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, holder)
		}
		require.Zero(t, readSchedule(t, s, "a").Version)

		claimed := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		holder, err := s.Unlock(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "w1", holder)
		want := locked
		want.LockedAt, want.LockedBy, want.Version = time.Time{}, "", claimed.Version+1
		require.Equal(t, want, readSchedule(t, s, "a"))
		require.Empty(t, claimOne(t, s, "w2").HeldBy, "the lock was free")
	})
}
