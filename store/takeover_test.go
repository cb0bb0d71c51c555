package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// L2, T5: when a lock may be taken over. The holder "w1" locked the row at noon and beat then.
func TestALockIsTakenOverFrom(t *testing.T) {
	long := func(r *hourbell.ClaimRequest) { r.LockTTL = 24 * time.Hour }
	cases := []struct {
		name    string
		prepare func(t *testing.T, s hourbell.Store, c *clock)
		request func(r *hourbell.ClaimRequest)
		free    bool
	}{
		{"nobody before its time", func(_ *testing.T, _ hourbell.Store, c *clock) { c.Advance(dead) }, nil, false},
		{"whoever held it for LockTTL", func(t *testing.T, s hourbell.Store, c *clock) {
			c.Advance(lockTTL)
			beat(t, s, "w1")
		}, nil, true},
		{"nobody an instant before LockTTL", func(t *testing.T, s hourbell.Store, c *clock) {
			c.Advance(lockTTL - time.Microsecond)
			beat(t, s, "w1")
		}, nil, false},
		{"a stopped worker", func(t *testing.T, s hourbell.Store, _ *clock) { require.NoError(t, s.StopWorker(t.Context(), "w1")) }, long, true},
		{"a worker that has missed three heartbeats", func(_ *testing.T, _ hourbell.Store, c *clock) { c.Advance(dead + time.Microsecond) }, long, true},
		{
			"no silent worker by a process that was itself away", func(_ *testing.T, _ hourbell.Store, c *clock) { c.Advance(time.Hour) },
			func(r *hourbell.ClaimRequest) { long(r); r.Dead = 0 }, false,
		},
		{"no living worker", func(t *testing.T, s hourbell.Store, c *clock) {
			c.Advance(time.Hour)
			beat(t, s, "w1")
		}, long, false},
		{"itself", nil, func(r *hourbell.ClaimRequest) { r.Worker = "w1" }, true},
		{"a worker that beat in the future", func(_ *testing.T, _ hourbell.Store, c *clock) { c.Advance(-dead - time.Microsecond) }, long, true},
		{"no worker that beat just now on a clock slightly ahead", func(_ *testing.T, _ hourbell.Store, c *clock) { c.Advance(-dead) }, long, false},
		{"a lock in the future by more than its length", func(t *testing.T, s hourbell.Store, c *clock) {
			c.Advance(-lockTTL - time.Microsecond)
			beat(t, s, "w1")
		}, nil, true},
		{"no lock in the future by its length", func(t *testing.T, s hourbell.Store, c *clock) {
			c.Advance(-lockTTL)
			beat(t, s, "w1")
		}, nil, false},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for i, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				c := newClock(noon)
				s := bind(t, db.DB, id(i), c.Now)
				insert(t, s, dueAt("a", noon.Add(-time.Hour)))
				// Worker ids are random, and so unlike across namespaces.
				require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
				beat(t, s, "w1")
				held := claimOne(t, s, "w1")
				if tc.prepare != nil {
					tc.prepare(t, s, c)
				}
				r := request("w2")
				if tc.request != nil {
					tc.request(&r)
				}
				claims, err := s.Claim(t.Context(), r)
				require.NoError(t, err)
				if !tc.free {
					require.Empty(t, claims.Rows)
					require.True(t, claims.Wake.After(claims.At), "%v is not after %v", claims.Wake, claims.At)
					return
				}
				require.Len(t, claims.Rows, 1)
				require.Equal(t, "w1", claims.Rows[0].HeldBy)
				require.Equal(t, r.Worker, row(t, s, claims.Rows[0].ID).LockedBy)
				require.Equal(t, held.LockToken+1, claims.Rows[0].LockToken)
				// L3: whoever lost it can no longer write.
				require.False(t, advance(t, s, "w1", held))
			})
		}
	})
}

func TestALockOfAnUnknownWorkerLastsForLockTTL(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		claimOne(t, s, "never seen")
		c.Advance(lockTTL - time.Microsecond)
		require.Empty(t, claim(t, s, "w2").Rows)
		c.Advance(time.Microsecond)
		require.Equal(t, "never seen", claimOne(t, s, "w2").HeldBy)
	})
}

// L2, on the database's own clock.
func TestAStalledLockIsTakenOverOnTheDatabasesClock(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := bind(t, db.DB, "test", nil)
		insert(t, s, dueAt("a", time.Now().Add(-time.Minute)))
		claimOne(t, s, "w1")
		require.Empty(t, claim(t, s, "w2").Rows)
		r := request("w2")
		r.LockTTL = 50 * time.Millisecond
		require.Eventually(t, func() bool {
			claims, err := s.Claim(t.Context(), r)
			return err == nil && len(claims.Rows) == 1 && claims.Rows[0].HeldBy == "w1"
		}, 5*time.Second, 5*time.Millisecond)
	})
}

// E4, T5: a row is kept back until its back-off ends, or lies further ahead than a back-off can.
func TestAHeldRowIsClaimedWhenItsBackOffEnds(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		until := noon.Add(maxHold)
		for at, free := range map[time.Duration]bool{0: false, maxHold - time.Microsecond: false, maxHold: true, -time.Microsecond: true} {
			set(t, db, "a", "held_until", until)
			set(t, db, "a", "next_run_at", noon.Add(-time.Hour))
			c.Set(noon.Add(at))
			require.Len(t, claim(t, s, "w1").Rows, map[bool]int{true: 1}[free], "%v", at)
			_, err := s.Unlock(t.Context(), "a")
			require.NoError(t, err)
		}
	})
}
