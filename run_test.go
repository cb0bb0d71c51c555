package hourbell_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// impatient is a replica's config for tests on the database's own clock: its deadlines and pauses are of a second.
func impatient(log *logs) hourbell.Config {
	return hourbell.Config{
		Definitions: []hourbell.Definition{everySecond("s")}, LockTTL: 2 * time.Second,
		PollInterval: time.Second, Logger: log.logger(),
	}
}

// goesOn waits until the schedule has fired another slot.
func goesOn(t testing.TB, s *hourbell.Scheduler) {
	t.Helper()
	last := row(t, s, "s").LastScheduledFor
	await(t, "another slot fires", func() bool { return row(t, s, "s").LastScheduledFor.After(last) })
}

// closed checks the account of all slots settled so far by a loop that has stopped.
func closed(t testing.TB, s *hourbell.Scheduler) {
	t.Helper()
	r := row(t, s, "s")
	account(t, s, everySecond("s"), r.CreatedAt, r.SettledUntil)
}

// O1: the loop outlives the end of its connections, whenever it comes; no slot fires twice or is lost.
func TestRunOutlivesTheEndOfItsConnections(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	own := dbtest.DB{DSN: db.DSN + "&application_name=replica", Dialect: db.Dialect}
	var log logs
	s := replica(t, own.Open(t, nil), impatient(&log))
	watcher := replica(t, db.DB, impatient(&log))
	stop := running(t, s)
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })
	for range 3 {
		for range 10 { // in whatever it is at
			require.NoError(t, db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'replica' AND datname = current_database()").Error)
		}
		goesOn(t, watcher)
	}
	require.NoError(t, stop())
	closed(t, watcher)
}

// O1: the loop outlives a database that lets nobody in for a while.
func TestRunOutlivesADatabaseThatRefusesConnections(t *testing.T) {
	t.Parallel()
	db, elsewhere := dbtest.Postgres(t), dbtest.EmptyPostgres(t)
	own := dbtest.DB{DSN: db.DSN + "&application_name=replica", Dialect: db.Dialect}
	var name string
	require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
	var log logs
	stop := running(t, replica(t, own.Open(t, nil), impatient(&log)))
	watcher := replica(t, db.DB, impatient(&log))
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })

	require.NoError(t, elsewhere.Exec("ALTER DATABASE "+name+" ALLOW_CONNECTIONS false").Error)
	require.NoError(t, elsewhere.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'").Error)
	await(t, "ticks fail", func() bool { return strings.Count(log.String(), "tick failed") >= 2 })
	require.NoError(t, elsewhere.Exec("ALTER DATABASE "+name+" ALLOW_CONNECTIONS true").Error)
	watcher = replica(t, db.Open(t, nil), impatient(&log)) // the watcher's own connections were ended too
	goesOn(t, watcher)
	require.NoError(t, stop())
	closed(t, watcher)
}

// O1, O2: the loop outlives a network that is cut, and one that swallows everything in silence: every call has a
// deadline.
func TestRunOutlivesANetworkThatIsCutOrSilent(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	w := newWire(t, db)
	var log logs
	stop := running(t, replica(t, w.open(t), impatient(&log)))
	watcher := replica(t, db.DB, impatient(&log))
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })
	failures := func() int { return strings.Count(log.String(), "tick failed") }
	for _, fault := range []struct{ begin, end func() }{{w.Cut, w.Mend}, {w.Freeze, w.Thaw}} {
		before := failures()
		fault.begin()
		await(t, "ticks fail", func() bool { return failures() >= before+2 })
		fault.end()
		goesOn(t, watcher)
	}
	require.NoError(t, stop())
	closed(t, watcher)
}

// O1: the loop outlives a SQLite file that another process keeps locked for longer than a call may take.
func TestRunOutlivesALockedFile(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	var log logs
	stop := running(t, replica(t, brief(t, db), impatient(&log)))
	watcher := replica(t, db.DB, impatient(&log))
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Error)
	await(t, "ticks fail", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, other.Rollback().Error)
	goesOn(t, watcher)
	require.NoError(t, stop())
	closed(t, watcher)
}

