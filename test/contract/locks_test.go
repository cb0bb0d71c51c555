package contract_test

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
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// L1: however many replicas claim at the same time, each schedule is claimed by
// one worker.
func TestConcurrentClaimsNeverShareSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		const schedules, replicas = 60, 6
		now := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(now, manyHourly(schedules)...))
		now.Set(noon)
		var mu sync.Mutex
		holders := map[string]string{}
		addHolder := func(worker string, claims []storage.Claim) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range claims {
				if other := holders[c.ID]; other != "" {
					t.Errorf("%s is held by %s and by %s", c.ID, other, worker)
				}
				holders[c.ID] = worker
			}
		}
		var wg sync.WaitGroup
		for i := range replicas {
			st := bindStore(t, db.Open(t, nil), now.Now)
			wg.Go(func() {
				for n := range 10 {
					worker := fmt.Sprintf("w%d.%d", i, n) // a new worker each time, so that it claims nothing twice
					claims, err := st.Claim(context.Background(), storage.ClaimRequest{Worker: worker, Limit: 7, LockTTL: time.Minute})
					if err != nil {
						t.Errorf("claim: %v", err)
						return
					}
					addHolder(worker, claims.Claims)
				}
			})
		}
		wg.Wait()
		require.Len(t, holders, schedules)
		for id, worker := range holders {
			require.Equal(t, worker, readSchedule(t, s, id).LockedBy)
		}
	})
}

// L1: a replica leaves out rows that another transaction has locked, and claims
// the others without waiting.
func TestReplicasDoNotWaitForEachOther(t *testing.T) {
	db := dbtest.Postgres(t)
	now := newClock(noon.Add(-time.Minute))
	s := newSyncedReplica(t, db.DB, newConfig(now, hourly("a"), hourly("b")))
	now.Set(noon)
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Exec("SELECT id FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Len(t, readRuns(t, s, "b"), 1)
	require.NoError(t, other.Rollback().Error)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Len(t, readRuns(t, s, "a"), 1)
}

// L1, L3: of all claims of a schedule only the newest is valid, even if the
// same worker made an older one.
func TestOnlyNewestClaimIsValid(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(now, hourly("a")))
		now.Set(noon)
		st := bindStore(t, db.DB, now.Now)
		advance := func(worker string, claim storage.Claim) int {
			ids, err := st.Advance(t.Context(), worker, []storage.Advance{{Claim: claim, Through: noon, Next: noon.Add(time.Hour)}})
			require.NoError(t, err)
			return len(ids)
		}
		first := claimAs(t, st, "w1", 1)[0]
		second := claimAs(t, st, "w1", 1)[0]
		require.Zero(t, advance("w1", first), "the version is stale")
		now.Advance(6 * time.Minute)
		third := claimAs(t, st, "w2", 1)[0]
		require.Zero(t, advance("w1", second))
		require.Zero(t, advance("w1", third), "the holder differs")
		require.Equal(t, 1, advance("w2", third))
		require.Zero(t, advance("w2", third))
	})
}

// L1, L3: several replicas with several connections each fire every slot once.
func TestReplicasWithManyConnectionsFireSlotsOnce(t *testing.T) {
	for path, p := range batchPaths {
		t.Run(path, func(t *testing.T) {
			db := dbtest.Postgres(t)
			now := newClock(noon.Add(-time.Minute))
			var replicas []*hourbell.Scheduler
			for range 3 {
				replicas = append(replicas, newSyncedReplica(t, db.Open(t, nil), hourbell.Config{
					Definitions: manyHourly(300), BatchSize: 20, Connections: 3, Now: now.Now, Enqueuer: p.enqueuer,
				}))
			}
			for _, s := range replicas {
				require.Zero(t, tick(t, s).Claimed)
			}
			now.Set(noon)
			var wg sync.WaitGroup
			reports, errs := make([]hourbell.TickReport, len(replicas)), make([]error, len(replicas))
			for i, s := range replicas {
				wg.Go(func() { reports[i], errs[i] = s.Tick(t.Context()) })
			}
			wg.Wait()
			fired, lost := 0, 0
			for i := range replicas {
				require.NoError(t, errs[i])
				fired, lost = fired+reports[i].Fired, lost+reports[i].LockLost
			}
			require.Equal(t, []int{300, 0}, []int{fired, lost})
			requireFiredOnceAtNoon(t, replicas[0], 300)
		})
	}
}

