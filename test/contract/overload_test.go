package contract_test

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
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// overload is a replica with ten times more work than it can do. The Enqueuer
// takes half a minute of the test clock for each run of twenty schedules, in
// batches of two.
type overload struct {
	*clock
	costOfRun   time.Duration
	replica     *hourbell.Scheduler
	definitions []hourbell.Definition
	reports     int // calls of OnTick that reported a fire
}

// newOverload declares the twenty schedules with one expression, and others.
func newOverload(t *testing.T, db *dbtest.DB, cron string, others ...hourbell.Definition) *overload {
	t.Helper()
	o := &overload{clock: newClock(noon.Add(-time.Second)), costOfRun: 30 * time.Second}
	for i := range 20 {
		d := hourly(fmt.Sprintf("s%02d", i))
		d.Cron = cron
		o.definitions = append(o.definitions, d)
	}
	o.definitions = append(o.definitions, others...)
	cfg := newConfig(o.clock, o.definitions...)
	cfg.BatchSize, cfg.Connections = 2, 1 // one connection, because the runs share one clock
	cfg.Enqueuer = enqueuerFunc(func(_ context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
		o.Advance(time.Duration(len(runs)) * o.costOfRun)
		return nil
	})
	cfg.OnTick = func(r hourbell.TickReport) {
		if r.Fired > 0 {
			o.reports++
		}
	}
	o.replica = newSyncedReplica(t, db.DB, cfg)
	return o
}

// runUntil ticks like the loop until the clock reaches end.
func (o *overload) runUntil(t *testing.T, end time.Time) {
	t.Helper()
	for o.Now().Before(end) {
		if wakeAt := tick(t, o.replica).WakeAt; wakeAt.After(o.Now()) {
			o.Set(wakeAt)
		}
	}
}

// O4: a tick that always finds more work ends after PollInterval, so that the
// host receives its report.
func TestOverloadedTickEndsAfterPollInterval(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		o := newOverload(t, db, "* * * * *")
		o.Set(noon)
		report := tick(t, o.replica)
		require.Equal(t, 4, report.Fired, "two batches of two, of a minute each")
		require.Equal(t, 1, o.reports)
		require.False(t, report.WakeAt.After(o.Now()), "more is due")
	})
}

// E4, M2: under permanent overload no schedule starves. Each fires equally
// often, because those that fired longest ago are claimed first. Only slots
// within grace fire; the others are skipped with their reason. After a day the
// loop is no further behind than after an hour.
func TestOverloadStarvesNoSchedule(t *testing.T) {
	type load struct {
		cron    string
		end     time.Time
		longest time.Duration // between two fires of a schedule
	}
	hours := time.Hour
	if testing.Short() {
		hours /= 3
	}
	runCases(t, map[string]load{
		// Every minute adds ten minutes of work. One round takes ten minutes.
		"every minute": {"* * * * *", noon.Add(2 * hours), 11 * time.Minute},
		// Every hour adds ten minutes of work. Six schedules begin within
		// grace.
		"every hour": {"0 * * * *", noon.Add(24 * hours), 4 * time.Hour},
	}, func(t *testing.T, db *dbtest.DB, load load) {
		o := newOverload(t, db, load.cron)
		o.runUntil(t, load.end)
		least, most := math.MaxInt, 0
		var all []hourbell.JobRun
		for _, d := range o.definitions {
			runs := readRuns(t, o.replica, d.ID) // newest first
			all = append(all, runs...)
			least, most = min(least, len(runs)), max(most, len(runs))
			for i := range runs[1:] {
				require.LessOrEqual(t, runs[i].QueuedAt.Sub(runs[i+1].QueuedAt), load.longest, d.ID)
			}
			for _, e := range readEvents(t, o.replica, d.ID, hourbell.EventSkipped) {
				require.Contains(t, []hourbell.SkipReason{hourbell.SkipLate, hourbell.SkipSuperseded}, e.Reason)
			}
		}
		require.LessOrEqual(t, most-least, 1, "all fire equally often")
		require.GreaterOrEqual(t, least, 2)
		slices.SortFunc(all, func(a, b hourbell.JobRun) int { return int(a.ID - b.ID) })
		for i, run := range all {
			require.LessOrEqual(t, run.QueuedAt.Sub(run.ScheduledFor), 2*time.Minute, "within grace")
			require.False(t, i > 0 && run.ScheduledFor.Before(all[i-1].ScheduledFor), "no slot fires after a later one")
		}
		require.GreaterOrEqual(t, o.reports, 10, "the host receives reports during the overload")

		// Without the load, all schedules fire on time again.
		o.costOfRun = 0
		o.runUntil(t, o.Now().Truncate(time.Hour).Add(time.Hour))
		require.Equal(t, 20, tick(t, o.replica).Fired)
		for _, d := range o.definitions {
			requireLedger(t, o.replica, d, noon.Add(-time.Second), o.Now())
		}
		var left int
		require.NoError(t, db.Raw("SELECT count(locked_by) + count(unfinished_since) FROM hourbell_schedules").Scan(&left).Error)
		require.Zero(t, left)
	})
}