// O1: a process that has itself not seen the database for 30 s cannot tell who is dead from who was cut off with it,
// and judges nobody for as long again.
func TestWhoWasCutOffJudgesNobodyDead(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		wall := newClock(noon)
		defer hourbell.SetWallClock(wall.Now)()
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		tick(t, s)
		now.Set(noon)
		holder := killedHolding(t, db.DB, cfg, "a")
		_, err := bound(t, db.DB, now.Now).Heartbeat(t.Context(), hourbell.Worker{ID: holder}, 30*time.Second)
		require.NoError(t, err)
		now.Advance(time.Minute) // the holder has missed its heartbeats

		wall.Advance(30*time.Second + time.Nanosecond)
		require.Zero(t, tick(t, s).Claimed, "silent for too long itself")
		wall.Advance(30 * time.Second)
		require.Zero(t, tick(t, s).Claimed, "back, but not for long enough")
		wall.Advance(time.Nanosecond)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// O2: a process that is stopped in the transaction that fires (here: its network is, so that the server hears nothing
// of it any more) does not keep its rows. The server ends the transaction, and another replica fires.
func TestAProcessStoppedInMidTransactionDoesNotKeepItsRows(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	w := newWire(t, db)
	var log logs
	stalled := make(chan struct{})
	cfg := impatient(&log)
	cfg.Enqueuer = enqueuer(func(ctx context.Context, _ hourbell.Tx, _ []hourbell.JobRun) error {
		w.Freeze()
		close(stalled)
		<-ctx.Done()
		return ctx.Err()
	})
	s := synced(t, w.open(t), cfg)
	ended := make(chan error, 1)
	go func() {
		for {
			if report, err := s.Tick(context.Background()); err != nil || report.Claimed > 0 {
				ended <- err
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	<-stalled
	var waiting int
	require.NoError(t, db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'").Scan(&waiting).Error)
	require.Equal(t, 1, waiting)

	heir := replica(t, db.DB, impatient(&log))
	await(t, "another replica fires", func() bool { return tick(t, heir).Fired > 0 })
	w.Thaw()
	require.Error(t, <-ended)
	closed(t, heir)
}

// brief is a pool that waits for a lock on a SQLite file for a tenth of a second: no deadline ends such a wait early.
// On Postgres it is a pool like any other.
func brief(t testing.TB, db *dbtest.DB) *gorm.DB {
	own := *db
	if own.Dialect == "sqlite" {
		own.DSN += "&_pragma=busy_timeout(100)"
	}
	return own.Open(t, nil)
}

// O2: what a person asks for never hangs on somebody else's lock.
func TestWhatAPersonAsksForDoesNotHang(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		off := hourly("off")
		off.EnabledByDefault = false
		changed := hourly("a")
		changed.Cron = "30 * * * *"
		cfg := definitions(now, hourly("a"), off)
		cfg.LockTTL = 2 * time.Second
		pool := brief(t, db)
		s := synced(t, pool, cfg)
		now.Set(noon)
		killedHolding(t, db.DB, cfg, "a")
		other := db.Begin()
		defer other.Rollback()
		require.NoError(t, other.Exec("UPDATE hourbell_schedules SET enabled_note = 'mine'").Error)
		cfg.Definitions = []hourbell.Definition{changed, off}
		for _, ask := range []func() error{
			func() error { return s.Enable(t.Context(), "off", hourbell.By{}) },
			func() error { return s.Disable(t.Context(), "a", hourbell.By{}) },
			func() error { return s.Unlock(t.Context(), "a", hourbell.By{}) },
			func() error { return replica(t, pool, cfg).Sync(t.Context()) },
		} {
			began := time.Now()
			require.ErrorIs(t, ask(), hourbell.ErrBusy)
			require.Less(t, time.Since(began), 5*time.Second)
		}
	})
}

// goroutines counts those that are in code of the package.
func goroutines() int {
	buffer := make([]byte, 1<<20)
	n := 0
	for _, stack := range bytes.Split(buffer[:runtime.Stack(buffer, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("hourbell/hourbell.")) {
			n++
		}
	}
	return n
}

// O3: told to stop, Run returns soon although the Enqueuer hangs. It gives its claims back, with their debts, marks
// its worker stopped, claims nothing more, and leaves no goroutine behind but the host's own.
func TestRunStopsSoonAlthoughTheEnqueuerHangs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		hanging, release := make(chan struct{}), make(chan struct{})
		cfg := definitions(now, hourly("a"), hourly("b"))
		watcher := synced(t, db.DB, cfg)
		var once sync.Once
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			once.Do(func() { close(hanging) })
			<-release
			return nil
		})
		var stopping atomic.Bool
		s := replicaOn(t, &stepped{store.New(db.Open(t, nil)), func(step string) error {
			if step == "before claim" && stopping.Load() {
				t.Error("claimed although it was told to stop")
			}
			return nil
		}}, cfg)
		now.Set(noon)
		stop := running(t, s)
		<-hanging
		stopping.Store(true)
		began := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(began), 7*time.Second)

		for _, id := range []string{"a", "b"} {
			r := row(t, watcher, id)
			require.Empty(t, r.LockedBy)
			require.Equal(t, noon, r.OwedSince)
			require.Equal(t, noon, r.NextRunAt)
			require.Zero(t, r.Failures, "a stop is nobody's failure")
			require.Empty(t, runsOf(t, watcher, id))
		}
		workers := workersOf(t, watcher)
		require.Len(t, workers, 1)
		require.NotZero(t, workers[0].StoppedAt)
		close(release)
		await(t, "no goroutine is left", func() bool { return goroutines() == 0 })

		now.Advance(5 * time.Minute)
		require.Equal(t, 2, tick(t, watcher).Fired, "another replica fires what was owed")
	})
}

