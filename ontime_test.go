package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// road counts what a replica asks its store for.
type road struct {
	mu    sync.Mutex
	asked map[string]int
	fail  error // of the next fire on time
}

// travelling is a replica on Postgres that has seen the database, one hour before its schedules are due.
func travelling(t *testing.T, cfg hourbell.Config) (*hourbell.Scheduler, *clock, *road, *dbtest.DB) {
	t.Helper()
	db, c, r := dbtest.Postgres(t), newClock(noon), &road{asked: map[string]int{}}
	cfg.Now = c.Now
	s := replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked[step]++
		if step == "before fire-on-time" && r.fail != nil {
			return r.fail
		}
		return nil
	}}, cfg)
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, tick(t, s).Claimed)
	c.Advance(time.Hour)
	clear(r.asked)
	return s, c, r, db
}

// L3, O4: slots that are on time, where no host code runs in between, take one statement, which says too what a poll would;
// only after more than a few does the poll follow.
func TestASlotOnTimeTakesOneStatement(t *testing.T) {
	s, c, r, _ := travelling(t, hourbell.Config{Definitions: manyHourly(100)})
	for range 3 {
		report := tick(t, s)
		require.Equal(t, []int{100, 100, 100, 0}, []int{report.Claimed, report.Fired, report.Enqueued, report.Skipped})
		require.Equal(t, c.Now().Add(time.Hour), report.Wake)
		require.Equal(t, map[string]int{"before fire-on-time": 1, "after fire-on-time": 1}, r.asked)
		clear(r.asked)
		require.Zero(t, tick(t, s).Claimed)
		require.Zero(t, r.asked["before fire-on-time"], "nothing has come due since")
		clear(r.asked)
		c.Advance(time.Hour)
	}
	require.Equal(t, []time.Time{noon.Add(3 * time.Hour), noon.Add(2 * time.Hour), noon.Add(time.Hour)}, slots(runsOf(t, s, "s000007")))
}

// A batch holds no more schedules than BatchSize, and no more runs than 10,000.
func TestBatchesOfFiresOnTimeAreBounded(t *testing.T) {
	s, _, r, _ := travelling(t, hourbell.Config{Definitions: manyHourly(101), BatchSize: 25})
	require.Equal(t, 101, tick(t, s).Fired)
	require.Equal(t, 6, r.asked["after fire-on-time"], "three for each of two lanes")

	many := make([]hourbell.Job, 4000)
	for i := range many {
		many[i].Name = fmt.Sprintf("job%04d", i)
	}
	all := make([]hourbell.Definition, 5)
	for i := range all {
		all[i] = hourly(fmt.Sprintf("all%d", i))
		all[i].Target = hourbell.AllJobs()
	}
	s, _, r, _ = travelling(t, hourbell.Config{Jobs: many, Definitions: all})
	require.Equal(t, 20_000, tick(t, s).Enqueued)
	require.Equal(t, 3, r.asked["after fire-on-time"])
	for i, run := range runsOf(t, s, "all3") { // newest first
		require.Equal(t, 3999-i, run.Ordinal)
		require.Equal(t, many[3999-i].Name, run.Job)
	}
}

// Where host code runs between claim and fire, the lock is there for all to see first.
func TestWithAnEnqueuerEverySlotIsClaimed(t *testing.T) {
	var holder string
	var db *dbtest.DB
	s, _, r, db := travelling(t, hourbell.Config{
		Definitions: []hourbell.Definition{hourly("a")},
		Enqueuer: enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			return db.Raw("SELECT locked_by FROM hourbell_schedules").Scan(&holder).Error
		}),
	})
	require.Equal(t, 1, tick(t, s).Fired)
	require.Equal(t, s.WorkerID(), holder)
	require.Zero(t, r.asked["before fire-on-time"])
}

// M2, L4: what is late, owed or another's goes the first road, in the same tick.
func TestWhatIsNotOnTimeIsClaimed(t *testing.T) {
	s, c, r, db := travelling(t, hourbell.Config{Definitions: manyHourly(3)})
	other := hourly("s000002")
	other.Name = "declared otherwise"
	newer := synced(t, db.DB, hourbell.Config{Definitions: append(manyHourly(2), other), Now: c.Now})
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET owed_since = ? WHERE id = 's000001'", c.Now()).Error)
	report := tick(t, s)
	require.Equal(t, []int{3, 2, 0}, []int{report.Claimed, report.Fired, report.Skipped}, "one at once, one claimed, one claimed and given back")
	require.Equal(t, 1, tick(t, newer).Fired)
	require.Empty(t, eventsOf(t, s, "", "SKIPPED"))

	c.Advance(3*time.Hour + time.Minute) // the slots in between are late
	clear(r.asked)
	report = tick(t, s)
	require.Equal(t, []int{2, 4}, []int{report.Fired, report.Skipped})
	require.Zero(t, r.asked["before fire-on-time"])
}

// E4, L3: where the second road fails for a reason of a schedule's own, the first one finds out which.
func TestTheFirstRoadFiresWhatTheSecondCannot(t *testing.T) {
	s, _, r, db := travelling(t, hourbell.Config{Definitions: manyHourly(3)})
	require.NoError(t, db.Exec(`INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at)
		VALUES ('default', 'import', 'CRON', 's000001', ?, 0, 'QUEUED', ?)`, noon.Add(time.Hour), noon.Add(time.Hour)).Error)
	report := tick(t, s)
	require.Equal(t, []int{2, 0}, []int{report.Fired, report.Failed})
	require.Equal(t, 1, r.asked["before fire-on-time"])
	require.Len(t, runsOf(t, s, "s000001"), 1)
	require.Equal(t, noon.Add(2*time.Hour), row(t, s, "s000001").NextRunAt)
}

// O1: where the database is away, the tick ends.
func TestAFireOnTimeThatFindsNoDatabaseEndsTheTick(t *testing.T) {
	s, _, r, _ := travelling(t, hourbell.Config{Definitions: manyHourly(3)})
	r.fail = fmt.Errorf("%w: gone", hourbell.ErrUnavailable)
	_, err := s.Tick(t.Context())
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.Zero(t, r.asked["before claim"])
	r.fail = errors.New("of its own")
	require.Equal(t, 3, tick(t, s).Fired, "claimed")
}

// T1, D8: a timetable proposes, the row disposes. A schedule that was changed by others is not fired by what is known of it
// here.
func TestAScheduleChangedByOthersIsNotFiredFromMemory(t *testing.T) {
	s, c, r, db := travelling(t, hourbell.Config{Definitions: []hourbell.Definition{hourly("a"), hourly("b"), hourly("c")}})
	require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{}))
	moved := hourly("b")
	moved.Cron = "30 * * * *"
	newer := synced(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{hourly("a"), moved, hourly("c")}, Now: c.Now})
	clear(r.asked)
	require.Equal(t, 1, tick(t, s).Fired)
	require.Equal(t, 1, r.asked["after fire-on-time"])
	require.Len(t, runsOf(t, s, "c"), 1)
	require.Empty(t, allRunsOf(t, s, "a"))
	require.Empty(t, allRunsOf(t, s, "b"))
	c.Advance(30 * time.Minute)
	require.Equal(t, 1, tick(t, newer).Fired)
}
