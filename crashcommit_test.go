//go:build unix

package hourbell_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// stalled makes the server wait inside every commit that has inserted runs, until it is let go.
func stalled(t *testing.T, db *dbtest.DB) (letGo func()) {
	t.Helper()
	for _, statement := range []string{
		`CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END'`,
		`CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON hourbell_job_runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stall()`,
	} {
		require.NoError(t, db.Exec(statement).Error)
	}
	gate := db.Begin()
	t.Cleanup(func() { gate.Rollback() })
	require.NoError(t, gate.Exec("SELECT pg_advisory_xact_lock(1)").Error)
	return func() { require.NoError(t, gate.Rollback().Error) }
}

// backends counts the connections of the victim that meet a condition.
func backends(t testing.TB, db *gorm.DB, condition string) (n int) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'victim' AND "+condition).Scan(&n).Error)
	return n
}

// inCommit is a victim for which the server is at its commit, and which has not heard of it. Of its Step nothing comes.
func inCommit(t *testing.T, v victim) (p *struck, heir *hourbell.Scheduler, c *clock, db *dbtest.DB, letGo func()) {
	t.Helper()
	db = dbtest.Postgres(t)
	heir, c = survivor(t, db, v)
	letGo = stalled(t, db)
	v.Step = "nowhere"
	p = sent(t, db, v)
	await(t, "the server is at the commit", func() bool { return backends(t, db.DB, "wait_event = 'advisory'") == 1 })
	require.Equal(t, v.Engine != "", backends(t, db.DB, "wait_event = 'advisory' AND lower(query) = 'commit'") == 1)
	return p, heir, c, db, letGo
}

// roads are the two ways to a commit. A lock is waited for half as long as the server lets the transaction last.
var roads = []victim{firstRoad("writes", ""), secondRoad("")}

// L3, O2: killed while the server is at its commit, a process has fired all or nothing, as the server decides; nobody
// else fires before it has.
func TestKilledWhileTheServerCommits(t *testing.T) {
	for _, v := range roads {
		t.Run(v.road()+", and it does", func(t *testing.T) {
			p, heir, c, db, letGo := inCommit(t, v)
			require.NoError(t, p.Process.Kill())
			p.dies(t, db)
			c.Set(noon.Add(31 * time.Second)) // the holder has missed three heartbeats, but the server has the rows
			require.Zero(t, tick(t, heir).Claimed)
			letGo()
			await(t, "the commit", func() bool { return backends(t, db.DB, "true") == 0 })
			require.Equal(t, fired, leftIn(t, db))
			require.Zero(t, tick(t, heir).Claimed)
			settledAtNoon(t, db, heir, fired)
		})
		t.Run(v.road()+", and it does not", func(t *testing.T) {
			p, heir, c, db, letGo := inCommit(t, v)
			require.NoError(t, p.Process.Kill())
			p.dies(t, db)
			require.NoError(t, db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'victim'").Error)
			await(t, "the end of the transaction", func() bool { return backends(t, db.DB, "true") == 0 })
			leaves := asItWas
			if v.Engine != "" {
				leaves = locked
			}
			require.Equal(t, leaves, leftIn(t, db))
			letGo()
			c.Set(noon.Add(31 * time.Second))
			require.Equal(t, 2, tick(t, heir).Fired)
			settledAtNoon(t, db, heir, leaves)
		})
	}
}

// L3, T1: stopped (SIGSTOP) while the server is at its commit, and continued when the commit is long done, a process fires
// nothing again.
func TestStoppedWhileTheServerCommits(t *testing.T) {
	for _, v := range roads {
		t.Run(v.road(), func(t *testing.T) {
			p, heir, c, db, letGo := inCommit(t, v)
			require.NoError(t, p.Process.Signal(syscall.SIGSTOP))
			letGo()
			await(t, "the commit", func() bool { return leftIn(t, db) == fired })
			c.Set(noon.Add(31 * time.Second))
			require.Zero(t, tick(t, heir).Claimed)
			require.NoError(t, p.Process.Signal(syscall.SIGCONT))
			p.goesOn(t, v)
			settledAtNoon(t, db, heir, fired)
		})
	}
}

// goesOn waits until a victim has made its pass at noon, and another where that one failed, and ends it.
func (p *struck) goesOn(t *testing.T, v victim) {
	t.Helper()
	await(t, "the victim makes its passes", func() bool {
		_ = p.Process.Signal(syscall.SIGCONT) // it may not have been stopped yet the last time
		return p.passes() >= len(v.Clock)
	})
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
		require.Zero(t, p.ProcessState.ExitCode())
	case <-time.After(30 * time.Second):
		t.Fatal("the victim does not end")
	}
}
