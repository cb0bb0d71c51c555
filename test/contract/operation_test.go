package contract_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/store"
)

// O1: the loop survives the end of its sessions at any time. Each slot fires
// once or is recorded once as skipped.
func TestRunSurvivesTerminatedSessions(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	var log logBuffer
	stop := startLoop(t, newReplica(t, openNamedPool(t, db), newLoopConfig(&log)))
	observer := newReplica(t, db.DB, newLoopConfig(&log))
	awaitFirstFire(t, observer)
	for range 3 {
		for range 10 {
			endNamedSessions(t, db.DB)
		}
		awaitNextFire(t, observer)
	}
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
}

// O1: the loop survives a database that refuses connections for a while.
func TestRunSurvivesRefusedConnections(t *testing.T) {
	t.Parallel()
	db, otherDB := dbtest.Postgres(t), dbtest.EmptyPostgres(t)
	var name string
	require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
	var log logBuffer
	stop := startLoop(t, newReplica(t, openNamedPool(t, db), newLoopConfig(&log)))
	observer := newReplica(t, db.DB, newLoopConfig(&log))
	awaitFirstFire(t, observer)

	require.NoError(t, otherDB.Exec("ALTER DATABASE "+name+" ALLOW_CONNECTIONS false").Error)
	require.NoError(t, otherDB.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'").Error)
	await(t, "ticks fail", func() bool { return strings.Count(log.String(), "tick failed") >= 2 })
	require.NoError(t, otherDB.Exec("ALTER DATABASE "+name+" ALLOW_CONNECTIONS true").Error)
	observer = newReplica(t, db.Open(t, nil), newLoopConfig(&log)) // its sessions were ended too
	awaitNextFire(t, observer)
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
}

// O1, O2: the loop survives a network that closes all connections. It also
// survives one that delivers nothing, because each call has a deadline.
func TestRunSurvivesCutOrFrozenNetwork(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	network := newProxy(t, db)
	var log logBuffer
	stop := startLoop(t, newReplica(t, network.open(t), newLoopConfig(&log)))
	observer := newReplica(t, db.DB, newLoopConfig(&log))
	awaitFirstFire(t, observer)
	countFailures := func() int { return strings.Count(log.String(), "tick failed") }
	for _, fault := range []struct{ begin, end func() }{{network.cut, network.restore}, {network.freeze, network.thaw}} {
		before := countFailures()
		fault.begin()
		await(t, "ticks fail", func() bool { return countFailures() >= before+2 })
		fault.end()
		awaitNextFire(t, observer)
	}
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
}

// O1: the loop survives a SQLite file that another connection locks for longer
// than the loop's calls wait.
func TestRunSurvivesLockedSQLiteFile(t *testing.T) {
	t.Parallel()
	db := dbtest.SQLite(t)
	var log logBuffer
	stop := startLoop(t, newReplica(t, openImpatientPool(t, db), newLoopConfig(&log)))
	observer := newReplica(t, db.DB, newLoopConfig(&log))
	awaitFirstFire(t, observer)
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Error)
	await(t, "a tick fails", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, other.Rollback().Error)
	awaitNextFire(t, observer)
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
}

// O1: the loop survives a database that is read-only for a while, such as a
// standby before its promotion.
func TestRunSurvivesReadOnlyDatabase(t *testing.T) {
	testSurvivesFaults(t, map[string]databaseFault{
		"postgres": {alterDatabase("SET default_transaction_read_only = on"), alterDatabase("RESET default_transaction_read_only"), "SQLSTATE 25006"},
		"sqlite":   {executeInPool("PRAGMA query_only = ON"), executeInPool("PRAGMA query_only = OFF"), "readonly"},
	})
}

// O1: the loop survives a full disk. On SQLite a limit on pages simulates it,
// on Postgres a trigger that raises the server's error.
func TestRunSurvivesFullDisk(t *testing.T) {
	fillDisk := func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
		require.NoError(t, db.Exec(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END'`).Error)
		require.NoError(t, db.Exec("CREATE TRIGGER full_disk BEFORE INSERT ON hourbell_job_runs FOR EACH ROW EXECUTE FUNCTION full_disk()").Error)
	}
	testSurvivesFaults(t, map[string]databaseFault{
		"postgres": {fillDisk, execute("DROP TRIGGER full_disk ON hourbell_job_runs"), "No space left on device"},
		"sqlite":   {executeInPool("PRAGMA max_page_count = 1"), executeInPool("PRAGMA max_page_count = 1000000"), "database or disk is full"},
	})
}

// O1, O2: the loop survives a table that another session locks for longer than
// the loop's statements may take.
func TestRunSurvivesLockedTable(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"hourbell_job_runs", "hourbell_schedules"} {
		for path, p := range batchPaths {
			t.Run(table+", "+path, func(t *testing.T) {
				t.Parallel()
				var other *gorm.DB
				testSurvivesFault(t, dbtest.Postgres(t), databaseFault{
					begin: func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
						other = db.Begin()
						t.Cleanup(func() { other.Rollback() })
						require.NoError(t, other.Exec("LOCK TABLE "+table).Error)
					},
					end: func(t *testing.T, _ *dbtest.DB, _ *gorm.DB) { require.NoError(t, other.Rollback().Error) },
				}, p.enqueuer)
			})
		}
	}
}

