//go:build unix

package hourbell_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/store"
)

// O1: the loop outlives a crash of its server, which ends everybody's connections, recovers from its log and is back after a
// while. A server of the test's own dies: one of its processes is killed, in whatever it is at, and so it starts anew.
func TestRunOutlivesACrashOfItsServer(t *testing.T) {
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
	own := dbtest.DB{DSN: db.DSN + "&application_name=replica", Dialect: db.Dialect}

	var log logs
	stop := running(t, replica(t, own.Open(t, nil), impatient(&log)))
	watcher := replica(t, db.DB, impatient(&log))
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })
	for range 2 {
		var pid int
		require.NoError(t, db.Raw("SELECT pid FROM pg_stat_activity WHERE application_name = 'replica' LIMIT 1").Scan(&pid).Error)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		await(t, "the server has crashed and is back", func() bool {
			n := -1
			err := db.Raw("SELECT count(*) FROM pg_stat_activity WHERE pid = ?", pid).Scan(&n).Error
			return err == nil && n == 0
		})
		db.DB = db.Open(t, nil) // the watcher's own connections were ended too
		watcher = replica(t, db.DB, impatient(&log))
		goesOn(t, watcher)
	}
	require.NoError(t, stop())
	closed(t, watcher)
}
