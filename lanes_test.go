package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// burst is what a replica does when more is due than one batch takes. Its hook sees the lanes come and go.
type burst struct {
	mu      sync.Mutex
	enter   string // the step at which a lane begins to fire a batch
	inside  int    // lanes that are at one now
	most    int
	batches int
	claimed int           // batches that were claimed first, on the road that needs no claim
	awaited int           // how many lanes are to be inside at once before any goes on
	met     chan struct{} // closed when they are
	after   func(batch int) error
}

// The two roads, and the steps between which each fires a batch.
var burstRoads = map[string]struct {
	enter, leave string
	engine       hourbell.Enqueuer
}{
	"on time": {"before fire-on-time", "after fire-on-time", nil},
	"claimed": {"before advance", "after commit", idle},
}

func (b *burst) hook(leave string) func(string) error {
	return func(step string) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch step {
		case b.enter:
			b.inside++
			if b.most = max(b.most, b.inside); b.inside == b.awaited && b.batches == 0 {
				close(b.met)
			}
			b.mu.Unlock()
			defer b.mu.Lock()
			select {
			case <-b.met:
				return nil
			case <-time.After(10 * time.Second):
				return errors.New("waited for another lane in vain")
			}
		case "before advance":
			b.claimed++
		case leave:
			b.inside--
			b.batches++
			if b.after != nil {
				return b.after(b.batches)
			}
		}
		return nil
	}
}

// bursting is a replica whose schedules come due at noon, so many that they make batches of ten, and whose lanes are to
// meet.
func bursting(t *testing.T, db *dbtest.DB, road string, connections, schedules int) (*hourbell.Scheduler, *clock, *burst) {
	t.Helper()
	c := newClock(noon.Add(-time.Minute))
	b := &burst{enter: burstRoads[road].enter, met: make(chan struct{}), awaited: connections}
	s := replicaOn(t, &stepped{store.New(db.DB), b.hook(burstRoads[road].leave)}, hourbell.Config{
		Definitions: manyHourly(schedules), BatchSize: 10, Connections: connections, Now: c.Now, Enqueuer: burstRoads[road].engine,
	})
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, tick(t, s).Claimed)
	b.inside, b.batches = 0, 0 // a sync has a commit, too
	c.Set(noon)
	return s, c, b
}

// requireEachFiredOnce wants one run of every schedule, for the slot at noon, and no lock left.
func requireEachFiredOnce(t *testing.T, s *hourbell.Scheduler, schedules int) {
	t.Helper()
	for _, d := range manyHourly(schedules) {
		require.Equal(t, []time.Time{noon}, slots(runsOf(t, s, d.ID)), d.ID)
		require.Empty(t, row(t, s, d.ID).LockedBy, d.ID)
	}
}

// Where more is due than a batch, as many connections work on it as the host allows, and no more.
func TestABurstIsSharedByConnections(t *testing.T) {
	for road := range burstRoads {
		for connections := 1; connections <= 3; connections++ {
			t.Run(fmt.Sprint(road, connections), func(t *testing.T) {
				s, c, b := bursting(t, dbtest.Postgres(t), road, connections, 101)
				report := tick(t, s)
				require.Equal(t, []int{101, 101, 101, 0, 0, 0}, []int{report.Claimed, report.Fired, report.Enqueued, report.Skipped, report.Failed, report.LockLost})
				require.Equal(t, connections, b.most)
				require.Equal(t, noon.Add(time.Hour), report.Wake)
				requireEachFiredOnce(t, s, 101)
				require.Equal(t, c.Now(), row(t, s, "s000050").LastRunAt)
			})
		}
	}
}

// SQLite has one writer: there is one lane.
func TestOnSQLiteThereIsOneLane(t *testing.T) {
	c := newClock(noon.Add(-time.Minute))
	var claims atomic.Int64
	s := replicaOn(t, &stepped{store.New(dbtest.SQLite(t).DB), func(step string) error {
		if step == "before claim" {
			claims.Add(1)
		}
		return nil
	}}, hourbell.Config{Definitions: manyHourly(35), BatchSize: 10, Connections: 3, Now: c.Now})
	require.NoError(t, s.Sync(t.Context()))
	c.Set(noon)
	require.Equal(t, 35, tick(t, s).Fired)
	require.EqualValues(t, 5, claims.Load(), "three that are full, one that is not, and one that finds nothing")
	requireEachFiredOnce(t, s, 35)
}