// L2: a lock older than LockTTL is taken over, and an event records it.
func TestStalledLockIsTakenOver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		holder := claimAndKill(t, db.DB, cfg, "a")
		now.Advance(5*time.Minute - time.Microsecond)
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(time.Microsecond)
		require.Equal(t, 1, tick(t, s).Fired)
		events := readEvents(t, s, "a", hourbell.EventLockExpired)
		require.Len(t, events, 1)
		require.Contains(t, events[0].Detail, holder)
		require.Equal(t, workerID(t, s), events[0].Actor)
	})
}

// L2: the lock of a worker that has stopped is taken over at once.
func TestLockOfStoppedWorkerIsTakenOverAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		holder := claimAndKill(t, db.DB, cfg, "a")
		st := bindStore(t, db.DB, now.Now)
		heartbeatAs(t, st, holder)
		require.Zero(t, tick(t, s).Claimed)
		require.NoError(t, st.StopWorker(t.Context(), holder))
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// L2: the lock of a worker that has missed three heartbeats is taken over at
// once, however recent it is.
func TestLockOfDeadWorkerIsTakenOverAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		holder := claimAndKill(t, db.DB, cfg, "a")
		heartbeatAs(t, bindStore(t, db.DB, now.Now), holder)
		now.Advance(30 * time.Second)
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(time.Microsecond)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// L2: a worker whose claim succeeded but whose response was lost claims the
// schedule again. It does not wait for its own lock to expire.
func TestWorkerReclaimsItsOwnSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		newSyncedReplica(t, db.DB, cfg)
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error { return errLostResponse })}, cfg)
		now.Set(noon)
		_, err := s.Tick(t.Context())
		require.ErrorIs(t, err, errLostResponse)
		require.Equal(t, workerID(t, s), readSchedule(t, s, "a").LockedBy)
		now.Advance(time.Second)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Empty(t, readEvents(t, s, "a", hourbell.EventLockExpired), "nothing is taken over")
	})
}

// L2: each start of a process is a new worker. A Scheduler that runs again
// after it has stopped is the same worker, which is active again.
func TestEveryStartIsNewWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}}
		s := newReplica(t, db.DB, cfg)
		stop := startLoop(t, s)
		await(t, "a worker", func() bool { return len(readWorkers(t, s)) == 1 })
		first := readWorkers(t, s)[0]
		require.ErrorContains(t, s.Run(t.Context()), "already running")
		require.NoError(t, stop())
		require.False(t, readWorkers(t, s)[0].Active)
		startLoop(t, s)
		await(t, "the worker is active again", func() bool { return readWorkers(t, s)[0].Active })
		again := readWorkers(t, s)[0]
		require.Equal(t, first.ID, again.ID)
		require.Zero(t, again.StoppedAt)
		require.True(t, again.StartedAt.After(first.StartedAt))

		startLoop(t, newReplica(t, db.DB, cfg))
		await(t, "a second worker", func() bool { return len(readWorkers(t, s)) == 2 })
		workers := readWorkers(t, s)
		require.NotEqual(t, workers[0].ID, workers[1].ID)
	})
}

// L3: a worker that resumes after its schedule was taken over and fired fires
// nothing and changes nothing.
func TestResumedHolderFiresNothing(t *testing.T) {
	for _, step := range []string{"after claim", "before begin"} {
		t.Run(step, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				cfg := newConfig(now, hourly("a"))
				successor := newSyncedReplica(t, db.DB, cfg)
				var settled hourbell.Schedule
				holder := newPausedReplica(t, db.DB, cfg, step, func() {
					now.Advance(6 * time.Minute)
					require.Equal(t, 1, tick(t, successor).Fired)
					settled = readSchedule(t, successor, "a")
				})
				now.Set(noon)
				report := tick(t, holder)
				require.Equal(t, 1, report.LockLost)
				require.Zero(t, report.Fired+report.Enqueued+report.Skipped)
				require.Equal(t, settled, readSchedule(t, successor, "a"))
				require.Len(t, readRuns(t, successor, "a"), 1)
				require.Empty(t, skipTexts(t, successor, "a"))
			})
		})
	}
}

// L3: releasing a claim that another worker has taken over changes nothing.
func TestResumedHolderCannotReleaseLockOfAnother(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		observer := newSyncedReplica(t, db.DB, cfg)
		var taken hourbell.Schedule
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return hourbell.ErrUnavailable })
		holder := newPausedReplica(t, db.DB, cfg, "before release", func() {
			now.Advance(6 * time.Minute)
			claimAndKill(t, db.DB, cfg, "a")
			taken = readSchedule(t, observer, "a")
		})
		now.Set(noon)
		_, err := holder.Tick(t.Context())
		require.ErrorIs(t, err, hourbell.ErrUnavailable)
		require.NotEqual(t, workerID(t, holder), taken.LockedBy)
		require.Equal(t, taken, readSchedule(t, observer, "a"))
	})
}

