package main

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// L1, L2, L3, M2, E2, E7: processes are killed in the middle of a fire, in the middle of a run, and at random. Every
// slot from the first to the last fires or is recorded as skipped, once, with all its jobs; every run is executed; no
// lock is left. O3: those that are told to stop end with code 0 and are marked stopped; the killed are not.
func TestKilledProcessesLoseNothingAndRepeatNothing(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.start()
	c.start()
	_, err := c.scheduler.EnqueueJob(t.Context(), "slow", hourbell.EnqueueOptions{})
	require.NoError(t, err)

	c.killInRun()
	c.killInFire()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		time.Sleep(rand.N(800 * time.Millisecond)) // a kill at random is the point
		victim := c.running[rand.IntN(len(c.running))]
		c.kill(func(p *process) bool { return p == victim })
	}

	c.settle()
	for _, p := range c.running {
		require.Equal(t, 0, p.stop(t))
	}
	c.checkSlots()
	c.checkRuns()
	c.checkWorkers()
}

// killInRun kills the process that executes the slow run, once it has extended its lease.
func (c *crowd) killInRun() {
	c.Helper()
	var pid string
	await(c, "the slow run to be extended", func() bool {
		pid = c.text("SELECT split_part(worker_id, ':', 2) FROM hourbell_job_runs WHERE job = 'slow' AND leased_until > started_at + interval '1.8 seconds'")
		return pid != ""
	})
	c.kill(func(p *process) bool { return strconv.Itoa(p.Process.Pid) == pid })
}

// killInFire kills a process whose transaction has moved schedules forward and is about to insert their runs. A lock
// on the table of runs keeps it there for as long as that takes.
func (c *crowd) killInFire() {
	c.Helper()
	tx := c.db.Begin()
	defer tx.Rollback()
	require.NoError(c, tx.Exec("LOCK TABLE hourbell_job_runs IN SHARE MODE").Error)
	var name string
	await(c, "a fire", func() bool {
		name = c.text(`SELECT application_name FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO hourbell_job_runs%'`)
		return name != ""
	})
	var pid int
	c.kill(func(p *process) bool { pid = p.Process.Pid; return p.name == name })
	locks := c.text("SELECT count(*) FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid = ?", pid)
	require.NotEqual(c, "0", locks, "the killed process was in the middle of a fire")
}

// settle waits until the killed have left no trace and their successors have started, lets nothing more fire, and
// waits for the last run.
func (c *crowd) settle() {
	c.Helper()
	for _, p := range c.running {
		p.prints(c.T, "hourbell: running")
	}
	await(c, "the locks of the killed to be taken over", func() bool {
		return c.text("SELECT count(*) FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid IN ?", c.killed) == "0"
	})
	for _, d := range crowdConfig(nil).Definitions {
		require.NoError(c, c.scheduler.Disable(c.Context(), d.ID, hourbell.By{}))
	}
	await(c, "all runs to succeed", func() bool {
		return c.text("SELECT count(*) FROM hourbell_job_runs WHERE status <> 'SUCCEEDED'") == "0"
	})
}

// checkSlots walks the slots of each schedule.
func (c *crowd) checkSlots() {
	c.Helper()
	fired, skipped := 0, 0
	for _, d := range crowdConfig(nil).Definitions {
		seen := map[time.Time]int{}
		for _, fire := range c.fires(d.ID) {
			seen[fire.Slot.UTC()]++
			fired++
			require.Equal(c, []int64{2, 2}, []int64{fire.Runs, fire.Jobs}, "a fire has each job once")
			require.False(c, fire.Queued.Before(fire.Slot), "never early")
		}
		for _, skip := range c.skips(d.ID) {
			slots, err := d.Between(skip.From, skip.Through.Add(time.Second))
			require.NoError(c, err)
			require.Len(c, slots, skip.Count)
			for _, slot := range slots {
				seen[slot]++
				skipped++
			}
		}
		first, end := c.extent(d.ID)
		slots, err := d.Between(first, end)
		require.NoError(c, err)
		for _, slot := range slots {
			require.Equal(c, 1, seen[slot], "%s at %v", d.ID, slot)
		}
		require.Len(c, seen, len(slots))
	}
	require.Positive(c, fired)
	require.Positive(c, skipped, "what the killed held was passed over for as long as their locks were valid")
	c.Logf("%d processes killed; %d slots fired, %d skipped", len(c.killed), fired, skipped)
}

// checkRuns checks that every run was executed, and the slow one again after its worker was killed.
func (c *crowd) checkRuns() {
	c.Helper()
	require.Equal(c, "0", c.text("SELECT count(*) FROM hourbell_job_runs WHERE status <> 'SUCCEEDED' OR attempt < 1 OR leased_until IS NOT NULL"))
	require.Equal(c, "t", c.text("SELECT CASE WHEN attempt > 1 THEN 't' ELSE 'f' END FROM hourbell_job_runs WHERE job = 'slow'"))
	require.NotEqual(c, "0", c.text("SELECT count(*) FROM hourbell_events WHERE kind = 'LOCK_EXPIRED'"))
	c.Logf("%s of %s runs were taken more than once",
		c.text("SELECT count(*) FROM hourbell_job_runs WHERE attempt > 1"), c.text("SELECT count(*) FROM hourbell_job_runs"))
}

// checkWorkers checks who is marked stopped, and that no lock is left.
func (c *crowd) checkWorkers() {
	c.Helper()
	require.Equal(c, "0", c.text("SELECT count(*) FROM hourbell_schedules WHERE locked_by IS NOT NULL OR locked_at IS NOT NULL OR owed_since IS NOT NULL"))
	require.Equal(c, "0", c.text("SELECT count(*) FROM hourbell_workers WHERE pid IN ? AND stopped_at IS NOT NULL", c.killed))
	require.Equal(c, "0", c.text("SELECT count(*) FROM hourbell_workers WHERE pid NOT IN ? AND stopped_at IS NULL", c.killed))
}