// O3: the fire under way when the stop comes is finished.
func TestRunFinishesTheFireUnderWay(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		watcher := synced(t, db.DB, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Enqueuer = enqueuer(func(ctx context.Context, tx hourbell.Tx, _ []hourbell.JobRun) error {
			cancel()
			return tx.WithContext(ctx).Exec("SELECT 1").Error
		})
		now.Set(noon)
		require.NoError(t, replica(t, db.Open(t, nil), cfg).Run(ctx))
		require.Equal(t, []time.Time{noon}, slots(runsOf(t, watcher, "a")))
		require.NotZero(t, workersOf(t, watcher)[0].StoppedAt)
	})
}

// O3: a stop that comes while Run still syncs is a clean one.
func TestAStopWhileRunSyncsIsNoError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before insert", func() error {
			cancel()
			return nil
		})}, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
		require.NoError(t, s.Run(ctx))
		require.Empty(t, workersOf(t, s))
	})
}

// O3: a stop that comes while Run starts leaves no worker behind that seems to live.
func TestAStopWhileRunStartsLeavesNoLivingWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("after heartbeat", func() error {
			cancel()
			return nil
		})}, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
		require.NoError(t, s.Run(ctx))
		require.NotZero(t, workersOf(t, s)[0].StoppedAt)
	})
}

// T3: the connections that a slot takes are used shortly before it, each of them once, so that one that was idle for long, or
// has gone, delays no fire.
func TestTheLoopUsesItsConnectionsBeforeASlot(t *testing.T) {
	t.Parallel()
	for name, many := range map[string]struct{ schedules, lanes int }{"a few": {3, 1}, "a burst": {150, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Postgres(t)
			fire := slices.Repeat([]string{"before fire-on-time"}, many.lanes)
			want := slices.Concat(fire, slices.Repeat([]string{"after now"}, many.lanes), fire)
			var mu sync.Mutex
			var last []string
			var seen atomic.Bool
			var cfg hourbell.Config
			for i := range many.schedules {
				cfg.Definitions = append(cfg.Definitions, everySecond(fmt.Sprintf("s%03d", i)))
			}
			running(t, replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
				mu.Lock()
				defer mu.Unlock()
				if step == fire[0] || step == "after now" {
					last = append(last, step)
					last = last[max(len(last)-len(want), 0):]
					seen.Store(seen.Load() || slices.Equal(last, want))
				}
				return nil
			}}, cfg))
			await(t, strings.Join(want, ", "), seen.Load)
		})
	}
}

// T3: no slot waits for a connection that does not answer, and no more of them are spent on it.
func TestASlotDoesNotWaitForAConnectionThatHangs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}}
		watcher := synced(t, db.DB, cfg) // so that the loop's own sync has nothing to ask
		var hanging atomic.Int32
		release := make(chan struct{})
		s := replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
			if step == "before now" {
				hanging.Add(1)
				<-release
			}
			return nil
		}}, cfg)
		stop := running(t, s)
		letGo := sync.OnceFunc(func() { close(release) })
		t.Cleanup(letGo)
		await(t, "a question that hangs", func() bool { return hanging.Load() == 1 })
		goesOn(t, watcher)
		goesOn(t, watcher)
		require.EqualValues(t, 1, hanging.Load())
		letGo()
		await(t, "the next is asked", func() bool { return hanging.Load() > 1 })
		require.NoError(t, stop())
	})
}