// L3: a failure of a claim that another worker has taken over is not recorded.
func TestResumedHolderCannotRecordFailure(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		successor := newSyncedReplica(t, db.DB, cfg)
		failed := false
		broken := cfg
		broken.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			failed = true
			return errors.New("broken")
		})
		var settled hourbell.Schedule
		holder := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before begin" && failed { // the transaction that records the failure
				now.Advance(6 * time.Minute)
				require.Equal(t, 1, tick(t, successor).Fired)
				settled = readSchedule(t, successor, "a")
			}
			return nil
		}}, broken)
		now.Set(noon)
		tick(t, holder)
		require.NotZero(t, settled)
		require.Equal(t, settled, readSchedule(t, successor, "a"))
		require.Empty(t, readEvents(t, successor, "a", hourbell.EventEnqueueFailed))
	})
}

// L3: the unique index is the backstop. A slot that already has its run is
// advanced without another run. That is not a failure, and the schedules of the
// same batch fire.
func TestSlotWithRunIsNotEnqueuedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		var log logBuffer
		feed := hourly("a")
		feed.Target = hourbell.Group("feed")
		cfg := newConfig(now, feed, hourly("b"))
		cfg.Logger = log.logger()
		s := newSyncedReplica(t, db.DB, cfg)
		_, err := bindStore(t, db.DB, now.Now).InsertRuns(t.Context(), []hourbell.JobRun{
			{Job: "import", Trigger: hourbell.TriggerCron, ScheduleID: "a", ScheduledFor: noon},
		}, "")
		require.NoError(t, err)
		now.Set(noon)
		report := tick(t, s)
		require.Equal(t, 1, report.Fired, "b")
		require.Zero(t, report.Failed)
		require.Len(t, readRuns(t, s, "a"), 1, "the second job of the fire is not enqueued either")
		require.Len(t, readRuns(t, s, "b"), 1)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Zero(t, readSchedule(t, s, "a").ConsecutiveFailures)
		require.Contains(t, log.String(), "already fired")
	})
}

// L4: the worker that takes over the schedule of a killed worker fires its
// slot, even if the slot is out of grace by then.
func TestTakeoverFiresSlotOfKilledWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		successor := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(2 * time.Minute)) // the end of grace
		claimAndKill(t, db.DB, cfg, "a")
		now.Set(noon.Add(9 * time.Minute)) // the unfinished claim is not abandoned yet
		require.Equal(t, 1, tick(t, successor).Fired)
		require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, successor, "a")))
		require.Empty(t, skipTexts(t, successor, "a"))
		require.Zero(t, readSchedule(t, successor, "a").UnfinishedSince, "settled")
	})
}

// L4: of the slots that came due during an unfinished claim, a takeover fires
// only the latest.
func TestTakeoverFiresLatestSlotOnly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		often := hourly("a")
		often.Cron = "*/3 * * * *"
		cfg := newConfig(now, often)
		successor := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		claimAndKill(t, db.DB, cfg, "a")
		now.Set(noon.Add(5*time.Minute + 30*time.Second)) // the slot of 12:03 is out of grace
		report := tick(t, successor)
		require.Equal(t, 1, report.Fired)
		require.Equal(t, []time.Time{noon.Add(3 * time.Minute)}, firedSlots(readRuns(t, successor, "a")))
		require.Equal(t, []string{"SUPERSEDED 12:00:00-12:00:00 1"}, skipTexts(t, successor, "a"))
	})
}

// L4: an unfinished claim is abandoned if no worker touches the row for LockTTL
// plus grace.
func TestUnfinishedClaimIsAbandoned(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		successor := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		claimAndKill(t, db.DB, cfg, "a")
		now.Advance(7*time.Minute + time.Microsecond)
		report := tick(t, successor)
		require.Zero(t, report.Fired)
		require.Equal(t, 1, report.Skipped)
		require.Equal(t, []string{"ABANDONED 12:00:00-12:00:00 1"}, skipTexts(t, successor, "a"))
	})
}

