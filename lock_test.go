package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

var (
	errKilled = errors.New("killed")
	errLost   = errors.New("the answer was lost")
)

// killedHolding is a replica that claims what is due and is killed before it can do anything with it. It returns the
// id of its worker, which holds the schedule.
func killedHolding(t testing.TB, db *gorm.DB, cfg hourbell.Config, id string) string {
	t.Helper()
	s := replicaOn(t, &stepped{store.New(db), func(step string) error {
		if step == "before claim" {
			return nil
		}
		return errKilled
	}}, cfg)
	_, err := s.Tick(t.Context())
	require.ErrorIs(t, err, errKilled)
	require.Equal(t, s.WorkerID(), row(t, s, id).LockedBy)
	return s.WorkerID()
}

// pausedAt is a replica that is stopped at a step, once, for as long as other replicas need to do something.
func pausedAt(t testing.TB, db *gorm.DB, cfg hourbell.Config, step string, meanwhile func()) *hourbell.Scheduler {
	t.Helper()
	return replicaOn(t, &stepped{store.New(db), firstAt(step, func() error {
		meanwhile()
		return nil
	})}, cfg)
}

// claimAs claims as a worker would, with the usual LockTTL.
func claimAs(t testing.TB, st hourbell.Store, worker string, limit int) []hourbell.Claim {
	t.Helper()
	claims, err := st.Claim(t.Context(), hourbell.ClaimRequest{
		Worker: worker, Limit: limit, LockTTL: 5 * time.Minute, MaxHold: time.Minute, Dead: 30 * time.Second,
	})
	require.NoError(t, err)
	return claims.Rows
}

// L1: however many replicas claim at once, each schedule gets one holder.
func TestTwoReplicasNeverHoldTheSameSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		const schedules, replicas = 60, 6
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, manyHourly(schedules)...))
		now.Set(noon)
		var mu sync.Mutex
		holders := map[string]string{}
		note := func(worker string, claims []hourbell.Claim) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range claims {
				if before := holders[c.ID]; before != "" {
					t.Errorf("%s is held by %s and by %s", c.ID, before, worker)
				}
				holders[c.ID] = worker
			}
		}
		var all sync.WaitGroup
		for i := range replicas {
			st := bound(t, db.Open(t, nil), now.Now)
			all.Go(func() {
				for n := range 10 {
					worker := fmt.Sprintf("w%d.%d", i, n) // each holds what it has claimed
					claims, err := st.Claim(context.Background(), hourbell.ClaimRequest{Worker: worker, Limit: 7, LockTTL: time.Minute})
					if err != nil {
						t.Errorf("claim: %v", err)
						return
					}
					note(worker, claims.Rows)
				}
			})
		}
		all.Wait()
		require.Len(t, holders, schedules)
		for id, worker := range holders {
			require.Equal(t, worker, row(t, s, id).LockedBy)
		}
	})
}

// L1: a replica passes by the rows that another's transaction is at, and takes the rest at once.
func TestReplicasDoNotWaitForEachOther(t *testing.T) {
	db := dbtest.Postgres(t)
	now := newClock(noon.Add(-time.Minute))
	s := synced(t, db.DB, definitions(now, hourly("a"), hourly("b")))
	now.Set(noon)
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Exec("SELECT id FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Len(t, runsOf(t, s, "b"), 1)
	require.NoError(t, other.Rollback().Error)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Len(t, runsOf(t, s, "a"), 1)
}

// L1, L3: of all claims of a schedule only the newest is valid, also of two by the same worker.
func TestOnlyTheNewestClaimIsValid(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		synced(t, db.DB, definitions(now, hourly("a")))
		now.Set(noon)
		st := bound(t, db.DB, now.Now)
		settled := func(worker string, claim hourbell.Claim) int {
			ids, err := st.Advance(t.Context(), worker, []hourbell.Settlement{{Claim: claim, Through: noon, Next: noon.Add(time.Hour)}})
			require.NoError(t, err)
			return len(ids)
		}
		first := claimAs(t, st, "w1", 1)[0]
		second := claimAs(t, st, "w1", 1)[0]
		require.Zero(t, settled("w1", first), "the holder alone is not enough")
		now.Advance(6 * time.Minute)
		third := claimAs(t, st, "w2", 1)[0]
		require.Zero(t, settled("w1", second))
		require.Zero(t, settled("w1", third), "the token alone is not enough")
		require.Equal(t, 1, settled("w2", third))
		require.Zero(t, settled("w2", third))
	})
}

