package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// L1, L2, L3, M2, E2, E7: processes are killed during a fire, during a run, and
// at random. Every slot fires once with all its jobs, or is recorded once as
// skipped. Every run is executed, and no lock remains.
// O3: processes that receive SIGTERM exit with code 0 and are marked stopped.
func TestKilledProcessesFireEverySlotOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start()
	f.start()
	_, err := f.scheduler.EnqueueJob(t.Context(), "slow", hourbell.EnqueueOptions{})
	require.NoError(t, err)

	f.killDuringRun()
	f.killDuringFire()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		time.Sleep(rand.N(800 * time.Millisecond)) // kills come at random times
		target := f.running[rand.IntN(len(f.running))]
		f.kill(func(p *process) bool { return p == target })
	}

	f.finish()
	for _, p := range f.running {
		require.Equal(t, 0, p.stop(t))
	}
	f.checkSlots()
	f.checkRuns()
	f.checkWorkers()
}

// killDuringRun kills the process that executes the slow run, after it has
// extended the lease.
func (f *fleet) killDuringRun() {
	f.Helper()
	var pid string
	await(f, "the lease of the slow run is extended", func() bool {
		pid = f.queryText("SELECT split_part(leased_by, ':', 2) FROM hourbell_job_runs WHERE job = 'slow' AND leased_until > started_at + interval '1.8 seconds'")
		return pid != ""
	})
	f.kill(func(p *process) bool { return strconv.Itoa(p.Process.Pid) == pid })
}

// killDuringFire kills a process whose transaction has advanced schedules and
// is about to insert their runs. A lock on the table of runs makes it wait
// there.
func (f *fleet) killDuringFire() {
	f.Helper()
	tx := f.db.Begin()
	defer tx.Rollback()
	require.NoError(f, tx.Exec("LOCK TABLE hourbell_job_runs IN SHARE MODE").Error)
	var name string
	await(f, "a fire", func() bool {
		name = f.queryText(`SELECT application_name FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO hourbell_job_runs%'`)
		return name != ""
	})
	var pid int
	f.kill(func(p *process) bool { pid = p.Process.Pid; return p.name == name })
	locks := f.queryText("SELECT count(*) FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid = ?", pid)
	require.NotEqual(f, "0", locks, "the process was killed during a fire")
}

// finish waits until the locks of killed processes are taken over and all
// replicas run. It then disables the schedules and waits for the last run.
func (f *fleet) finish() {
	f.Helper()
	for _, p := range f.running {
		p.awaitOutput(f.T, "hourbell: running")
	}
	await(f, "the locks of killed processes are taken over", func() bool {
		return f.queryText("SELECT count(*) FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid IN ?", f.killed) == "0"
	})
	for _, d := range fleetConfig(nil).Definitions {
		require.NoError(f, f.scheduler.Disable(f.Context(), d.ID, hourbell.ChangeOptions{}))
	}
	await(f, "all runs succeed", func() bool {
		return f.queryText("SELECT count(*) FROM hourbell_job_runs WHERE status <> 'SUCCEEDED'") == "0"
	})
}

// checkSlots checks each slot of each schedule.
func (f *fleet) checkSlots() {
	f.Helper()
	fired, skipped := 0, 0
	for _, d := range fleetConfig(nil).Definitions {
		seen := map[time.Time]int{}
		for _, fire := range f.fires(d.ID) {
			seen[fire.Slot.UTC()]++
			fired++
			require.Equal(f, []int64{2, 2}, []int64{fire.Runs, fire.Jobs}, "a fire has each job once")
			require.False(f, fire.Queued.Before(fire.Slot), "never early")
		}
		for _, skip := range f.skips(d.ID) {
			slots, err := d.Between(skip.From, skip.Through.Add(time.Second))
			require.NoError(f, err)
			require.Len(f, slots, skip.Count)
			for _, slot := range slots {
				seen[slot]++
				skipped++
			}
		}
		first, end := f.extent(d.ID)
		slots, err := d.Between(first, end)
		require.NoError(f, err)
		for _, slot := range slots {
			require.Equal(f, 1, seen[slot], "%s at %v", d.ID, slot)
		}
		require.Len(f, seen, len(slots))
	}
	require.Positive(f, fired)
	require.Positive(f, skipped, "slots superseded while killed processes held the locks")
	f.Logf("%d processes killed; %d slots fired, %d skipped", len(f.killed), fired, skipped)
}

// checkRuns checks that every run was executed, and that the slow run was
// taken again after its worker was killed.
func (f *fleet) checkRuns() {
	f.Helper()
	require.Equal(f, "0", f.queryText("SELECT count(*) FROM hourbell_job_runs WHERE status <> 'SUCCEEDED' OR attempt < 1 OR leased_until IS NOT NULL"))
	require.Equal(f, "t", f.queryText("SELECT CASE WHEN attempt > 1 THEN 't' ELSE 'f' END FROM hourbell_job_runs WHERE job = 'slow'"))
	require.NotEqual(f, "0", f.queryText("SELECT count(*) FROM hourbell_events WHERE kind = 'LOCK_EXPIRED'"))
	f.Logf("%s of %s runs were taken more than once",
		f.queryText("SELECT count(*) FROM hourbell_job_runs WHERE attempt > 1"), f.queryText("SELECT count(*) FROM hourbell_job_runs"))
}

// checkWorkers checks that no lock remains, and that exactly the processes
// that were not killed are marked stopped.
func (f *fleet) checkWorkers() {
	f.Helper()
	require.Equal(f, "0", f.queryText("SELECT count(*) FROM hourbell_schedules WHERE locked_by IS NOT NULL OR locked_at IS NOT NULL OR unfinished_since IS NOT NULL"))
	require.Equal(f, "0", f.queryText("SELECT count(*) FROM hourbell_workers WHERE pid IN ? AND stopped_at IS NOT NULL", f.killed))
	require.Equal(f, "0", f.queryText("SELECT count(*) FROM hourbell_workers WHERE pid NOT IN ? AND stopped_at IS NULL", f.killed))
}