// L4: each claim keeps an unfinished claim open, however many there are.
func TestClaimsKeepUnfinishedClaimOpen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		successor := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		for range 5 {
			claimAndKill(t, db.DB, cfg, "a")
			require.Equal(t, noon, readSchedule(t, successor, "a").UnfinishedSince, "the time of the first claim")
			now.Advance(6 * time.Minute)
		}
		require.Equal(t, 1, tick(t, successor).Fired)
		require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, successor, "a")))
	})
}

// L4: a failed attempt within grace keeps the unfinished claim open.
func TestFailedAttemptKeepsUnfinishedClaimOpen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		broken := true
		cfg := newConfig(now, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			if broken {
				return errors.New("broken")
			}
			return nil
		})
		s := newSyncedReplica(t, db.DB, cfg)
		for now.Set(noon); now.Now().Before(noon.Add(10 * time.Minute)); now.Advance(time.Minute) {
			require.Equal(t, 1, tick(t, s).Failed)
		}
		broken = false
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, s, "a")))
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// L4: a claim within grace opens an unfinished claim even after a late claim of
// an earlier slot, whose holder was killed before it recorded the skip.
func TestUnfinishedClaimOpensAfterLateClaim(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		often := hourly("a")
		often.Cron = "*/5 * * * *"
		cfg := newConfig(now, often)
		successor := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(4 * time.Minute)) // too late for the slot of 12:00
		claimAndKill(t, db.DB, cfg, "a")
		now.Set(noon.Add(5 * time.Minute)) // on time for the slot of 12:05
		require.NoError(t, successor.Unlock(t.Context(), "a", hourbell.ChangeOptions{}))
		claimAndKill(t, db.DB, cfg, "a")
		now.Set(noon.Add(7*time.Minute + 30*time.Second)) // out of grace
		require.NoError(t, successor.Unlock(t.Context(), "a", hourbell.ChangeOptions{}))
		require.Equal(t, 1, tick(t, successor).Fired)
		require.Equal(t, []time.Time{noon.Add(5 * time.Minute)}, firedSlots(readRuns(t, successor, "a")))
		require.Equal(t, []string{"LATE 12:00:00-12:00:00 1"}, skipTexts(t, successor, "a"))
	})
}

// L4: a claim out of grace opens no unfinished claim.
func TestLateClaimOpensNoUnfinishedClaim(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(3 * time.Minute))
		claimAndKill(t, db.DB, cfg, "a")
		now.Advance(5 * time.Minute)
		require.Zero(t, tick(t, s).Fired)
		require.Equal(t, []string{"LATE 12:00:00-12:00:00 1"}, skipTexts(t, s, "a"))
	})
}

// L5: an operator can unlock a schedule. Its holder can then no longer fire it,
// and other workers can claim it at once.
func TestOperatorUnlocksSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		other := newSyncedReplica(t, db.DB, cfg)
		holder := newPausedReplica(t, db.DB, cfg, "after claim", func() {
			require.Zero(t, tick(t, other).Claimed)
			require.NoError(t, other.Unlock(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", Note: "stuck"}))
			require.Empty(t, readSchedule(t, other, "a").LockedBy)
			require.Equal(t, 1, tick(t, other).Fired)
		})
		now.Set(noon)
		require.Equal(t, 1, tick(t, holder).LockLost)
		require.Len(t, readRuns(t, other, "a"), 1)
		events := readEvents(t, other, "a", hourbell.EventUnlocked)
		require.Len(t, events, 1)
		require.Equal(t, "ann", events[0].Actor)
		require.Equal(t, "stuck", events[0].Note)
		require.Contains(t, events[0].Detail, workerID(t, holder))

		require.NoError(t, other.Unlock(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann"}))
		require.Len(t, readEvents(t, other, "a", hourbell.EventUnlocked), 1, "unlocking an unlocked schedule does nothing")
		require.ErrorIs(t, other.Unlock(t.Context(), "x", hourbell.ChangeOptions{}), hourbell.ErrUnknownSchedule)
	})
}

// L5: Unlock clears a lock only if its holder is the one that the operator saw.
func TestUnlockRequiresMatchingHolder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(time.Hour))
		newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourly("a")))
		s := newReplica(t, db.DB, newConfig(c, hourly("a")))
		require.Len(t, claimAs(t, bindStore(t, db.DB, c.Now), "w", 1), 1)
		before := readSchedule(t, s, "a")
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "another"}), hourbell.ErrChanged)
		require.Equal(t, before, readSchedule(t, s, "a"))
		require.NoError(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "w"}))
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "w"}), hourbell.ErrChanged)
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
	})
}