// L2: a lock older than LockTTL is taken over, and the takeover is recorded.
func TestAStalledLockIsTakenOver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon)
		holder := killedHolding(t, db.DB, cfg, "a")
		now.Advance(5*time.Minute - time.Microsecond)
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(time.Microsecond)
		require.Equal(t, 1, tick(t, s).Fired)
		events := eventsOf(t, s, "a", "LOCK_EXPIRED")
		require.Len(t, events, 1)
		require.Contains(t, events[0].Detail, holder)
		require.Equal(t, s.WorkerID(), events[0].Actor)
	})
}

// L2: what a worker held that has stopped is free at once.
func TestTheLockOfAStoppedWorkerIsTakenOverAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon)
		holder := killedHolding(t, db.DB, cfg, "a")
		st := bound(t, db.DB, now.Now)
		_, err := st.Heartbeat(t.Context(), hourbell.Worker{ID: holder}, 30*time.Second)
		require.NoError(t, err)
		require.Zero(t, tick(t, s).Claimed)
		require.NoError(t, st.StopWorker(t.Context(), holder))
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// L2: what a worker held that has missed three heartbeats is free at once, however young the lock.
func TestTheLockOfADeadWorkerIsTakenOverAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon)
		holder := killedHolding(t, db.DB, cfg, "a")
		_, err := bound(t, db.DB, now.Now).Heartbeat(t.Context(), hourbell.Worker{ID: holder}, 30*time.Second)
		require.NoError(t, err)
		now.Advance(30 * time.Second)
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(time.Microsecond)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// L2: a worker whose claim was answered into the void claims the same again, without waiting for its own lock.
func TestAWorkerClaimsAgainWhatItHoldsItself(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		synced(t, db.DB, cfg)
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("after claim", func() error { return errLost })}, cfg)
		now.Set(noon)
		_, err := s.Tick(t.Context())
		require.ErrorIs(t, err, errLost)
		require.Equal(t, s.WorkerID(), row(t, s, "a").LockedBy)
		now.Advance(time.Second)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Empty(t, eventsOf(t, s, "a", "LOCK_EXPIRED"), "it has taken over from nobody")
	})
}

// L2: a worker is one start of one process. A Scheduler that has run does not run again under the same id, which
// stands for a worker that is stopped.
func TestEveryStartIsAWorkerOfItsOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}}
		s := replica(t, db.DB, cfg)
		stop := running(t, s)
		await(t, "a worker", func() bool { return len(workersOf(t, s)) == 1 })
		require.NoError(t, stop())
		require.Error(t, s.Run(t.Context()))

		again := replica(t, db.DB, cfg)
		running(t, again)
		await(t, "a second worker", func() bool { return len(workersOf(t, s)) == 2 })
		workers := workersOf(t, s)
		require.NotEqual(t, workers[0].ID, workers[1].ID)
	})
}

// workersOf reads the workers, latest start first.
func workersOf(t testing.TB, s *hourbell.Scheduler) []hourbell.Worker {
	t.Helper()
	workers, err := s.Workers(t.Context())
	require.NoError(t, err)
	return workers
}

// L3: a holder that comes back after its schedule was taken over and fired fires nothing and changes nothing.
func TestAPausedHolderThatComesBackFiresNothing(t *testing.T) {
	for _, step := range []string{"after claim", "before begin"} {
		t.Run(step, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				cfg := definitions(now, hourly("a"))
				heir := synced(t, db.DB, cfg)
				var settled hourbell.Schedule
				paused := pausedAt(t, db.DB, cfg, step, func() {
					now.Advance(6 * time.Minute)
					require.Equal(t, 1, tick(t, heir).Fired)
					settled = row(t, heir, "a")
				})
				now.Set(noon)
				report := tick(t, paused)
				require.Equal(t, 1, report.LockLost)
				require.Zero(t, report.Fired+report.Enqueued+report.Skipped)
				require.Equal(t, settled, row(t, heir, "a"))
				require.Len(t, runsOf(t, heir, "a"), 1)
				require.Empty(t, skipped(t, heir, "a"))
			})
		})
	}
}

// L3: giving back what another has taken over changes nothing.
func TestAPausedHolderCannotGiveBackAnothersLock(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		synced(t, db.DB, cfg)
		var taken hourbell.Schedule
		var heir *hourbell.Scheduler
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return hourbell.ErrUnavailable })
		paused := pausedAt(t, db.DB, cfg, "before give-back", func() {
			now.Advance(6 * time.Minute)
			killedHolding(t, db.DB, cfg, "a")
			heir = replica(t, db.DB, cfg)
			taken = row(t, heir, "a")
		})
		now.Set(noon)
		_, err := paused.Tick(t.Context())
		require.ErrorIs(t, err, hourbell.ErrUnavailable)
		require.NotEqual(t, paused.WorkerID(), taken.LockedBy)
		require.Equal(t, taken, row(t, heir, "a"))
	})
}