// E4, M2: an hourly schedule does not starve among twenty that are due every
// minute. Its slots fire within grace although a round of the others takes ten
// minutes. Its first slot may be skipped: no schedule has fired before, so the
// order is arbitrary.
func TestOverloadDoesNotStarveRareSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		o := newOverload(t, db, "* * * * *", hourly("rare"))
		const hours = 3
		o.runUntil(t, noon.Add(hours*time.Hour+5*time.Minute))
		for _, e := range readEvents(t, o.replica, "rare", hourbell.EventSkipped) {
			require.Equal(t, noon, e.SlotTo)
		}
		fires := firedSlots(readRuns(t, o.replica, "rare"))
		for i := range hours {
			require.Equal(t, noon.Add(time.Duration(hours-i)*time.Hour), fires[i])
		}
	})
}

// O2, O4: while the loop is always busy, heartbeats are written, health shows
// progress, and HTTP requests succeed. Each second adds ten seconds of work.
func TestOverloadKeepsHeartbeatsAndPagesResponsive(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a heartbeat, up to ten seconds")
	}
	db := dbtest.Postgres(t)
	var definitions []hourbell.Definition
	for i := range 100 {
		definitions = append(definitions, everySecond(fmt.Sprintf("s%02d", i)))
	}
	var enqueued, reported atomic.Int64
	s := newReplica(t, db.DB, hourbell.Config{
		Definitions: definitions, BatchSize: 5, PollInterval: time.Second,
		Enqueuer: enqueuerFunc(func(ctx context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
			for range runs {
				select {
				case <-time.After(100 * time.Millisecond): // a slow engine
				case <-ctx.Done():
					return ctx.Err()
				}
				enqueued.Add(1)
			}
			return nil
		}),
		OnTick: func(r hourbell.TickReport) { reported.Add(int64(r.Fired)) },
	})
	stop := startLoop(t, s)
	handler, err := admin.New(s, admin.Config{Authorize: admin.AllowAll})
	require.NoError(t, err)
	request := func(method, path string, status int) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, status, w.Code, "%s: %s", path, w.Body)
	}
	await(t, "the loop is busy", func() bool { return enqueued.Load() >= 20 })
	before := readWorkers(t, s)[0]
	await(t, "another heartbeat, with requests in between", func() bool {
		for _, path := range []string{"/api/health", "/api/health?fleet=1", "/api/schedules", "/api/runs", "/"} {
			request(http.MethodGet, path, http.StatusOK)
		}
		request(http.MethodPost, "/api/schedules/s07/run", http.StatusCreated)
		return readWorkers(t, s)[0].HeartbeatAt.Sub(before.HeartbeatAt) >= 5*time.Second
	})
	require.True(t, readWorkers(t, s)[0].LastTickAt.After(before.LastTickAt), "the loop ticks")
	require.Positive(t, reported.Load())
	require.NoError(t, stop())
	for _, d := range definitions {
		require.Empty(t, readSchedule(t, s, d.ID).LockedBy)
	}
}
