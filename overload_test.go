package hourbell_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// overload is ten times more due than can be fired: by the clock of the test, the Enqueuer takes half a minute for each of twenty
// schedules, and batches are of two.
type overload struct {
	*clock
	cost    time.Duration // of a run
	s       *hourbell.Scheduler
	list    []hourbell.Definition
	reports int
}

func overloaded(t *testing.T, db *dbtest.DB, cron string, more ...hourbell.Definition) *overload {
	t.Helper()
	o := &overload{clock: newClock(noon.Add(-time.Second)), cost: 30 * time.Second}
	for i := range 20 {
		d := hourly(fmt.Sprintf("s%02d", i))
		d.Cron = cron
		o.list = append(o.list, d)
	}
	o.list = append(o.list, more...)
	cfg := definitions(o.clock, o.list...)
	cfg.BatchSize, cfg.Connections = 2, 1 // what one costs is on the one clock
	cfg.Enqueuer = enqueuer(func(_ context.Context, _ hourbell.Tx, runs []hourbell.JobRun) error {
		o.Advance(time.Duration(len(runs)) * o.cost)
		return nil
	})
	cfg.OnTick = func(r hourbell.TickReport) {
		if r.Fired > 0 {
			o.reports++
		}
	}
	o.s = synced(t, db.DB, cfg)
	return o
}

// until ticks as the loop does, until an instant.
func (o *overload) until(t *testing.T, end time.Time) {
	t.Helper()
	for o.Now().Before(end) {
		if wake := tick(t, o.s).Wake; wake.After(o.Now()) {
			o.Set(wake)
		}
	}
}

// O4: a tick that has always more to do ends after PollInterval, so that the host learns what was done.
func TestATickEndsThoughEverMoreComesDue(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		o := overloaded(t, db, "* * * * *")
		o.Set(noon)
		report := tick(t, o.s)
		require.Equal(t, 4, report.Fired, "of batches of a minute, those begun at once and after a minute")
		require.Equal(t, 1, o.reports)
		require.False(t, report.Wake.After(o.Now()), "there is more")
	})
}

// E4, M2: under lasting overload no schedule starves: who has waited longest goes first, and so each has its turn equally often,
// in a rhythm that the load dictates. What is fired is never out of grace, and what is not is skipped with its reason and does not
// pile up: the loop is as up to date after a day of it as after an hour.
func TestUnderTenfoldLoadEveryScheduleHasItsTurn(t *testing.T) {
	type load struct {
		cron string
		end  time.Time
		turn time.Duration // from one turn of a schedule to its next
	}
	hours := time.Hour
	if testing.Short() {
		hours /= 3
	}
	eachCase(t, map[string]load{
		// Ten minutes of work come each minute. One round takes ten minutes.
		"every minute": {"* * * * *", noon.Add(2 * hours), 11 * time.Minute},
		// Ten minutes of work come at once, of which six schedules are begun within grace.
		"every hour": {"0 * * * *", noon.Add(24 * hours), 4 * time.Hour},
	}, func(t *testing.T, db *dbtest.DB, load load) {
		o := overloaded(t, db, load.cron)
		o.until(t, load.end)
		least, most := math.MaxInt, 0
		var all []hourbell.JobRun
		for _, d := range o.list {
			runs := runsOf(t, o.s, d.ID) // newest first
			all = append(all, runs...)
			least, most = min(least, len(runs)), max(most, len(runs))
			for i := range runs[1:] {
				require.LessOrEqual(t, runs[i].QueuedAt.Sub(runs[i+1].QueuedAt), load.turn, d.ID)
			}
			for _, e := range eventsOf(t, o.s, d.ID, "SKIPPED") {
				require.Contains(t, []string{"LATE", "SUPERSEDED"}, e.Reason)
			}
		}
		require.LessOrEqual(t, most-least, 1, "equally often")
		require.GreaterOrEqual(t, least, 2)
		slices.SortFunc(all, func(a, b hourbell.JobRun) int { return int(a.ID - b.ID) })
		for i, run := range all {
			require.LessOrEqual(t, run.QueuedAt.Sub(run.ScheduledFor), 2*time.Minute, "in grace")
			require.False(t, i > 0 && run.ScheduledFor.Before(all[i-1].ScheduledFor), "no slot fires after a later one")
		}
		require.GreaterOrEqual(t, o.reports, 10, "the host is told what is done while there is no end to it")

		// The load is over: everything fires on time at once.
		o.cost = 0
		o.until(t, o.Now().Truncate(time.Hour).Add(time.Hour))
		require.Equal(t, 20, tick(t, o.s).Fired)
		for _, d := range o.list {
			account(t, o.s, d, noon.Add(-time.Second), o.Now())
		}
		var left int
		require.NoError(t, db.Raw("SELECT count(locked_by) + count(owed_since) FROM hourbell_schedules").Scan(&left).Error)
		require.Zero(t, left)
	})
}