// L3: a failure on what another has taken over is not recorded.
func TestAPausedHolderCannotHoldBackAnothersSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		heir := synced(t, db.DB, cfg)
		failed := false
		broken := cfg
		broken.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			failed = true
			return errors.New("broken")
		})
		var settled hourbell.Schedule
		paused := replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
			if step == "before begin" && failed { // the transaction that records the failure
				now.Advance(6 * time.Minute)
				require.Equal(t, 1, tick(t, heir).Fired)
				settled = row(t, heir, "a")
			}
			return nil
		}}, broken)
		now.Set(noon)
		tick(t, paused)
		require.Equal(t, settled, row(t, heir, "a"))
		require.Empty(t, eventsOf(t, heir, "a", "ENQUEUE_FAILED"))
	})
}

// L3: the last line is a unique index. A slot that has its run already, however that came about, is advanced without
// another, which is no failure, and spares the schedules that are fired with it.
func TestASlotThatHasItsRunAlreadyGetsNoOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		var log logs
		feed := hourly("a")
		feed.Target = hourbell.Group("feed")
		cfg := definitions(now, feed, hourly("b"))
		cfg.Logger = log.logger()
		s := synced(t, db.DB, cfg)
		_, err := bound(t, db.DB, now.Now).InsertRuns(t.Context(), []hourbell.JobRun{
			{Job: "import", Trigger: "CRON", ScheduleID: "a", ScheduledFor: noon},
		})
		require.NoError(t, err)
		now.Set(noon)
		report := tick(t, s)
		require.Equal(t, 1, report.Fired, "b")
		require.Zero(t, report.Failed)
		require.Len(t, runsOf(t, s, "a"), 1, "not the second job of its fire either")
		require.Len(t, runsOf(t, s, "b"), 1)
		require.Equal(t, noon.Add(time.Hour), row(t, s, "a").NextRunAt)
		require.Zero(t, row(t, s, "a").Failures)
		require.Contains(t, log.String(), "already fired")
	})
}

// L4: the slot of a holder that was killed is fired by whoever takes the schedule over, though it be out of grace.
func TestTheSlotOfAKilledHolderIsFiredByItsHeir(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		heir := synced(t, db.DB, cfg)
		now.Set(noon.Add(2 * time.Minute)) // just within grace
		killedHolding(t, db.DB, cfg, "a")
		now.Set(noon.Add(9 * time.Minute)) // and the debt just alive
		require.Equal(t, 1, tick(t, heir).Fired)
		require.Equal(t, []time.Time{noon}, slots(runsOf(t, heir, "a")))
		require.Empty(t, skipped(t, heir, "a"))
		require.Zero(t, row(t, heir, "a").OwedSince, "settled")
	})
}

// L4: of the slots that came while a killed holder's debt was open, the heir fires the latest alone.
func TestAnHeirFiresTheLatestSlotOnly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		often := hourly("a")
		often.Cron = "*/3 * * * *"
		cfg := definitions(now, often)
		heir := synced(t, db.DB, cfg)
		now.Set(noon)
		killedHolding(t, db.DB, cfg, "a")
		now.Set(noon.Add(5*time.Minute + 30*time.Second)) // the slot of 12:03 is out of grace
		report := tick(t, heir)
		require.Equal(t, 1, report.Fired)
		require.Equal(t, []time.Time{noon.Add(3 * time.Minute)}, slots(runsOf(t, heir, "a")))
		require.Equal(t, []string{"SUPERSEDED 12:00:00-12:00:00 1"}, skipped(t, heir, "a"))
	})
}

// L4: a debt lapses when nobody has been at the row for LockTTL and grace together.
func TestADebtLapsesWhenNobodyComes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		heir := synced(t, db.DB, cfg)
		now.Set(noon)
		killedHolding(t, db.DB, cfg, "a")
		now.Advance(7*time.Minute + time.Microsecond)
		report := tick(t, heir)
		require.Zero(t, report.Fired)
		require.Equal(t, 1, report.Skipped)
		require.Equal(t, []string{"LAPSED 12:00:00-12:00:00 1"}, skipped(t, heir, "a"))
	})
}

// L4: every claim, and every giving back, keeps an open debt from lapsing, for as long as it takes.
func TestADebtStaysOpenWhileSomebodyTries(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		heir := synced(t, db.DB, cfg)
		now.Set(noon)
		for range 5 {
			killedHolding(t, db.DB, cfg, "a")
			require.Equal(t, noon, row(t, heir, "a").OwedSince, "that of the first claim")
			now.Advance(6 * time.Minute)
		}
		require.Equal(t, 1, tick(t, heir).Fired)
		require.Equal(t, []time.Time{noon}, slots(runsOf(t, heir, "a")))
	})
}