// O1, E2: what fails in one lane is reported, the others finish what they are at, and nothing is lost or repeated.
func TestAFaultInOneLaneLosesNothing(t *testing.T) {
	gone := fmt.Errorf("%w: gone", hourbell.ErrUnavailable)
	for road := range burstRoads {
		t.Run(road, func(t *testing.T) {
			s, _, b := bursting(t, dbtest.Postgres(t), road, 2, 101)
			b.after = func(batch int) error {
				if batch == 1 {
					return gone
				}
				return nil
			}
			_, err := s.Tick(t.Context())
			require.ErrorIs(t, err, hourbell.ErrUnavailable)
			require.LessOrEqual(t, b.batches, 3, "no lane began another batch")
			require.Less(t, len(runsOf(t, s, "")), 101)
			tick(t, s)
			requireEachFiredOnce(t, s, 101)
		})
	}
}

// O3: told to stop, all lanes finish what they are at and begin nothing.
func TestAStopEndsAllLanes(t *testing.T) {
	for road := range burstRoads {
		t.Run(road, func(t *testing.T) {
			db := dbtest.Postgres(t)
			s, c, b := bursting(t, db, road, 2, 101)
			ctx, stop := context.WithCancel(t.Context())
			b.after = func(int) error { stop(); return nil }
			_, err := s.Tick(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.LessOrEqual(t, b.batches, 3)
			heir := replica(t, db.DB, hourbell.Config{Definitions: manyHourly(101), Now: c.Now})
			tick(t, heir)
			requireEachFiredOnce(t, heir, 101)
		})
	}
}

// occupy takes lanes until it is told to leave them, as another replica does that is at a batch.
func occupy(t *testing.T, db *dbtest.DB, lanes ...int) (leave func()) {
	t.Helper()
	st, err := store.New(db.DB).Bind("default", nil)
	require.NoError(t, err)
	tx := db.Open(t, nil).Begin()
	leave = sync.OnceFunc(func() { require.NoError(t, tx.Rollback().Error) })
	t.Cleanup(leave)
	for _, lane := range lanes {
		fired, err := st.Within(tx).FireOnTime(t.Context(), hourbell.FireRequest{
			Fires: []hourbell.Fire{{ScheduleID: "nowhere", Slot: noon, Next: noon.Add(time.Hour), Jobs: []hourbell.FireJob{{Name: "import"}}}}, Lane: lane,
		})
		require.NoError(t, err)
		require.False(t, fired.Refused)
	}
	return leave
}

// Where another replica is in a lane, the others of the burst fire all of it.
func TestALaneThatIsTakenLeavesItsPartToTheOthers(t *testing.T) {
	for lane := 1; lane <= 3; lane++ {
		db := dbtest.Postgres(t)
		s, _, b := bursting(t, db, "on time", 3, 101)
		leave := occupy(t, db, lane)
		report := tick(t, s)
		require.Equal(t, []int{101, 101}, []int{report.Claimed, report.Fired})
		require.LessOrEqual(t, b.claimed, 1, "the one that the lane had in hand at the end")
		leave()
		requireEachFiredOnce(t, s, 101)
	}
}

// standingBy is a replica that finds others in all lanes. It calls then at each of its attempts to fire that are not its first,
// and says by which steps it went.
func standingBy(t *testing.T, db *dbtest.DB, then func(attempt int)) (s *hourbell.Scheduler, leave func(), steps func() map[string]int) {
	t.Helper()
	c := newClock(noon.Add(-time.Minute))
	var mu sync.Mutex
	seen := map[string]int{}
	s = replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[step]++; step == "before fire-on-time" && seen[step] > 2 {
			then(seen[step] - 2)
		}
		return nil
	}}, hourbell.Config{Definitions: manyHourly(101), BatchSize: 10, Connections: 2, Now: c.Now})
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, tick(t, s).Claimed)
	clear(seen)
	c.Set(noon)
	return s, occupy(t, db, 1, 2), func() map[string]int { return seen }
}

// Who comes second stands by with one lane, and goes on as soon as it is free.
func TestWhoFindsOthersInAllLanesStandsBy(t *testing.T) {
	db := dbtest.Postgres(t)
	var leave func()
	s, leave, steps := standingBy(t, db, func(attempt int) {
		if attempt == 2 {
			leave()
		}
	})
	report := tick(t, s)
	require.Equal(t, []int{101, 101, 101}, []int{report.Claimed, report.Fired, report.Enqueued})
	require.LessOrEqual(t, steps()["before fire-on-time"], 2+1+11+1)
	require.Zero(t, steps()["before advance"])
	requireEachFiredOnce(t, s, 101)
}