// O1: the loop survives a crash of its server. The server ends all sessions and
// recovers when one of its processes is killed. The test has a server of its
// own.
func TestRunSurvivesServerCrash(t *testing.T) {
	t.Parallel()
	server, err := cluster.Start(t.Context())
	if errors.Is(err, cluster.ErrNoServer) {
		t.Skip("SERVER CRASH SKIPPED: no local server binaries; 'make test' installs them and runs everything")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	db := &dbtest.DB{DSN: server.URL, Dialect: "postgres"}
	db.DB = db.Open(t, nil)
	require.NoError(t, store.Migrate(t.Context(), db.DB))

	var log logBuffer
	stop := startLoop(t, newReplica(t, openNamedPool(t, db), newLoopConfig(&log)))
	observer := newReplica(t, db.DB, newLoopConfig(&log))
	awaitFirstFire(t, observer)
	for range 2 {
		var pid int
		require.NoError(t, db.Raw("SELECT pid FROM pg_stat_activity WHERE application_name = 'replica' LIMIT 1").Scan(&pid).Error)
		process, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.NoError(t, process.Kill())
		await(t, "the server has crashed and recovered", func() bool {
			n := -1
			err := db.Raw("SELECT count(*) FROM pg_stat_activity WHERE pid = ?", pid).Scan(&n).Error
			return err == nil && n == 0
		})
		db.DB = db.Open(t, nil) // the sessions of the observer were ended too
		observer = newReplica(t, db.DB, newLoopConfig(&log))
		awaitNextFire(t, observer)
	}
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
}

// O1: a process that has not reached the database for 30 s cannot distinguish
// dead workers from those that were cut off too. It declares no worker dead
// until it has reached the database for 30 s.
func TestReplicaDeclaresNoWorkerDeadAfterOutage(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		processClock := newClock(noon)
		defer setProcessClock(processClock.Now)()
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		tick(t, s)
		now.Set(noon)
		holder := claimAndKill(t, db.DB, cfg, "a")
		heartbeatAs(t, bindStore(t, db.DB, now.Now), holder)
		now.Advance(time.Minute) // the holder has missed its heartbeats

		processClock.Advance(30*time.Second + time.Nanosecond)
		require.Zero(t, tick(t, s).Claimed, "the replica has not reached the database for too long")
		processClock.Advance(30 * time.Second)
		require.Zero(t, tick(t, s).Claimed, "the replica has reached it, but not for long enough")
		processClock.Advance(time.Nanosecond)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// O1, E2: if one connection fails, the tick reports it. The other connections
// finish their batches, and each slot fires once.
func TestFaultOnOneConnectionLosesNoSlot(t *testing.T) {
	errGone := fmt.Errorf("%w: gone", hourbell.ErrUnavailable)
	for path := range batchPaths {
		t.Run(path, func(t *testing.T) {
			s, _, m := newMonitoredReplica(t, dbtest.Postgres(t), path, 2, 101)
			m.afterBatch = func(batch int) error {
				if batch == 1 {
					return errGone
				}
				return nil
			}
			_, err := s.Tick(t.Context())
			require.ErrorIs(t, err, hourbell.ErrUnavailable)
			require.LessOrEqual(t, m.batches, 3, "no connection began another batch")
			require.Less(t, len(readRuns(t, s, "")), 101)
			tick(t, s)
			requireFiredOnceAtNoon(t, s, 101)
		})
	}
}

// O2: the server ends the transaction of a process that is suspended while it
// fires, so that the process does not keep its rows. A frozen network simulates
// the suspension. Another replica fires the slot.
func TestServerEndsTransactionOfSuspendedProcess(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	network := newProxy(t, db)
	var log logBuffer
	frozen := make(chan struct{})
	cfg := newLoopConfig(&log)
	cfg.Enqueuer = enqueuerFunc(func(ctx context.Context, _ *gorm.DB, _ []hourbell.JobRun) error {
		network.freeze()
		close(frozen)
		<-ctx.Done()
		return ctx.Err()
	})
	s := newSyncedReplica(t, network.open(t), cfg)
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
	<-frozen
	var transactions int
	require.NoError(t, db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'").Scan(&transactions).Error)
	require.Equal(t, 1, transactions)

	successor := newReplica(t, db.DB, newLoopConfig(&log))
	await(t, "another replica fires", func() bool { return tick(t, successor).Fired > 0 })
	network.thaw()
	require.Error(t, <-ended)
	requireLoopLedger(t, successor)
}

// O2: an operator's call does not hang if another transaction locks the row. It
// fails with ErrBusy, as does a sync, which waits for longer.
func TestOperatorCallsDoNotHang(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		disabled := hourly("disabled")
		disabled.EnabledByDefault = false
		changed := hourly("a")
		changed.Cron = "30 * * * *"
		cfg := newConfig(now, hourly("a"), disabled)
		cfg.LockTTL = 2 * time.Second
		pool := openImpatientPool(t, db)
		s := newSyncedReplica(t, pool, cfg)
		now.Set(noon)
		claimAndKill(t, db.DB, cfg, "a")
		other := db.Begin()
		defer other.Rollback()
		require.NoError(t, other.Exec("UPDATE hourbell_schedules SET enabled_note = 'locked'").Error)
		cfg.Definitions = []hourbell.Definition{changed, disabled}
		for name, call := range map[string]func() error{
			"enable":  func() error { return s.Enable(t.Context(), "disabled", hourbell.ChangeOptions{}) },
			"disable": func() error { return s.Disable(t.Context(), "a", hourbell.ChangeOptions{}) },
			"unlock":  func() error { return s.Unlock(t.Context(), "a", hourbell.ChangeOptions{}) },
			"sync":    func() error { return newReplica(t, pool, cfg).Sync(t.Context()) },
		} {
			limit := 5 * time.Second
			if name == "sync" {
				limit = 20 * time.Second
			}
			start := time.Now()
			require.ErrorIs(t, call(), hourbell.ErrBusy, name)
			require.Less(t, time.Since(start), limit, name)
		}
	})
}

// O3: Run stops soon although the Enqueuer hangs. It releases its claims, which
// stay unfinished, marks its worker stopped, and claims nothing more. No
// goroutine remains after the Enqueuer has returned.
func TestRunStopsWhileEnqueuerHangs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		hanging, release := make(chan struct{}), make(chan struct{})
		releaseCall := sync.OnceFunc(func() { close(release) })
		t.Cleanup(releaseCall)
		cfg := newConfig(now, hourly("a"), hourly("b"))
		successor := newSyncedReplica(t, db.DB, cfg)
		signalHanging := sync.OnceFunc(func() { close(hanging) })
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			signalHanging()
			<-release
			return nil
		})
		var stopping atomic.Bool
		s := newReplicaWithStore(t, &hookedStore{store.New(db.Open(t, nil)), func(step string) error {
			if step == "before claim" && stopping.Load() {
				t.Error("claimed while stopping")
			}
			return nil
		}}, cfg)
		now.Set(noon)
		stop := startLoop(t, s)
		<-hanging
		stopping.Store(true)
		start := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(start), 7*time.Second)

		for _, id := range []string{"a", "b"} {
			stored := readSchedule(t, successor, id)
			require.Empty(t, stored.LockedBy)
			require.Equal(t, noon, stored.UnfinishedSince)
			require.Equal(t, noon, stored.NextRunAt)
			require.Zero(t, stored.ConsecutiveFailures, "a stop is not a failure")
			require.Empty(t, readRuns(t, successor, id))
		}
		workers := readWorkers(t, successor)
		require.Len(t, workers, 1)
		require.NotZero(t, workers[0].StoppedAt)
		releaseCall()
		await(t, "no goroutine of the library is left", func() bool { return countLibraryGoroutines() == 0 })

		now.Advance(5 * time.Minute)
		require.Equal(t, 2, tick(t, successor).Fired, "another replica fires the unfinished claims")
	})
}