// L5, O3: a clean stop releases the claims that have not fired. They stay
// unfinished, so that another worker fires the slot.
func TestCleanStopReleasesLocks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"), hourly("b"))
		successor := newSyncedReplica(t, db.DB, cfg)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		failing := true
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			if failing {
				return errors.New("broken")
			}
			stop()
			return nil
		})
		s := newReplica(t, db.DB, cfg)
		now.Set(noon)
		require.Equal(t, 2, tick(t, s).Failed) // from now on each schedule fires in a batch of its own
		failing = false
		now.Advance(time.Second)
		report, err := s.Tick(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, report.Claimed)
		require.Equal(t, 1, report.Fired, "the fire in progress ends, and no other begins")

		now.Set(noon.Add(5 * time.Minute))
		require.Equal(t, 1, tick(t, successor).Fired)
		for _, id := range []string{"a", "b"} {
			require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, successor, id)))
		}
	})
}

// L6: a change that was computed from a stale row reads the row again. Here
// another replica fires the due slot first, so the change must not record it as
// skipped.
func TestChangeRetriesAfterConcurrentFire(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		other := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour))
		raced := false
		err := action.run(t.Context(), c, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			raced = true
			report, err := other.Tick(t.Context())
			require.Equal(t, 2, report.Fired)
			return err
		})})
		require.NoError(t, err)
		require.True(t, raced)
		require.Len(t, readRuns(t, other, "a"), 1)
		require.Empty(t, skipTexts(t, other, "a"))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, other, "a").SettledThrough)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, other, "a").LastScheduledFor)
	})
}

// L6: Enable uses the expression that is stored when it writes, not the one
// that it read before.
func TestEnableRetriesAfterDefinitionChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("other")))
		d := hourly("a")
		d.EnabledByDefault = false
		newSyncedReplica(t, db.DB, newConfig(c, d, hourly("other")))
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			d.Cron = "*/20 * * * *"
			return syncDefinitions(t.Context(), store.New(db.DB), configWithJobs(c, d, hourly("other")))
		})}, newConfig(c))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		require.Equal(t, noon.Add(20*time.Minute), readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventChanged, hourbell.EventEnabled}, eventKinds(t, s, "a"))
	})
}

// L6: of two concurrent Disable calls, the second finds the schedule disabled
// and writes nothing.
func TestConcurrentDisablesLeaveOneEvent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		first := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		second := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			return first.Disable(t.Context(), "a", ann)
		})}, newConfig(c))
		require.NoError(t, second.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: "bob"}))
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventSkipped, hourbell.EventDisabled}, eventKinds(t, first, "a"))
		require.Equal(t, "because", readSchedule(t, first, "a").EnabledNote)
	})
}

// L6: a sync that only renames a schedule reads the row again too. It keeps the
// concurrent Disable.
func TestSyncRetriesAfterConcurrentDisable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		other := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		renamed := hourly("a")
		renamed.Name = "renamed"
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			return other.Disable(t.Context(), "a", ann)
		})}, newConfig(c, renamed, hourly("b"), hourly("new")))
		require.NoError(t, s.Sync(t.Context()))
		a := readSchedule(t, s, "a")
		require.Equal(t, "renamed", a.Name)
		require.False(t, a.Enabled)
		require.Zero(t, a.NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, "new"), "the retry does not repeat what the first attempt wrote")
	})
}

// L6: a slot that comes due between read and write is recorded as skipped.
func TestChangeRecordsSlotDueMeanwhile(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour - time.Microsecond))
		err := action.run(t.Context(), c, &hookedStore{store.New(db.DB), hookOnce("before update-schedules", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})})
		require.NoError(t, err)
		require.Equal(t, []string{string(action.reason) + " 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").SettledThrough)
		tick(t, s)
		require.Empty(t, readRuns(t, s, "a"))
	})
}

// L6: a change of a row that others keep changing gives up with ErrBusy and
// leaves the row alone.
func TestChangeGivesUpOnBusyRow(t *testing.T) {
	newBusyStore := func(db *dbtest.DB) *hookedStore {
		return &hookedStore{store.New(db.DB), func(step string) error {
			if step != "before begin" {
				return nil
			}
			return db.Exec("UPDATE hourbell_schedules SET version = version + 1").Error
		}}
	}
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		require.ErrorIs(t, action.run(t.Context(), c, newBusyStore(db)), hourbell.ErrBusy)
		require.True(t, readSchedule(t, s, "a").Enabled)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, "a"))
	})
}
