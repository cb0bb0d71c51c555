//go:build unix

package contract_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// suspendedAt returns the child with SIGSTOP at a step instead of SIGKILL. The
// server ends its transaction after a second.
func suspendedAt(c childConfig, step string) childConfig {
	c.Step, c.Signal, c.LockTTL = step, syscall.SIGSTOP, 2*time.Second
	return c
}

// T1, L2, L3, O2: a process is suspended (SIGSTOP) at each step of the loop, as
// on a suspended host. Another replica takes over its work. The process changes
// nothing when it resumes.
func TestProcessResumedAtAnyStepChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("long: runs one process after another")
	}
	claimPath, fastPath := claimPathChild("writes", ""), fastPathChild("")
	var children []childConfig
	for _, step := range []string{"before claim", "after claim", "before begin", "after commit", "sleep"} {
		children = append(children, suspendedAt(claimPath, step))
	}
	// On SQLite the fast path does not exist, and a suspended transaction keeps
	// the file locked.
	var postgresOnly []childConfig
	for _, step := range []string{"before advance", "after advance", "after insert-runs", "after enqueuer", "before commit"} {
		postgresOnly = append(postgresOnly, suspendedAt(claimPath, step))
	}
	postgresOnly = append(postgresOnly, suspendedAt(fastPath, "before fire-on-time"), suspendedAt(fastPath, "after fire-on-time"))
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, child := range children {
			testSuspend(t, db, child)
		}
		if db.Dialect == "postgres" {
			for _, child := range postgresOnly {
				testSuspend(t, db, child)
			}
		}
	})
}

// testSuspend suspends the child until a survivor has settled both schedules.
func testSuspend(t *testing.T, db *dbtest.DB, child childConfig) {
	t.Run(child.pathName()+", "+child.Step, func(t *testing.T) {
		clearTables(t, db)
		survivor, now := newSurvivor(t, db, child)
		p := startChild(t, db, child)
		p.awaitOutput(t, "signal at")
		left := readRemains(t, db)
		now.Set(noon.Add(31 * time.Second))
		await(t, "the survivor fires, unless the child has", func() bool { return tick(t, survivor).Fired > 0 || left == remainsFired })
		settled := []hourbell.Schedule{readSchedule(t, survivor, "noon"), readSchedule(t, survivor, "often")}
		p.finish(t, child)
		require.Equal(t, settled, []hourbell.Schedule{readSchedule(t, survivor, "noon"), readSchedule(t, survivor, "often")})
		requireSettledAtNoon(t, db, survivor, left)
	})
}

// On SQLite no other process can end a transaction. A process that is suspended
// in its transaction keeps the file locked until it resumes. It then fires.
func TestSuspendedTransactionKeepsSQLiteFileLocked(t *testing.T) {
	db := dbtest.SQLite(t)
	for _, step := range []string{"after advance", "before commit"} {
		clearTables(t, db)
		child := suspendedAt(claimPathChild("writes", ""), step)
		child.LockTTL = 10 * time.Minute // so that the deadline of the fire does not pass
		_, now := newSurvivor(t, db, child)
		cfg := child.config()
		cfg.Now = now.Now
		survivor := newReplica(t, openImpatientPool(t, db), cfg)
		p := startChild(t, db, child)
		p.awaitOutput(t, "signal at")
		now.Set(noon.Add(31 * time.Second))
		_, err := survivor.Tick(t.Context())
		require.ErrorIs(t, err, hourbell.ErrBusy)
		p.finish(t, child)
		require.Zero(t, tick(t, survivor).Claimed)
		requireSettledAtNoon(t, db, survivor, remainsUnchanged)
	}
}

// T1, L3: processes whose clocks are minutes apart fire every slot once,
// because only the database clock decides.
func TestProcessesWithWrongClocksFireEverySlotOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		t.Parallel()
		observer := newSyncedReplica(t, db.DB, childConfig{}.config())
		processes := map[time.Duration]*childProcess{}
		for _, offset := range []time.Duration{-7 * time.Minute, 0, 7 * time.Minute} {
			processes[offset] = startChild(t, db, childConfig{ClockOffset: offset})
		}
		await(t, "three workers are registered", func() bool { return len(readWorkers(t, observer)) == 3 })
		for _, p := range processes {
			before := p.passCount()
			await(t, "the process makes a pass", func() bool { return p.passCount() >= before+1 })
		}
		before := len(firedSlots(readRuns(t, observer, "s")))
		await(t, "three more fires", func() bool { return len(firedSlots(readRuns(t, observer, "s"))) >= before+3 })
		for offset, p := range processes {
			require.NoError(t, p.Process.Signal(syscall.SIGTERM))
			p.awaitExit(t)
			require.Zero(t, p.ProcessState.ExitCode())
			require.Equal(t, offset != 0, strings.Contains(p.log.String(), "clock is wrong"))
		}
		requireLoopLedger(t, observer)
		for _, e := range readEvents(t, observer, "s", hourbell.EventSkipped) {
			require.Equal(t, hourbell.SkipSuperseded, e.Reason, "no slot seems late to any process")
		}
		require.Empty(t, readEvents(t, observer, "s", hourbell.EventLockExpired), "no worker is declared dead")
	})
}