// countLibraryGoroutines counts the goroutines in functions of package
// hourbell.
func countLibraryGoroutines() (count int) {
	buffer := make([]byte, 1<<20)
	for _, stack := range bytes.Split(buffer[:runtime.Stack(buffer, true)], []byte("\n\n")) {
		if bytes.Contains(stack, []byte("hourbell/hourbell.")) {
			count++
		}
	}
	return count
}

// O3: a stop lets the fire in progress finish.
func TestStopFinishesFireInProgress(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		observer := newSyncedReplica(t, db.DB, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Enqueuer = enqueuerFunc(func(ctx context.Context, tx *gorm.DB, _ []hourbell.JobRun) error {
			cancel()
			return tx.WithContext(ctx).Exec("SELECT 1").Error
		})
		now.Set(noon)
		require.NoError(t, newReplica(t, db.Open(t, nil), cfg).Run(ctx))
		require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, observer, "a")))
		require.NotZero(t, readWorkers(t, observer)[0].StoppedAt)
	})
}

// O3: a stop ends the work of all connections. Each finishes its batch and
// begins no other.
func TestStopEndsAllConnections(t *testing.T) {
	for path := range batchPaths {
		t.Run(path, func(t *testing.T) {
			db := dbtest.Postgres(t)
			s, now, m := newMonitoredReplica(t, db, path, 2, 101)
			ctx, stop := context.WithCancel(t.Context())
			m.afterBatch = func(int) error { stop(); return nil }
			_, err := s.Tick(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.LessOrEqual(t, m.batches, 3)
			successor := newReplica(t, db.DB, hourbell.Config{Definitions: manyHourly(101), Now: now.Now})
			tick(t, successor)
			requireFiredOnceAtNoon(t, successor, 101)
		})
	}
}

// O3: a stop during the first sync of Run is a clean stop.
func TestStopDuringSyncIsClean(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newPausedReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}}, "before insert-schedules", cancel)
		require.NoError(t, s.Run(ctx))
		require.NotZero(t, readWorkers(t, s)[0].StoppedAt)
		_, err := s.Schedule(t.Context(), "a")
		require.ErrorIs(t, err, hourbell.ErrUnknownSchedule)
	})
}

