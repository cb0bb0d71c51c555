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
	"github.com/hourbell/hourbell/store"
)

// stepCounter counts the steps of a hookedStore.
type stepCounter struct {
	mu          sync.Mutex
	counts      map[string]int
	fastPathErr error // the result of fire-on-time, unless nil
}

func (c *stepCounter) hook(step string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[step]++
	if step == "before fire-on-time" {
		return c.fastPathErr
	}
	return nil
}

// newCountedReplica returns a replica on Postgres that can use the fast path:
// it has ticked once before noon. The clock is now an hour later, at a slot of
// hourly schedules.
func newCountedReplica(t *testing.T, cfg hourbell.Config) (*hourbell.Scheduler, *clock, *stepCounter, *dbtest.DB) {
	t.Helper()
	db, now, counter := dbtest.Postgres(t), newClock(noon), &stepCounter{counts: map[string]int{}}
	cfg.Now = now.Now
	s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), counter.hook}, cfg)
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, tick(t, s).Claimed)
	now.Advance(time.Hour)
	clear(counter.counts)
	return s, now, counter, db
}

// L3, O4: without an Enqueuer, slots on time take one statement. It also
// reports the next wake-up, so that no claim follows.
func TestSlotsOnTimeFireInOneStatement(t *testing.T) {
	s, now, counter, _ := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(100)})
	for range 3 {
		report := tick(t, s)
		require.Equal(t, []int{100, 100, 100, 0}, []int{report.Claimed, report.Fired, report.Enqueued, report.Skipped})
		require.Equal(t, now.Now().Add(time.Hour), report.WakeAt)
		require.Equal(t, map[string]int{"before fire-on-time": 1, "after fire-on-time": 1}, counter.counts)
		clear(counter.counts)
		require.Zero(t, tick(t, s).Claimed)
		require.Zero(t, counter.counts["before fire-on-time"], "no slot has come due since")
		clear(counter.counts)
		now.Advance(time.Hour)
	}
	require.Equal(t, []time.Time{noon.Add(3 * time.Hour), noon.Add(2 * time.Hour), noon.Add(time.Hour)}, firedSlots(readRuns(t, s, "s000007")))
}

// A batch of the fast path has at most BatchSize schedules and 10,000 runs.
func TestFastPathBatchesAreBounded(t *testing.T) {
	s, _, counter, _ := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(101), BatchSize: 25})
	require.Equal(t, 101, tick(t, s).Fired)
	require.Equal(t, 6, counter.counts["after fire-on-time"], "three on each of two connections")

	many := make([]hourbell.Job, 4000)
	for i := range many {
		many[i].Name = fmt.Sprintf("job%04d", i)
	}
	list := make([]hourbell.Definition, 5)
	for i := range list {
		list[i] = hourlyAllJobs(fmt.Sprintf("all%d", i))
	}
	s, _, counter, _ = newCountedReplica(t, hourbell.Config{Jobs: many, Definitions: list})
	require.Equal(t, 20_000, tick(t, s).Enqueued)
	require.Equal(t, 3, counter.counts["after fire-on-time"])
	for i, run := range readRuns(t, s, "all3") { // newest first
		require.Equal(t, 3999-i, run.Ordinal)
		require.Equal(t, many[3999-i].Name, run.Job)
	}
}

// With an Enqueuer the lock is committed before the Enqueuer runs.
func TestEnqueuerRequiresClaim(t *testing.T) {
	var holder string
	var db *dbtest.DB
	s, _, counter, db := newCountedReplica(t, hourbell.Config{
		Definitions: []hourbell.Definition{hourly("a")},
		Enqueuer: enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			return db.Raw("SELECT locked_by FROM hourbell_schedules").Scan(&holder).Error
		}),
	})
	require.Equal(t, 1, tick(t, s).Fired)
	require.Equal(t, workerID(t, s), holder)
	require.Zero(t, counter.counts["before fire-on-time"])
}

// M2, L4: a schedule that is late, has an unfinished claim or has the
// definition of another build takes the claim path, in the same tick.
func TestFastPathLeavesOtherSchedulesToClaimPath(t *testing.T) {
	s, now, counter, db := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(3)})
	changed := hourly("s000002")
	changed.Name = "changed"
	newer := newSyncedReplica(t, db.DB, hourbell.Config{Definitions: append(manyHourly(2), changed), Now: now.Now})
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET unfinished_since = ? WHERE id = 's000001'", now.Now()).Error)
	report := tick(t, s)
	require.Equal(t, []int{3, 2, 0}, []int{report.Claimed, report.Fired, report.Skipped}, "one on the fast path, one claimed, one claimed and released")
	require.Equal(t, 1, tick(t, newer).Fired)
	require.Empty(t, readEvents(t, s, "", hourbell.EventSkipped))

	now.Advance(3*time.Hour + time.Minute) // the earlier slots are late
	clear(counter.counts)
	report = tick(t, s)
	require.Equal(t, []int{2, 4}, []int{report.Fired, report.Skipped})
	require.Zero(t, counter.counts["before fire-on-time"])
}

// E4, L3: if one schedule makes the fast path fail, the claim path fires the
// others and isolates it. Here one slot already has its run.
func TestClaimPathIsolatesFailureOfFastPath(t *testing.T) {
	s, _, counter, db := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(3)})
	require.NoError(t, db.Exec(`INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at)
		VALUES ('default', 'import', 'CRON', 's000001', ?, 0, 'QUEUED', ?)`, noon.Add(time.Hour), noon.Add(time.Hour)).Error)
	report := tick(t, s)
	require.Equal(t, []int{2, 0}, []int{report.Fired, report.Failed})
	require.Equal(t, 1, counter.counts["before fire-on-time"])
	require.Len(t, readRuns(t, s, "s000001"), 1)
	require.Equal(t, noon.Add(2*time.Hour), readSchedule(t, s, "s000001").NextRunAt)
}

// O1: the tick ends if the database is unavailable. After any other error of
// the fast path it continues on the claim path.
func TestFastPathEndsTickIfDatabaseIsUnavailable(t *testing.T) {
	s, _, counter, _ := newCountedReplica(t, hourbell.Config{Definitions: manyHourly(3)})
	counter.fastPathErr = fmt.Errorf("%w: gone", hourbell.ErrUnavailable)
	_, err := s.Tick(t.Context())
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.Zero(t, counter.counts["before claim"])
	counter.fastPathErr = errors.New("another error")
	require.Equal(t, 3, tick(t, s).Fired, "claimed")
}

// T1, D8: the fast path checks the stored row. It does not fire a schedule that
// was disabled or changed since this process last read it.
func TestFastPathLeavesOutChangedSchedules(t *testing.T) {
	s, now, counter, db := newCountedReplica(t, hourbell.Config{Definitions: []hourbell.Definition{hourly("a"), hourly("b"), hourly("c")}})
	require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{}))
	moved := hourly("b")
	moved.Cron = "30 * * * *"
	newer := newSyncedReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a"), moved, hourly("c")}, Now: now.Now})
	clear(counter.counts)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Equal(t, 1, counter.counts["after fire-on-time"])
	require.Len(t, readRuns(t, s, "c"), 1)
	require.Empty(t, readRuns(t, s, "a"))
	require.Empty(t, readRuns(t, s, "b"))
	now.Advance(30 * time.Minute)
	require.Equal(t, 1, tick(t, newer).Fired)
}