// Where the others have fired all of it meanwhile, it learns that by one statement.
func TestWhoStoodByLearnsThatNothingIsLeft(t *testing.T) {
	db := dbtest.Postgres(t)
	first, _, _ := bursting(t, db, "on time", 2, 101)
	var leave func()
	s, leave, steps := standingBy(t, db, func(attempt int) {
		if attempt == 1 {
			leave()
			require.Equal(t, 101, tick(t, first).Fired)
		}
	})
	report := tick(t, s)
	require.Equal(t, []any{0, 0, noon.Add(time.Hour)}, []any{report.Claimed, report.Fired, report.Wake})
	require.Equal(t, map[string]int{"before fire-on-time": 3, "after fire-on-time": 3}, steps())
	requireEachFiredOnce(t, s, 101)
}

// Where nothing is due any more for another reason, the lane is still taken, and nothing is left to stand by for.
func TestWhoStandsByLearnsThatNothingIsDue(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _, steps := standingBy(t, db, func(int) {
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET next_run_at = ?", noon.Add(2*time.Hour)).Error)
	})
	report := tick(t, s)
	require.Equal(t, []any{0, noon.Add(2 * time.Hour)}, []any{report.Claimed, report.Wake})
	require.Equal(t, map[string]int{"before fire-on-time": 3, "after fire-on-time": 3}, steps())
}

// Who comes when all has been fired learns that by two statements in each lane at most.
func TestWhoComesLateLearnsThatNothingIsLeft(t *testing.T) {
	db := dbtest.Postgres(t)
	first, _, _ := bursting(t, db, "on time", 2, 101)
	s, leave, steps := standingBy(t, db, func(int) {})
	leave()
	require.Equal(t, 101, tick(t, first).Fired)
	report := tick(t, s)
	require.Equal(t, []any{0, noon.Add(time.Hour)}, []any{report.Claimed, report.Wake})
	require.LessOrEqual(t, steps()["before fire-on-time"], 4)
	require.Zero(t, steps()["before claim"])
}

// O1: a lane that never becomes free, of a server process that hangs, holds nothing up for more than a moment.
func TestALaneThatStaysTakenIsPassedBy(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _, steps := standingBy(t, db, func(int) {})
	report := tick(t, s)
	require.Equal(t, []int{101, 101, 101}, []int{report.Claimed, report.Fired, report.Enqueued})
	require.LessOrEqual(t, steps()["before fire-on-time"], 20)
	require.Positive(t, steps()["before advance"])
	requireEachFiredOnce(t, s, 101)
}

// O3: who stands by goes at once when told to.
func TestAStopEndsTheStandingBy(t *testing.T) {
	db := dbtest.Postgres(t)
	ctx, stop := context.WithCancel(t.Context())
	s, _, steps := standingBy(t, db, func(int) { stop() })
	_, err := s.Tick(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, map[string]int{"before fire-on-time": 3, "after fire-on-time": 3}, steps())
	require.Empty(t, runsOf(t, s, ""))
}

// L1, L3: several replicas of several lanes each fire each slot once.
func TestReplicasOfSeveralLanesFireEachSlotOnce(t *testing.T) {
	for road := range burstRoads {
		t.Run(road, func(t *testing.T) {
			db := dbtest.Postgres(t)
			c := newClock(noon.Add(-time.Minute))
			var replicas []*hourbell.Scheduler
			for range 3 {
				replicas = append(replicas, synced(t, db.Open(t, nil), hourbell.Config{
					Definitions: manyHourly(300), BatchSize: 20, Connections: 3, Now: c.Now, Enqueuer: burstRoads[road].engine,
				}))
			}
			for _, s := range replicas {
				require.Zero(t, tick(t, s).Claimed)
			}
			c.Set(noon)
			var all sync.WaitGroup
			reports, errs := make([]hourbell.TickReport, len(replicas)), make([]error, len(replicas))
			for i, s := range replicas {
				all.Go(func() { reports[i], errs[i] = s.Tick(t.Context()) })
			}
			all.Wait()
			fired, lost := 0, 0
			for i := range replicas {
				require.NoError(t, errs[i])
				fired, lost = fired+reports[i].Fired, lost+reports[i].LockLost
			}
			require.Equal(t, []int{300, 0}, []int{fired, lost})
			requireEachFiredOnce(t, replicas[0], 300)
		})
	}
}