// O3: a stop while Run registers its worker leaves the worker marked stopped.
func TestStopDuringStartMarksWorkerStopped(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newPausedReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}}, "after heartbeat", cancel)
		require.NoError(t, s.Run(ctx))
		require.NotZero(t, readWorkers(t, s)[0].StoppedAt)
	})
}

// testGoroutines are parts of the stacks of goroutines that belong to the test:
// its pools, which its cleanup closes, and its proxy.
var testGoroutines = []string{"connectionOpener", "contract_test.newProxy", "contract_test.(*proxy)"}

// requireNothingLeft checks that soon after the end of Run no goroutine of the
// library is left and no connection of its pool is in use, and that the server
// has no transaction and no lock of it.
func requireNothingLeft(t *testing.T, db *dbtest.DB, pool *gorm.DB) {
	t.Helper()
	requireNoGoroutinesExcept(t, pool, testGoroutines...)
	if db.Dialect == "sqlite" {
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET enabled_note = enabled_note").Error, "the file is not locked")
		return
	}
	await(t, "the server has no transaction and no lock of the pool", func() bool {
		var left int
		require.NoError(t, db.Raw(`SELECT count(*) FROM pg_stat_activity a WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND backend_type = 'client backend' AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid))`).Scan(&left).Error)
		return left == 0
	})
}

// requireNoGoroutinesExcept checks that no goroutine is left except those with
// one of the given functions in their stack, and that no connection is in use.
func requireNoGoroutinesExcept(t *testing.T, pool *gorm.DB, functions ...string) {
	t.Helper()
	require.Empty(t, leaktest.Find(30*time.Second, append(functions, testGoroutines...)...))
	connections, err := pool.DB()
	require.NoError(t, err)
	await(t, "no connection is in use", func() bool { return connections.Stats().InUse == 0 })
}

// O3: a clean stop leaves nothing of the loop running.
func TestCleanStopLeavesNothingRunning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		pool := db.Open(t, nil)
		var log logBuffer
		observer := newSyncedReplica(t, db.DB, newLoopConfig(&log))
		stop := startLoop(t, newReplica(t, pool, newLoopConfig(&log)))
		awaitNextFire(t, observer)
		require.NotEmpty(t, leaktest.Find(0, testGoroutines...), "leaktest sees the goroutines of a running loop")
		require.NoError(t, stop())
		requireNothingLeft(t, db, pool)
	})
}

// O3: a start that fails leaves nothing running, whichever step fails.
func TestFailedStartLeavesNothingRunning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for i, step := range []string{
			"before begin", "before insert-schedules", "after insert-schedules", "before commit", "before heartbeat", "after heartbeat",
		} {
			errBroken := errors.New("broken " + step)
			pool := db.Open(t, nil)
			s := newReplicaWithStore(t, &hookedStore{store.New(pool), hookOnce(step, func() error { return errBroken })}, hourbell.Config{
				Definitions: []hourbell.Definition{hourly("a")}, Namespace: fmt.Sprint("start-", i),
			})
			require.ErrorIs(t, s.Run(t.Context()), errBroken)
			requireNothingLeft(t, db, pool)
		}
	})
}

// O1, O3: a stop during a database outage leaves nothing running. The server
// ends the transactions of connections that are cut.
func TestStopDuringOutageLeavesNothingRunning(t *testing.T) {
	db := dbtest.Postgres(t)
	network := newProxy(t, db)
	pool := network.open(t)
	var log logBuffer
	stop := startLoop(t, newReplica(t, pool, newLoopConfig(&log)))
	awaitNextFire(t, newSyncedReplica(t, db.DB, newLoopConfig(&log)))
	network.cut()
	await(t, "a tick fails", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, stop())
	requireNothingLeft(t, db, pool)
}

