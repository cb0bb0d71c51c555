package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

func TestAClaimLocksWhatIsDueEarliestSlotFirst(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, dueAt("b", noon.Add(-time.Minute)), dueAt("c", noon.Add(-time.Minute)), dueAt("a", noon), dueAt("d", noon.Add(-time.Hour)))
		r := request("w1")
		r.Limit = 3
		claims, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"d", "b", "c"}, claimIDs(claims))
		require.Equal(t, noon, claims.At)
		for _, c := range claims.Rows {
			now := row(t, s, c.ID)
			require.Equal(t, "w1", now.LockedBy)
			require.Equal(t, noon, now.LockedAt)
			require.Equal(t, noon, now.OwedSince)
			require.Equal(t, noon, now.UpdatedAt)
			require.EqualValues(t, 1, now.LockToken)
			require.Equal(t, hourbell.Claim{
				ID: now.ID, DefinitionHash: now.DefinitionHash, At: noon, NextRunAt: now.NextRunAt, LockToken: 1, OwedSince: noon,
			}, c, "the claim is of the row as it is now")
		}
		require.Equal(t, []string{"a"}, claimIDs(claim(t, s, "w2")))
	})
}

func TestAClaimKeepsTheRestOfTheRow(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		want := schedule("a")
		insert(t, s, want)
		c.Advance(1500 * time.Millisecond)
		claimOne(t, s, "w1")
		want.LockedAt, want.LockedBy, want.LockToken, want.OwedSince = c.Now(), "w1", 1, c.Now()
		want.CreatedAt, want.UpdatedAt = noon, c.Now()
		require.Equal(t, want, row(t, s, "a"))
	})
}

func TestWhatMustNotFireIsNotClaimed(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		disabled := schedule("disabled")
		disabled.Enabled = false
		never := schedule("no next slot")
		never.NextRunAt = time.Time{}
		insert(t, s, dueAt("not due", noon.Add(time.Microsecond)), disabled, never, schedule("removed"), schedule("held"), schedule("locked"), schedule("due"))
		set(t, db, "removed", "removed_at", noon)
		set(t, db, "held", "held_until", noon.Add(time.Microsecond))
		set(t, db, "locked", "locked_by", "w1")
		set(t, db, "locked", "locked_at", noon)
		beat(t, s, "w1")
		insert(t, bind(t, db.DB, "other", nil), schedule("of another namespace"))
		require.Equal(t, []string{"due"}, claimIDs(claim(t, s, "w2")))
	})
}

// D6: two services share one database by namespace.
func TestNamespacesDoNotTouchEachOther(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		other := bind(t, db.DB, "other", c.Now)
		insert(t, s, schedule("a"))
		insert(t, other, schedule("a"))
		mine := claimOne(t, s, "w")
		require.Zero(t, row(t, other, "a").LockToken)
		claimOne(t, other, "w")
		theirs := row(t, other, "a")

		require.NoError(t, s.GiveBack(t.Context(), "w", []hourbell.Claim{mine}))
		require.Equal(t, theirs, row(t, other, "a"))
		require.True(t, advance(t, s, "w", claimOne(t, s, "w")))
		require.Equal(t, theirs, row(t, other, "a"))
		require.True(t, revise(t, s, hourbell.Revision{Schedule: row(t, s, "a"), ReadHash: "h1", Settles: true}))
		_, err := s.Unlock(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, theirs, row(t, other, "a"))

		enqueue(t, s, fire("a", noon, 0))
		enqueue(t, other, fire("a", noon, 0))
		beat(t, s, "mine")
		require.NoError(t, other.StopWorker(t.Context(), "mine"))
		require.NoError(t, other.InsertEvents(t.Context(), []hourbell.Event{{Kind: "ENABLED"}}))
		c.Advance(time.Hour)
		_, err = other.Purge(t.Context(), hourbell.Keep{Unfinished: true}, 100)
		require.NoError(t, err)

		workers, err := s.Workers(t.Context())
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

// D8: what this process cannot fire it leaves out of its claims, for as long as the definition is that one.
func TestAnExceptedRowIsPassedByWhileItsDefinitionIsTheSame(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"), schedule("b"), schedule("it's \"c\" \\ {x,y}"))
		r := request("w1")
		r.Except = []string{"a h1", "b h2", "it's \"c\" \\ {x,y} h1"}
		claims, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, claimIDs(claims))

		set(t, db, "a", "definition_hash", "h2")
		r.Worker = "w2"
		claims, err = s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimIDs(claims))
	})
}

func TestAClaimWithoutExceptionsTakesAll(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"))
		r := request("w1")
		r.Except = nil
		claims, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimIDs(claims))
	})
}

