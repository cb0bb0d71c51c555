package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

func TestClaimLocksDueSchedulesEarliestFirst(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, scheduleDueAt("b", noon.Add(-time.Minute)), scheduleDueAt("c", noon.Add(-time.Minute)), scheduleDueAt("a", noon), scheduleDueAt("d", noon.Add(-time.Hour)))
		r := claimRequest("w1")
		r.Limit = 3
		result, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"d", "b", "c"}, claimedIDs(result))
		require.Equal(t, noon, result.At)
		for _, c := range result.Claims {
			row := readSchedule(t, s, c.ID)
			require.Equal(t, "w1", row.LockedBy)
			require.Equal(t, noon, row.LockedAt)
			require.Equal(t, noon, row.UnfinishedSince)
			require.Equal(t, noon, row.UpdatedAt)
			require.EqualValues(t, 1, row.Version)
			require.Equal(t, storage.Claim{
				ID: row.ID, DefinitionHash: row.DefinitionHash, At: noon, NextRunAt: row.NextRunAt, Version: 1, UnfinishedSince: noon,
			}, c, "the claim has the values of the updated row")
		}
		require.Equal(t, []string{"a"}, claimedIDs(claimAll(t, s, "w2")))
	})
}

func TestClaimChangesOnlyLockColumns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		want := dueSchedule("a")
		insertSchedules(t, s, want)
		c.Advance(1500 * time.Millisecond)
		claimOne(t, s, "w1")
		want.LockedAt, want.LockedBy, want.Version, want.UnfinishedSince = c.Now(), "w1", 1, c.Now()
		want.CreatedAt, want.UpdatedAt = noon, c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
	})
}

func TestClaimLeavesOutUnclaimableSchedules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		disabled := dueSchedule("disabled")
		disabled.Enabled = false
		never := dueSchedule("no next slot")
		never.NextRunAt = time.Time{}
		insertSchedules(t, s, scheduleDueAt("not due", noon.Add(time.Microsecond)), disabled, never, dueSchedule("removed"), dueSchedule("backed off"), dueSchedule("locked"), dueSchedule("due"))
		setColumn(t, db, "removed", "removed_at", noon)
		setColumn(t, db, "backed off", "retry_at", noon.Add(time.Microsecond))
		setColumn(t, db, "locked", "locked_by", "w1")
		setColumn(t, db, "locked", "locked_at", noon)
		sendHeartbeat(t, s, "w1")
		insertSchedules(t, bindStore(t, db.DB, "other", nil), dueSchedule("in another namespace"))
		require.Equal(t, []string{"due"}, claimedIDs(claimAll(t, s, "w2")))
	})
}

// D6: Services share a database by namespace; no call touches the rows of
// another namespace.
func TestStoreNamespacesAreIsolated(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		other := bindStore(t, db.DB, "other", c.Now)
		insertSchedules(t, s, dueSchedule("a"))
		insertSchedules(t, other, dueSchedule("a"))
		mine := claimOne(t, s, "w")
		require.Zero(t, readSchedule(t, other, "a").Version)
		claimOne(t, other, "w")
		theirs := readSchedule(t, other, "a")

		require.NoError(t, s.Release(t.Context(), "w", []storage.Claim{mine}))
		require.Equal(t, theirs, readSchedule(t, other, "a"))
		require.True(t, advanceOne(t, s, "w", claimOne(t, s, "w")))
		require.Equal(t, theirs, readSchedule(t, other, "a"))
		require.True(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true}))
		_, err := s.Unlock(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, theirs, readSchedule(t, other, "a"))

		insertRuns(t, s, cronRun("a", noon, 0))
		insertRuns(t, other, cronRun("a", noon, 0))
		sendHeartbeat(t, s, "mine")
		require.NoError(t, other.StopWorker(t.Context(), "mine"))
		require.NoError(t, other.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}}))
		c.Advance(time.Hour)
		_, err = other.Purge(t.Context(), storage.Retention{Unfinished: true}, 100)
		require.NoError(t, err)

		workers, err := s.Workers(t.Context(), deadAfter)
		require.NoError(t, err)
		require.Len(t, workers, 1)
		require.Zero(t, workers[0].StoppedAt)
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, events)
	})
}

// D8: A worker excludes the definitions that it cannot fire. The exclusion ends
// when the definition changes.
func TestClaimLeavesOutExcludedDefinitions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("it's \"c\" \\ {x,y}"))
		r := claimRequest("w1")
		r.Exclude = []string{"a h1", "b h2", "it's \"c\" \\ {x,y} h1"}
		result, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, claimedIDs(result))

		setColumn(t, db, "a", "definition_hash", "h2")
		r.Worker = "w2"
		result, err = s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimedIDs(result))
	})
}

func TestClaimWithoutExclusionsTakesAll(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		r := claimRequest("w1")
		r.Exclude = nil
		result, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimedIDs(result))
	})
}