// O3: a stop while the Enqueuer hangs leaves only the host's own call running.
// Nothing is left after that has returned.
func TestStopLeavesOnlyHangingEnqueuerRunning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		pool := db.Open(t, nil)
		hanging, release := make(chan struct{}), make(chan struct{})
		releaseCall := sync.OnceFunc(func() { close(release) })
		t.Cleanup(releaseCall)
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			close(hanging)
			<-release
			return nil
		})
		s := newSyncedReplica(t, pool, cfg)
		now.Set(noon)
		stop := startLoop(t, s)
		<-hanging
		require.NoError(t, stop())
		requireNoGoroutinesExcept(t, pool, "(*Scheduler).callEnqueuer")
		require.Len(t, leaktest.Find(0, testGoroutines...), 1, "the library cannot end the host's call")
		releaseCall()
		requireNothingLeft(t, db, pool)
	})
}

// O1, O4: health reports a stalled loop of its own process, even if the
// database is unavailable.
func TestHealthDetectsStalledLoop(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		unavailable := make(chan struct{})
		st := &hookedStore{store.New(db.DB), func(reached string) error {
			select {
			case <-unavailable:
				return errors.New("database unavailable")
			default:
				return nil
			}
		}}
		s := newReplicaWithStore(t, st, hourbell.Config{LockTTL: time.Second, PollInterval: 50 * time.Millisecond})
		h, err := s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled})

		stop := startLoop(t, s)
		await(t, "a tick", func() bool { h, err := s.Health(t.Context()); return err == nil && h.Running && !h.LastTickAt.IsZero() })
		close(unavailable)
		await(t, "health reports the stalled loop", func() bool { h, _ := s.Health(t.Context()); return h.Stalled })
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		h, err = s.Health(canceled)
		require.Error(t, err)
		require.Equal(t, []bool{true, true, false}, []bool{h.Running, h.Stalled, h.LastTickAt.IsZero()})

		require.NoError(t, stop())
		h, err = s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled}, "a stopped loop is not stalled")
	})
}

// O4: an idle loop sends one claim for each poll and nothing else. It takes as
// many statements for 2,000 schedules as for ten.
func TestIdleLoopSendsOneClaimPerPoll(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		statementsPerPoll := map[int]int64{}
		for _, schedules := range []int{10, 2000} {
			now := newClock(noon.Add(-time.Minute))
			counted, statements := countStatements(db.DB)
			var mu sync.Mutex
			operations := map[string]int{}
			const polls = 10
			ctx, cancel := context.WithCancel(t.Context())
			ticks, first := 0, int64(0)
			cfg := newConfig(now, manyHourly(schedules)...)
			cfg.PollInterval = 10 * time.Millisecond
			cfg.OnTick = func(hourbell.TickReport) {
				switch ticks++; ticks {
				case 1:
					first = statements.Load()
				case 1 + polls:
					statementsPerPoll[schedules] = (statements.Load() - first) / polls
					cancel()
				}
			}
			s := newReplicaWithStore(t, &hookedStore{store.New(counted), func(step string) error {
				mu.Lock()
				defer mu.Unlock()
				if operation, ok := strings.CutPrefix(step, "before "); ok {
					operations[operation]++
				}
				return nil
			}}, cfg)
			require.NoError(t, s.Sync(ctx))
			clear(operations)
			require.NoError(t, s.Run(ctx))
			require.Equal(t, 1+polls, operations["claim"])
			require.LessOrEqual(t, operations["heartbeat"], 3)
			delete(operations, "claim")
			delete(operations, "heartbeat")
			require.Empty(t, operations)
		}
		require.Equal(t, statementsPerPoll[10], statementsPerPoll[2000])
	})
}

// O4: a tick sends as many statements for 1,000 due schedules as for one. So do
// a sync and a tick that finds nothing.
func TestStatementsPerTickAreConstant(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		type statementCounts struct{ sync, due, skip, idle int64 }
		measure := func(schedules int) (c statementCounts) {
			now := newClock(noon.Add(-time.Minute))
			counted, statements := countStatements(db.DB)
			s := newReplica(t, counted, hourbell.Config{
				Definitions: manyHourly(schedules), BatchSize: 2000, Now: now.Now, Namespace: fmt.Sprintf("n%d", schedules),
			})
			count := func(action func()) int64 {
				before := statements.Load()
				action()
				return statements.Load() - before
			}
			c.sync = count(func() { require.NoError(t, s.Sync(t.Context())) })
			now.Set(noon)
			c.due = count(func() { require.Equal(t, schedules, tick(t, s).Fired) })
			c.idle = count(func() { require.Zero(t, tick(t, s).Claimed) })
			now.Advance(90 * time.Minute)
			c.skip = count(func() { require.Equal(t, schedules, tick(t, s).Skipped) })
			return c
		}
		one, thousand := measure(1), measure(1000)
		if db.Dialect == "postgres" {
			one.skip++ // two connections share 1,000 late schedules
		}
		require.Equal(t, one, thousand)
		t.Logf("statements, with begin and commit: %+v", thousand)
	})
}

// O4: a loop that is busy for long still updates LastTickAt.
func TestBusyLoopUpdatesLastTick(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		var s *hourbell.Scheduler
		var lastTick time.Time
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			health, err := s.Health(context.Background())
			lastTick = health.LastTickAt
			return err
		})
		s = newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, noon, lastTick)
	})
}