// L1: at most one claim of a schedule is valid at a time.
func TestEightClaimersNeverGetTheSameRow(t *testing.T) {
	const schedules = 300
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := bind(t, db.DB, "test", nil)
		rows := make([]hourbell.Schedule, schedules)
		for i := range rows {
			rows[i] = dueAt(id(i), time.Now().Add(-time.Hour))
		}
		insert(t, s, rows...)
		claimed := make([][]claimedBy, 8)
		for _, err := range together(8, func(i int) (err error) {
			s := bind(t, db.Open(t, nil), "test", nil)
			claimed[i], err = drain(t, s, 7, string(rune('a'+i)))
			return err
		}) {
			require.NoError(t, err)
		}
		requireEachClaimedOnce(t, claimed, schedules)
	})
}

func id(i int) string { return time.Unix(int64(i), 0).UTC().Format("id-04-05") }

// claimedBy is a claim and whose it is.
type claimedBy struct {
	hourbell.Claim
	worker string
}

// drain claims a few at a time until nothing is left. Each claim is a worker's of its own, since a worker may claim what
// it holds itself.
func drain(t testing.TB, s hourbell.Store, limit int, worker string) (all []claimedBy, err error) {
	for i := 0; ; i++ {
		r := request(worker + strconv.Itoa(i))
		r.Limit, r.LockTTL = limit, time.Hour
		claims, err := s.Claim(t.Context(), r)
		if err != nil {
			return all, err
		}
		for _, c := range claims.Rows {
			all = append(all, claimedBy{c, r.Worker})
		}
		if len(claims.Rows) == 0 && !claims.Wake.Equal(claims.At) { // else there is more, but somebody is at it
			return all, nil
		}
	}
}

func requireEachClaimedOnce(t testing.TB, claimed [][]claimedBy, want int) {
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

// L1: on Postgres, replicas do not wait for each other.
func TestAClaimPassesByARowThatSomebodyIsAt(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := bound(t, db.DB)
	insert(t, s, schedule("a"), schedule("b"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
		claims, err := s.Claim(soon(t), request("w1"))
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, claimIDs(claims))

		claims, err = s.Claim(soon(t), request("w2"))
		require.NoError(t, err)
		require.Empty(t, claims.Rows)
		require.Equal(t, claims.At, claims.Wake, "there is something due, as soon as it is let go")
		return nil
	}))
	require.Equal(t, []string{"a"}, claimIDs(claim(t, s, "w2")))
}

// L1, L2: a worker may claim what it holds itself, and then its earlier claim is void.
func TestOfTwoClaimsOfOneRowTheNewerIsValid(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"))
		first := claimOne(t, s, "w1")
		second := claimOne(t, s, "w1")
		require.Equal(t, "w1", second.HeldBy)
		require.Equal(t, first.LockToken+1, second.LockToken)
		require.False(t, advance(t, s, "w1", first))
		require.True(t, advance(t, s, "w1", second))
	})
}

// L1: what a worker is at in another lane it does not claim again, until that has taken too long; what it has left behind it does.
func TestAClaimLeavesWhatIsUnderWayElsewhere(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, dueAt("a", noon.Add(-3*time.Second)), dueAt("b", noon.Add(-2*time.Second)), dueAt("c", noon.Add(-time.Second)))
		r := request("w1")
		r.Limit = 1
		first, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		c.Advance(time.Second)
		r.Limit, r.Underway = 1, c.Now()
		left, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, claimIDs(left), "it is from before")
		require.Equal(t, "w1", left.Rows[0].HeldBy)

		r.Limit, r.Underway = 2, first.At
		second, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"b", "c"}, claimIDs(second))
		none, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, hourbell.Claims{At: c.Now(), Wake: c.Now().Add(lockTTL), Busy: true}, none)
		c.Advance(lockTTL)
		again, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, again.Rows, 2)
	})
}

// E4: who is behind takes those that fired longest ago, whatever their slots, and before them those that never did. The answer has
// the earliest slot first all the same.
func TestAFairClaimTakesThoseThatFiredLongestAgo(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		for i, id := range []string{"a", "b", "c", "d"} {
			insert(t, s, dueAt(id, noon.Add(time.Duration(i-10)*time.Second)))
			if id != "d" {
				set(t, db, id, "last_run_at", noon.Add(-time.Duration(i+1)*time.Hour))
			}
		}
		r := request("w1")
		r.Limit, r.Fairly = 2, true
		claims, err := s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"c", "d"}, claimIDs(claims))
		r.Worker = "w2"
		claims, err = s.Claim(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, claimIDs(claims))
	})
}