// E4, M2: nor does a schedule that is seldom due starve among many that always are: its slots fire in grace, though one round of
// the others takes ten minutes. Of the first slot, at which nobody has ever fired, chance decides.
func TestUnderTenfoldLoadASeldomScheduleIsNotCrowdedOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		o := overloaded(t, db, "* * * * *", hourly("seldom"))
		const hours = 3
		o.until(t, noon.Add(hours*time.Hour+5*time.Minute))
		for _, e := range eventsOf(t, o.s, "seldom", "SKIPPED") {
			require.Equal(t, noon, e.SlotTo)
		}
		fires := slots(runsOf(t, o.s, "seldom"))
		for i := range hours {
			require.Equal(t, noon.Add(time.Duration(hours-i)*time.Hour), fires[i])
		}
	})
}

// O4, O2: while the loop is busy for good, the heart beats, health says so, and people are answered: a busy loop and its Enqueuer take
// nothing that these need. Here the work of each second takes ten.
func TestUnderTenfoldLoadHeartbeatsAndPagesAreAlive(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a heartbeat comes every ten seconds")
	}
	db := dbtest.Postgres(t)
	var list []hourbell.Definition
	for i := range 100 {
		list = append(list, everySecond(fmt.Sprintf("s%02d", i)))
	}
	var handed, reported atomic.Int64
	s := replica(t, db.DB, hourbell.Config{
		Definitions: list, BatchSize: 5, PollInterval: time.Second,
		Enqueuer: enqueuer(func(ctx context.Context, _ hourbell.Tx, runs []hourbell.JobRun) error {
			for range runs {
				select {
				case <-time.After(100 * time.Millisecond): // a slow engine
				case <-ctx.Done():
					return ctx.Err()
				}
				handed.Add(1)
			}
			return nil
		}),
		OnTick: func(r hourbell.TickReport) { reported.Add(int64(r.Fired)) },
	})
	stop := running(t, s)
	handler, err := admin.New(s, admin.Config{Authorize: admin.AllowAll})
	require.NoError(t, err)
	ask := func(method, path string, code int) {
		request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		require.Equal(t, code, answer.Code, "%s: %s", path, answer.Body)
	}
	await(t, "the loop is busy", func() bool { return handed.Load() >= 20 })
	began := workersOf(t, s)[0]
	await(t, "another heartbeat, with questions in between", func() bool {
		for _, path := range []string{"/api/health", "/api/health?fleet=1", "/api/schedules", "/api/runs", "/"} {
			ask(http.MethodGet, path, http.StatusOK)
		}
		ask(http.MethodPost, "/api/schedules/s07/run", http.StatusCreated)
		return workersOf(t, s)[0].HeartbeatAt.Sub(began.HeartbeatAt) >= 5*time.Second
	})
	w := workersOf(t, s)[0]
	require.True(t, w.LastTickAt.After(began.LastTickAt), "and its loop ticks")
	require.Positive(t, reported.Load())
	require.NoError(t, stop())
	for _, d := range list {
		require.Empty(t, row(t, s, d.ID).LockedBy)
	}
}