// L1: At most one claim of a schedule is valid.
func TestConcurrentClaimsNeverShareRow(t *testing.T) {
	const schedules = 300
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := bindStore(t, db.DB, "test", nil)
		rows := make([]storage.Schedule, schedules)
		for i := range rows {
			rows[i] = scheduleDueAt(numberedID(i), time.Now().Add(-time.Hour))
		}
		insertSchedules(t, s, rows...)
		claimed := make([][]workerClaim, 8)
		for _, err := range runConcurrently(8, func(i int) (err error) {
			s := bindStore(t, db.Open(t, nil), "test", nil)
			claimed[i], err = claimUntilEmpty(t, s, 7, string(rune('a'+i)))
			return err
		}) {
			require.NoError(t, err)
		}
		requireClaimedOnce(t, claimed, schedules)
	})
}

// workerClaim is a claim and the worker that made it.
type workerClaim struct {
	storage.Claim
	worker string
}

// claimUntilEmpty claims limit schedules at a time until none is left. Each
// claim has its own worker id, because a worker may reclaim what it holds.
func claimUntilEmpty(t testing.TB, s hourbell.Store, limit int, worker string) (all []workerClaim, err error) {
	for i := 0; ; i++ {
		r := claimRequest(worker + strconv.Itoa(i))
		r.Limit, r.LockTTL = limit, time.Hour
		result, err := s.Claim(t.Context(), r)
		if err != nil {
			return all, err
		}
		for _, c := range result.Claims {
			all = append(all, workerClaim{c, r.Worker})
		}
		if len(result.Claims) == 0 && !result.WakeAt.Equal(result.At) { // otherwise another claim has rows locked
			return all, nil
		}
	}
}

func requireClaimedOnce(t testing.TB, claimed [][]workerClaim, want int) {
	t.Helper()
	holder := map[string]string{}
	for _, claims := range claimed {
		for _, c := range claims {
			require.Empty(t, holder[c.ID], "%s was claimed by %s and %s", c.ID, holder[c.ID], c.worker)
			holder[c.ID] = c.worker
		}
	}
	require.Len(t, holder, want)
}

// L1: On Postgres, claims do not wait for each other.
func TestClaimDoesNotWaitForLockedRows(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
		result, err := s.Claim(testContext(t), claimRequest("w1"))
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, claimedIDs(result))

		result, err = s.Claim(testContext(t), claimRequest("w2"))
		require.NoError(t, err)
		require.Empty(t, result.Claims)
		require.Equal(t, result.At, result.WakeAt, "the locked row is due")
		return nil
	}))
	require.Equal(t, []string{"a"}, claimedIDs(claimAll(t, s, "w2")))
}

// L1, L2: A worker may reclaim what it holds. Its earlier claim is then stale.
func TestOnlyNewestClaimOfRowIsValid(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		first := claimOne(t, s, "w1")
		second := claimOne(t, s, "w1")
		require.Equal(t, "w1", second.HeldBy)
		require.Equal(t, first.Version+1, second.Version)
		require.False(t, advanceOne(t, s, "w1", first))
		require.True(t, advanceOne(t, s, "w1", second))
	})
}

// L1: A claim leaves out what its worker locked since ExcludeOwnSince, until
// the lock is stalled. It takes over earlier locks of the worker.
func TestClaimExcludesOwnRecentClaims(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, scheduleDueAt("a", noon.Add(-3*time.Second)), scheduleDueAt("b", noon.Add(-2*time.Second)), scheduleDueAt("c", noon.Add(-time.Second)))
		r := claimRequest("w1")
		r.Limit = 1
		first, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		c.Advance(time.Second)
		r.Limit, r.ExcludeOwnSince = 1, c.Now()
		earlier, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimedIDs(earlier), "it was locked before")
		require.Equal(t, "w1", earlier.Claims[0].HeldBy)

		r.Limit, r.ExcludeOwnSince = 2, first.At
		second, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"b", "c"}, claimedIDs(second))
		none, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, storage.ClaimResult{At: c.Now(), WakeAt: c.Now().Add(lockTTL), HeldByOthers: true}, none)
		c.Advance(lockTTL)
		again, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, again.Claims, 2)
	})
}

// E4: With LeastRecentFirst, a claim takes the schedules that never fired, then
// those that fired longest ago. Its result is in slot order as usual.
func TestClaimTakesLeastRecentFirst(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		for i, id := range []string{"a", "b", "c", "d"} {
			insertSchedules(t, s, scheduleDueAt(id, noon.Add(time.Duration(i-10)*time.Second)))
			if id != "d" {
				setColumn(t, db, id, "last_run_at", noon.Add(-time.Duration(i+1)*time.Hour))
			}
		}
		r := claimRequest("w1")
		r.Limit, r.LeastRecentFirst = 2, true
		result, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"c", "d"}, claimedIDs(result))
		r.Worker = "w2"
		result, err = s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, claimedIDs(result))
	})
}