// If more is due than one batch, the replica uses as many connections as the
// host allows, and no more.
func TestConnectionsShareBatches(t *testing.T) {
	for path := range batchPaths {
		for connections := 1; connections <= 3; connections++ {
			t.Run(fmt.Sprint(path, connections), func(t *testing.T) {
				s, now, m := newMonitoredReplica(t, dbtest.Postgres(t), path, connections, 101)
				report := tick(t, s)
				require.Equal(t, []int{101, 101, 101, 0, 0, 0}, []int{report.Claimed, report.Fired, report.Enqueued, report.Skipped, report.Failed, report.LockLost})
				require.Equal(t, connections, m.maxActive)
				require.Equal(t, noon.Add(time.Hour), report.WakeAt)
				requireFiredOnceAtNoon(t, s, 101)
				require.Equal(t, now.Now(), readSchedule(t, s, "s000050").LastRunAt)
			})
		}
	}
}

// A connection that has fired its own batches takes those of a slower one.
func TestIdleConnectionTakesBatchesOfSlowOne(t *testing.T) {
	db := dbtest.Postgres(t)
	now := newClock(noon.Add(-time.Minute))
	var slow atomic.Bool
	var observer *hourbell.Scheduler
	s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(step string) error {
		if step == "before fire-on-time" && !slow.Swap(true) { // in the first batch
			await(t, "other connections fire all other batches", func() bool { return len(readRuns(t, observer, "")) >= 101-10 })
		}
		return nil
	}}, hourbell.Config{Definitions: manyHourly(101), BatchSize: 10, Connections: 3, Now: now.Now})
	observer = newSyncedReplica(t, db.DB, hourbell.Config{Definitions: manyHourly(101), Now: now.Now})
	require.Zero(t, tick(t, s).Claimed)
	now.Set(noon)
	require.Equal(t, 101, tick(t, s).Fired)
	requireFiredOnceAtNoon(t, s, 101)
}

// A replica that comes after another has fired all batches finds nothing due.
// It learns that from at most two statements on each connection.
func TestLateReplicaFindsNothingDue(t *testing.T) {
	db := dbtest.Postgres(t)
	first, now, _ := newMonitoredReplica(t, db, "fast path", 2, 101)
	now.Set(noon.Add(-time.Minute))
	counter := &stepCounter{counts: map[string]int{}}
	second := newReplicaWithStore(t, &hookedStore{store.New(db.DB), counter.hook}, hourbell.Config{
		Definitions: manyHourly(101), BatchSize: 10, Connections: 2, Now: now.Now,
	})
	require.Zero(t, tick(t, second).Claimed)
	now.Set(noon)
	require.Equal(t, 101, tick(t, first).Fired)
	clear(counter.counts)
	report := tick(t, second)
	require.Zero(t, report.Claimed)
	require.Equal(t, noon.Add(time.Hour), report.WakeAt)
	require.LessOrEqual(t, counter.counts["before fire-on-time"], 4)
	require.Zero(t, counter.counts["before claim"])
}

// SQLite allows one writer at a time, so a replica uses one connection.
func TestSQLiteUsesOneConnection(t *testing.T) {
	now := newClock(noon.Add(-time.Minute))
	counter := &stepCounter{counts: map[string]int{}}
	s := newReplicaWithStore(t, &hookedStore{store.New(dbtest.SQLite(t).DB), counter.hook}, hourbell.Config{
		Definitions: manyHourly(35), BatchSize: 10, Connections: 3, Now: now.Now,
	})
	require.NoError(t, s.Sync(t.Context()))
	now.Set(noon)
	require.Equal(t, 35, tick(t, s).Fired)
	require.Equal(t, 5, counter.counts["before claim"], "three full claims, a partial one and an empty one")
	requireFiredOnceAtNoon(t, s, 35)
}

// O5: every operator change leaves an event with actor and note.
func TestOperatorChangesLeaveEvents(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		holder := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error { return errLostResponse })}, newConfig(c, hourly("a")))
		_, err := holder.Tick(ctx)
		require.ErrorIs(t, err, errLostResponse)
		version, worker := readSchedule(t, s, "a").Version, readSchedule(t, s, "a").LockedBy
		require.NotEmpty(t, worker)

		require.NoError(t, s.Unlock(ctx, "a", hourbell.ChangeOptions{Actor: "ann", Note: "stuck"}))
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
		require.Zero(t, readSchedule(t, s, "a").LockedAt)
		require.Greater(t, readSchedule(t, s, "a").Version, version)
		_, err = s.RunNow(ctx, "a", hourbell.EnqueueOptions{Actor: "bob", Note: "try"})
		require.NoError(t, err)
		require.NoError(t, s.Disable(ctx, "a", hourbell.ChangeOptions{Actor: "cem", Note: "enough"}))
		require.NoError(t, s.Enable(ctx, "a", hourbell.ChangeOptions{Actor: "dee", Note: "go on"}))

		want := []string{"ENABLED dee: go on", "DISABLED cem: enough", "SKIPPED cem: enough", "RUN_NOW bob: try", "UNLOCKED ann: stuck"}
		var got []string
		for _, e := range readEvents(t, s, "a", "")[:len(want)] {
			got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Actor, e.Note))
			require.Equal(t, c.Now(), e.At)
		}
		require.Equal(t, want, got)
		require.Contains(t, readEvents(t, s, "a", hourbell.EventUnlocked)[0].Detail, worker)
		requireNoWrites(t, db, func() { require.NoError(t, s.Unlock(ctx, "a", ann)) })
	})
}