// O4: an idle loop makes one claim a poll and nothing else, and this costs as many statements among 2,000 schedules
// as among ten.
func TestAnIdleLoopCostsOneClaimAPoll(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		perPoll := map[int]int64{}
		for _, n := range []int{10, 2000} {
			now := newClock(noon.Add(-time.Minute))
			handle, statements := counting(db.DB)
			var mu sync.Mutex
			steps := map[string]int{}
			const polls = 10
			ctx, cancel := context.WithCancel(t.Context())
			passes, first := 0, int64(0)
			cfg := definitions(now, manyHourly(n)...)
			cfg.PollInterval = 10 * time.Millisecond
			cfg.OnTick = func(hourbell.TickReport) {
				switch passes++; passes {
				case 1:
					first = statements.Load()
				case 1 + polls:
					perPoll[n] = (statements.Load() - first) / polls
					cancel()
				}
			}
			s := replicaOn(t, &stepped{store.New(handle), func(step string) error {
				mu.Lock()
				defer mu.Unlock()
				if verb, before := strings.CutPrefix(step, "before "); before {
					steps[verb]++
				}
				return nil
			}}, cfg)
			require.NoError(t, s.Sync(ctx))
			clear(steps)
			require.NoError(t, s.Run(ctx))
			require.Equal(t, 1+polls, steps["claim"])
			require.LessOrEqual(t, steps["heartbeat"], 3)
			delete(steps, "claim")
			delete(steps, "heartbeat")
			require.Empty(t, steps)
		}
		require.Equal(t, perPoll[10], perPoll[2000])
	})
}

// O4: a heartbeat that finds its row gone writes it again.
func TestAWorkerWhoseRowVanishedIsSeenAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon)
		s := synced(t, db.DB, definitions(now, hourly("a")))
		require.NoError(t, s.Beat(t.Context()))
		before := workersOf(t, s)
		require.NoError(t, db.Exec("DELETE FROM hourbell_workers").Error)
		require.NoError(t, s.Beat(t.Context()))
		require.Equal(t, before, workersOf(t, s))
	})
}

// O4: a heartbeat says that the process lives, LastTickAt that its loop does.
func TestAHeartbeatIsNotALoop(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, hourly("a")))
		tick(t, s)
		require.NoError(t, s.Beat(t.Context()))
		now.Advance(20 * time.Second)
		require.NoError(t, s.Beat(t.Context()))
		w := workersOf(t, s)[0]
		require.Equal(t, noon.Add(-time.Minute), w.LastTickAt)
		require.Equal(t, noon.Add(-40*time.Second), w.HeartbeatAt)
		require.Equal(t, noon.Add(-time.Minute), w.StartedAt)
	})
}

// O4: a loop that is busy for long is not taken for one that stands still.
func TestABusyLoopShowsThatItTicks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		var s *hourbell.Scheduler
		var seen time.Time
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			health, err := s.Health(context.Background())
			seen = health.LastTickAt
			return err
		})
		s = synced(t, db.DB, cfg)
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, noon, seen)
	})
}

// O6: whatever isolation the host has set as its default, replicas at once do not fail.
func TestReplicasDoNotFailUnderTheHostsIsolation(t *testing.T) {
	fires := 500
	if testing.Short() {
		fires = 100
	}
	for _, level := range []string{"serializable", `repeatable%20read`} {
		t.Run(level, func(t *testing.T) {
			db := *dbtest.Postgres(t)
			db.DSN += "&default_transaction_isolation=" + level
			f := newFleet(t, &db, 4, 60, false)
			f.until(fires)
			require.Zero(t, f.total.Failed)
			f.account()

			var asked string
			require.NoError(t, bound(t, db.Open(t, nil), nil).Transaction(t.Context(), time.Second, func(_ hourbell.Store, tx hourbell.Tx) error {
				return tx.Raw("SHOW transaction_isolation").Scan(&asked).Error
			}))
			require.Equal(t, "read committed", asked)
		})
	}
}
