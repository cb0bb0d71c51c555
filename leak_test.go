package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/store"
)

// What a test's own part leaves running while it looks: pools that its cleanup closes, and its network.
var testsOwn = []string{"connectionOpener", "hourbell_test.newWire", "hourbell_test.(*wire)"}

// leavesNothing fails the test unless, soon after Run has returned, no goroutine of the library's is left, no connection of
// its pool is in use, and the server knows of no transaction and no lock.
func leavesNothing(t *testing.T, db *dbtest.DB, pool *gorm.DB) {
	t.Helper()
	leavesNothingBut(t, pool, "hourbell_test.newWire")
	if db.Dialect == "sqlite" {
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET enabled_note = enabled_note").Error, "the file is free")
		return
	}
	await(t, "no transaction and no lock of it is left", func() bool {
		var left int
		require.NoError(t, db.Raw(`SELECT count(*) FROM pg_stat_activity a WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND backend_type = 'client backend' AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid))`).Scan(&left).Error)
		return left == 0
	})
}

// O3: after a clean stop nothing of the loop is left.
func TestACleanStopLeavesNothingRunning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		pool := db.Open(t, nil)
		var log logs
		watcher := synced(t, db.DB, impatient(&log))
		stop := running(t, replica(t, pool, impatient(&log)))
		goesOn(t, watcher)
		require.NotEmpty(t, leaktest.Left(0, testsOwn...), "while it runs, its goroutines are seen")
		require.NoError(t, stop())
		leavesNothing(t, db, pool)
	})
}

// O3: nor after a start that fails, wherever it does.
func TestAFailedStartLeavesNothingRunning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for i, step := range []string{"before begin", "before insert", "after insert", "before commit", "before heartbeat", "after heartbeat"} {
			broken := errors.New("broken " + step)
			pool := db.Open(t, nil)
			s := replicaOn(t, &stepped{store.New(pool), firstAt(step, func() error { return broken })}, hourbell.Config{
				Definitions: []hourbell.Definition{hourly("a")}, Namespace: fmt.Sprint("start-", i),
			})
			require.ErrorIs(t, s.Run(t.Context()), broken)
			leavesNothing(t, db, pool)
		}
	})
}

// O3, O1: nor after a stop while the database is away; what the server has open when it can no longer hear of it, the
// server ends by itself.
func TestAStopInAnOutageLeavesNothingRunning(t *testing.T) {
	db := dbtest.Postgres(t)
	w := newWire(t, db)
	pool := w.open(t)
	var log logs
	s := replica(t, pool, impatient(&log))
	stop := running(t, s)
	goesOn(t, synced(t, db.DB, impatient(&log)))
	w.Cut()
	await(t, "the loop notices", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, stop())
	leavesNothing(t, db, pool)
}

// O3: nor after a stop while the Enqueuer hangs, except the host's own call. When that returns, it is gone too.
func TestAStopWhileTheEnqueuerHangsLeavesOnlyItsCall(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		pool := db.Open(t, nil)
		hanging, release := make(chan struct{}), make(chan struct{})
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			close(hanging)
			<-release
			return nil
		})
		s := synced(t, pool, cfg)
		now.Set(noon)
		stop := running(t, s)
		<-hanging
		require.NoError(t, stop())
		leavesNothingBut(t, pool, "(*Scheduler).hand")
		require.Len(t, leaktest.Left(0, testsOwn...), 1, "it is the host's, and nobody can end it")
		close(release)
		leavesNothing(t, db, pool)
	})
}

// leavesNothingBut is leavesNothing where one call goes on, which has no connection any more.
func leavesNothingBut(t *testing.T, pool *gorm.DB, call string) {
	t.Helper()
	require.Empty(t, leaktest.Left(30*time.Second, append([]string{call}, testsOwn...)...))
	own, err := pool.DB()
	require.NoError(t, err)
	await(t, "no connection is in use", func() bool { return own.Stats().InUse == 0 })
}