// O6: replicas at the same time do not fail, whatever the host's default
// isolation level is. The library's transactions are READ COMMITTED.
func TestReplicasWorkUnderAnyDefaultIsolation(t *testing.T) {
	fires := 500
	if testing.Short() {
		fires = 100
	}
	for _, level := range []string{"serializable", `repeatable%20read`} {
		t.Run(level, func(t *testing.T) {
			db := *dbtest.Postgres(t)
			db.DSN += "&default_transaction_isolation=" + level
			f := newFleet(t, &db, 4, 60, false)
			f.runUntil(fires)
			require.Zero(t, f.total.Failed)
			f.requireLedgers()

			var isolation string
			require.NoError(t, bindStore(t, db.Open(t, nil), nil).Transaction(t.Context(), time.Second, func(_ hourbell.Store, tx *gorm.DB) error {
				return tx.Raw("SHOW transaction_isolation").Scan(&isolation).Error
			}))
			require.Equal(t, "read committed", isolation)
		})
	}
}

// O6: a fire that the server rejects with a serialization failure or a deadlock
// is retried at once, on both paths. That is not a failure.
func TestSerializationFailureIsRetried(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		for path, p := range batchPaths {
			t.Run(code+" "+path, func(t *testing.T) {
				s, _, _, db := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(3), Enqueuer: p.enqueuer})
				for _, statement := range []string{
					"CREATE SEQUENCE attempts", // counts those that are rolled back too
					`CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS
					'BEGIN IF nextval(''attempts'') <= 3 THEN RAISE EXCEPTION ''rejected'' USING ERRCODE = ''` + code + `''; END IF; RETURN NULL; END'`,
					"CREATE TRIGGER reject AFTER INSERT ON hourbell_job_runs FOR EACH STATEMENT EXECUTE FUNCTION reject()",
				} {
					require.NoError(t, db.Exec(statement).Error)
				}
				report := tick(t, s)
				require.Equal(t, []int{3, 3, 0, 0}, []int{report.Fired, report.Enqueued, report.Failed, report.Skipped})
				var attempts int
				require.NoError(t, db.Raw("SELECT last_value FROM attempts").Scan(&attempts).Error)
				require.Greater(t, attempts, 3)
				require.Empty(t, readEvents(t, s, "", hourbell.EventEnqueueFailed))
				require.Zero(t, readSchedule(t, s, "s000001").ConsecutiveFailures)
			})
		}
	}
}

// O1: Run waits for a database that is away at the start, and logs a warning.
func TestRunWaitsForDatabaseAtStart(t *testing.T) {
	db := dbtest.Postgres(t)
	p := newProxy(t, db)
	handle := p.open(t)
	p.cut()
	var logs logBuffer
	s := newReplica(t, handle, hourbell.Config{Definitions: []hourbell.Definition{everySecond("a")}, Logger: logs.logger()})
	startLoop(t, s)
	await(t, "a warning", func() bool {
		return strings.Contains(logs.String(), `level=WARN msg="hourbell: waiting for the database"`)
	})
	health, err := s.Health(t.Context())
	require.Error(t, err)
	require.True(t, health.Running)
	require.False(t, health.Synced)
	require.False(t, health.Stalled, "waiting is not stalled")
	p.restore()
	await(t, "a fire", func() bool { return len(readRuns(t, s, "a")) > 0 })
	health, err = s.Health(t.Context())
	require.NoError(t, err)
	require.True(t, health.Synced)
	require.Equal(t, 1, strings.Count(logs.String(), "waiting for the database"), "one warning per minute")
}

// O1: while Run waits at the start, the end of its context ends it, without an
// error.
func TestRunStopsWhileWaitingAtStart(t *testing.T) {
	for dialect, open := range map[string]func(*testing.T) *gorm.DB{"sqlite": openDeletedSQLite, "postgres": openClosedPostgres} {
		t.Run(dialect, func(t *testing.T) {
			s := newReplica(t, open(t), hourbell.Config{})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			require.NoError(t, s.Run(ctx))
			require.Error(t, ctx.Err(), "it must wait")
			health, err := s.Health(t.Context())
			require.ErrorIs(t, err, hourbell.ErrUnavailable)
			require.Empty(t, health.RunError)
		})
	}
}