// L4: an attempt that failed keeps the debt of a slot that was within grace.
func TestAFailedAttemptKeepsTheDebt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		broken := true
		cfg := definitions(now, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			if broken {
				return errors.New("broken")
			}
			return nil
		})
		s := synced(t, db.DB, cfg)
		for now.Set(noon); now.Now().Before(noon.Add(10 * time.Minute)); now.Advance(time.Minute) {
			require.Equal(t, 1, tick(t, s).Failed)
		}
		broken = false
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{noon}, slots(runsOf(t, s, "a")))
		require.Empty(t, skipped(t, s, "a"))
	})
}

// L4: a slot that was claimed in time is owed too where the claim before it came too late for another slot, and its
// holder died before it had recorded that one as skipped.
func TestASlotClaimedInTimeIsOwedThoughTheOneBeforeWasNot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		often := hourly("a")
		often.Cron = "*/5 * * * *"
		cfg := definitions(now, often)
		heir := synced(t, db.DB, cfg)
		now.Set(noon.Add(4 * time.Minute)) // too late for the slot of noon
		killedHolding(t, db.DB, cfg, "a")
		now.Set(noon.Add(5 * time.Minute)) // in time for that of 12:05
		require.NoError(t, heir.Unlock(t.Context(), "a", hourbell.By{}))
		killedHolding(t, db.DB, cfg, "a")
		now.Set(noon.Add(7*time.Minute + 30*time.Second)) // out of grace
		require.NoError(t, heir.Unlock(t.Context(), "a", hourbell.By{}))
		require.Equal(t, 1, tick(t, heir).Fired)
		require.Equal(t, []time.Time{noon.Add(5 * time.Minute)}, slots(runsOf(t, heir, "a")))
		require.Equal(t, []string{"LATE 12:00:00-12:00:00 1"}, skipped(t, heir, "a"))
	})
}

// L4: a claim that came too late opens no debt, and its failure none either.
func TestAClaimOutOfGraceOpensNoDebt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon.Add(3 * time.Minute))
		killedHolding(t, db.DB, cfg, "a")
		now.Advance(5 * time.Minute)
		require.Zero(t, tick(t, s).Fired)
		require.Equal(t, []string{"LATE 12:00:00-12:00:00 1"}, skipped(t, s, "a"))
	})
}

// L5: a person unlocks a schedule by hand; its holder can no longer fire it, and others may at once.
func TestAPersonUnlocksASchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		other := synced(t, db.DB, cfg)
		holder := pausedAt(t, db.DB, cfg, "after claim", func() {
			require.Zero(t, tick(t, other).Claimed)
			require.NoError(t, other.Unlock(t.Context(), "a", hourbell.By{Actor: "ann", Note: "stuck"}))
			require.Empty(t, row(t, other, "a").LockedBy)
			require.Equal(t, 1, tick(t, other).Fired)
		})
		now.Set(noon)
		require.Equal(t, 1, tick(t, holder).LockLost)
		require.Len(t, runsOf(t, other, "a"), 1)
		events := eventsOf(t, other, "a", "UNLOCKED")
		require.Len(t, events, 1)
		require.Equal(t, "ann", events[0].Actor)
		require.Equal(t, "stuck", events[0].Note)
		require.Contains(t, events[0].Detail, holder.WorkerID())

		require.NoError(t, other.Unlock(t.Context(), "a", hourbell.By{Actor: "ann"}))
		require.Len(t, eventsOf(t, other, "a", "UNLOCKED"), 1, "nothing was locked")
		require.ErrorIs(t, other.Unlock(t.Context(), "x", hourbell.By{}), hourbell.ErrUnknownSchedule)
	})
}

// L5, O3: a clean stop gives back what it has claimed and not fired. The debt stays, so that another fires it.
func TestACleanStopGivesItsLocksBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"), hourly("b"))
		heir := synced(t, db.DB, cfg)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		failing := true
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			if failing {
				return errors.New("broken")
			}
			stop()
			return nil
		})
		s := replica(t, db.DB, cfg)
		now.Set(noon)
		require.Equal(t, 2, tick(t, s).Failed) // from now on each goes alone
		failing = false
		now.Advance(time.Second)
		report, err := s.Tick(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, report.Claimed)
		require.Equal(t, 1, report.Fired, "the fire under way was finished, and no other begun")

		now.Set(noon.Add(5 * time.Minute))
		require.Equal(t, 1, tick(t, heir).Fired)
		for _, id := range []string{"a", "b"} {
			require.Equal(t, []time.Time{noon}, slots(runsOf(t, heir, id)))
		}
	})
}