// O1: Run logs and returns an error that waiting cannot fix, and health reports
// it.
func TestRunReportsPermanentFailure(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	var logs logBuffer
	s := newReplica(t, db.DB, hourbell.Config{Logger: logs.logger()})
	require.ErrorIs(t, s.Run(t.Context()), hourbell.ErrNotMigrated)
	require.Contains(t, logs.String(), `level=ERROR msg="hourbell: run failed"`)
	health, err := s.Health(t.Context())
	require.Error(t, err)
	require.False(t, health.Running)
	require.Contains(t, health.RunError, "not migrated")

	require.NoError(t, store.Migrate(t.Context(), db.DB))
	stop := startLoop(t, s)
	await(t, "the first sync", func() bool { health, _ := s.Health(t.Context()); return health.Synced })
	health, err = s.Health(t.Context())
	require.NoError(t, err)
	require.Empty(t, health.RunError, "the host has run it again")
	require.ErrorContains(t, s.Run(t.Context()), "already running")
	require.NoError(t, stop())
	health, err = s.Health(t.Context())
	require.NoError(t, err)
	require.False(t, health.Running)
	require.Empty(t, health.RunError)
}

// O1, D6: Run waits while the sync refuses to remove every schedule, and logs
// an error. Its worker is registered meanwhile.
func TestRunWaitsWhileSyncIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		first := newReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
		stop := startLoop(t, first)
		await(t, "the first service", func() bool { health, _ := first.Health(t.Context()); return health.Synced })
		var logs logBuffer
		second := newReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("b")}, Logger: logs.logger()})
		startLoop(t, second)
		await(t, "an error", func() bool { return strings.Contains(logs.String(), `level=ERROR msg="hourbell: sync refused"`) })
		require.Contains(t, logs.String(), "its own Namespace")
		require.Len(t, readWorkers(t, second), 2)
		require.NoError(t, stop())
		await(t, "the second service", func() bool { health, _ := second.Health(t.Context()); return health.Synced })
		require.NotZero(t, readSchedule(t, second, "a").RemovedAt)
	})
}

// O2: a call that its caller ends is not reported as a failure of the database.
func TestCanceledCallIsNotUnavailable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newSyncedReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Schedule(ctx, "a")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, hourbell.ErrUnavailable)
		_, err = s.EnqueueAll(ctx, hourbell.EnqueueOptions{})
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, hourbell.ErrUnavailable)
	})
}

// O2: health of an ended context sends no statement.
func TestHealthOfEndedContextIsLocal(t *testing.T) {
	db := dbtest.Postgres(t)
	p := newProxy(t, db)
	s := newReplica(t, p.open(t), hourbell.Config{})
	p.cut()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	health, err := s.Health(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NotEmpty(t, health.WorkerID)
}

// O1: the error of a role without privileges points to the grants.
func TestMissingPrivilegePointsToGrants(t *testing.T) {
	db := dbtest.Postgres(t)
	role := "hourbell_" + strings.ToLower(rand.Text()[:10])
	require.NoError(t, db.Exec("CREATE ROLE "+role+" LOGIN PASSWORD 'secret'").Error)
	t.Cleanup(func() {
		require.NoError(t, db.Exec("DROP OWNED BY "+role).Error)
		require.NoError(t, db.Exec("DROP ROLE "+role).Error)
	})
	address, err := url.Parse(db.DSN)
	require.NoError(t, err)
	address.User = url.UserPassword(role, "secret")
	limited := (&dbtest.DB{DSN: address.String(), Dialect: "postgres"}).Open(t, nil)
	err = newReplica(t, limited, hourbell.Config{}).Run(t.Context())
	require.ErrorContains(t, err, "see the grants in docs/operations.md")
}

// O4: the log line of a fire names up to ten schedules, on both paths.
func TestFireLogNamesSchedules(t *testing.T) {
	db := dbtest.Postgres(t)
	c := newClock(noon.Add(-time.Minute))
	var logs logBuffer
	cfg := newConfig(c, append(manyHourly(12), minutely("z"))...)
	cfg.Logger = logs.logger()
	s := newSyncedReplica(t, db.DB, cfg)
	tick(t, s)
	c.Set(noon.Add(-time.Minute))
	c.Set(noon)
	require.Equal(t, 13, tick(t, s).Fired, "fast path")
	line := regexp.MustCompile(`msg="hourbell: fired" count=13 schedules="?\[([^\]]*)\]`).FindStringSubmatch(logs.String())
	require.NotNil(t, line, logs.String())
	require.Len(t, strings.Fields(line[1]), 10)

	cfg.Enqueuer = noopEnqueuer
	s = newReplica(t, db.DB, cfg)
	c.Set(noon.Add(time.Minute))
	require.Equal(t, 1, tick(t, s).Fired, "claim path")
	require.Contains(t, logs.String(), `msg="hourbell: fired" count=1 schedules=[z]`)
}
