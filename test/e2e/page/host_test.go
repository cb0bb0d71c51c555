package page_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// prefix has two levels, because links must work under any prefix.
const prefix = "/backend/schedules"

// evening is the time of the tests. In the following night clocks go forward in
// Berlin.
var evening = time.Date(2026, 3, 28, 16, 5, 20, 0, time.UTC)

// The host's declarations.
var (
	jobs = []hourbell.Job{
		{Name: "import-prices", Group: "feed", Description: "Prices in.", Args: map[string]any{"shop": 7}},
		{Name: "publish-offers", Group: "feed"},
		{Name: "match-payments", Group: "matching"},
		{Name: "match-refunds", Group: "matching"},
		{Name: "export-ledger"},
	}
	definitions = []hourbell.Definition{
		{ID: "daily-full-sync", Name: "Daily full sync", Description: "Everything, in the small hours.", Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Target: hourbell.AllJobs()},
		{ID: "hourly-matching", Name: "Hourly matching", Description: "Payments and refunds to their orders.", Cron: "0 * * * *", TimeZone: "Europe/Berlin", Target: hourbell.Group("matching")},
		{ID: "feed-refresh", Name: "Feed refresh", Description: "Prices in, offers out.", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin", Target: hourbell.Group("feed")},
		{ID: "shop/ledger.v2:a", Name: "Ledger", Cron: "10 */4 * * *", Target: hourbell.Jobs("export-ledger")},
	}
)

// host is a backend with the page mounted on its router.
type host struct {
	testing.TB
	db        *dbtest.DB
	clock     *testclock.Clock // stands in for the database clock
	scheduler *hourbell.Scheduler
	server    *httptest.Server
	url       string
	refuses   func(run hourbell.JobRun) bool // selects the runs that the engine refuses
}

// setup configures a host. Zero values select the defaults above.
type setup struct {
	hourbell.Config
	admin admin.Config
	guard func(http.Handler) http.Handler // middleware of the host
}

// newHost returns a host whose definitions are synced.
func newHost(t testing.TB, db *dbtest.DB, s setup) *host {
	t.Helper()
	h := &host{TB: t, db: db, clock: testclock.New(evening)}
	if s.Jobs == nil {
		s.Jobs = jobs
	}
	if s.Definitions == nil {
		s.Definitions = definitions
	}
	if s.Now == nil {
		s.Now = h.clock.Now
	}
	if s.admin.Authorize == nil {
		s.admin.Authorize = func(*http.Request, admin.Action) (string, error) { return "ada", nil }
	}
	s.Enqueuer = h
	s.Logger = slog.New(slog.DiscardHandler)
	s.admin.Logger = s.Logger
	var err error
	h.scheduler, err = hourbell.New(store.New(db.DB), s.Config)
	require.NoError(t, err)
	require.NoError(t, h.scheduler.Sync(t.Context()))
	handler, err := admin.New(h.scheduler, s.admin)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, handler))
	if s.guard == nil {
		s.guard = func(next http.Handler) http.Handler { return next }
	}
	h.server = httptest.NewServer(s.guard(mux))
	t.Cleanup(h.server.Close)
	h.url = h.server.URL + prefix
	return h
}

// newSQLiteHost returns a host with the defaults on SQLite.
func newSQLiteHost(t testing.TB) *host {
	t.Helper()
	return newHost(t, dbtest.SQLite(t), setup{})
}

// Enqueue implements hourbell.Enqueuer with an engine that can refuse runs.
func (h *host) Enqueue(_ context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
	for _, run := range runs {
		if h.refuses != nil && h.refuses(run) {
			return errors.New("the ledger's queue is full")
		}
	}
	return nil
}

func (h *host) enable(ids ...string) {
	h.Helper()
	for _, id := range ids {
		require.NoError(h, h.scheduler.Enable(h.Context(), id, hourbell.ChangeOptions{Actor: "grace"}))
	}
}

func (h *host) schedule(id string) hourbell.Schedule {
	h.Helper()
	row, err := h.scheduler.Schedule(h.Context(), id)
	require.NoError(h, err)
	return row
}

// runs returns runs, newest first.
func (h *host) runs(query hourbell.RunQuery) []hourbell.JobRun {
	h.Helper()
	runs, err := h.scheduler.Runs(h.Context(), query)
	require.NoError(h, err)
	return runs
}

func (h *host) events(query hourbell.EventQuery) []hourbell.Event {
	h.Helper()
	events, err := h.scheduler.Events(h.Context(), query)
	require.NoError(h, err)
	return events
}

// advance advances the clock in steps of five minutes. In each step the loop
// ticks and a job worker executes the queued runs.
func (h *host) advance(until time.Time, fails func(hourbell.JobRun) bool) {
	h.Helper()
	for h.clock.Now().Before(until) {
		h.tick()
		h.execute(fails)
		h.clock.Set(h.clock.Now().Add(5 * time.Minute).Truncate(5 * time.Minute).Add(800 * time.Millisecond))
	}
	h.clock.Set(until)
	h.tick()
}

func (h *host) tick() {
	h.Helper()
	_, err := h.scheduler.Tick(h.Context())
	require.NoError(h, err)
}

// execute executes all queued runs.
func (h *host) execute(fails func(hourbell.JobRun) bool) {
	h.Helper()
	for {
		taken, err := h.scheduler.TakeRuns(h.Context(), hourbell.TakeRequest{LeasedBy: "engine-1", Limit: 100})
		require.NoError(h, err)
		if len(taken) == 0 {
			return
		}
		for _, run := range taken {
			var failure error
			if fails != nil && fails(run) {
				failure = errors.New("dial tcp 10.0.0.7:443: the shop did not respond")
			}
			require.NoError(h, h.scheduler.FinishRun(h.Context(), run, failure))
		}
	}
}

// addWorker adds an active worker that has just ticked.
func (h *host) addWorker(id string, skew time.Duration) {
	h.Helper()
	bound, err := store.New(h.db.DB).Bind("default", h.clock.Now)
	require.NoError(h, err)
	_, err = bound.Heartbeat(h.Context(), hourbell.Worker{
		ID: id, WorkerType: "schedule_daemon", Hostname: "web-1", LastTickAt: h.clock.Now().Add(-2 * time.Second), ClockSkew: skew,
	}, 30*time.Second)
	require.NoError(h, err)
}

// stored returns a time as the database stores it.
func (h *host) stored(t time.Time) any {
	if h.db.Dialect == "sqlite" {
		return t.UnixMicro()
	}
	return t
}

// set sets a column of a schedule directly in the database.
func (h *host) set(id, column string, value any) {
	h.Helper()
	if t, ok := value.(time.Time); ok {
		value = h.stored(t)
	}
	require.NoError(h, h.db.Exec("UPDATE hourbell_schedules SET "+column+" = ? WHERE id = ?", value, id).Error)
}

// newHostWithHistory returns a host with the history of 15 hours: fires, failed
// runs, slots that were skipped in an outage of two hours, and a manual run.
func newHostWithHistory(t testing.TB, db *dbtest.DB, s setup) *host {
	t.Helper()
	h := newHost(t, db, s)
	h.clock.Set(evening.Add(-15 * time.Hour))
	h.enable("daily-full-sync", "hourly-matching", "feed-refresh")
	fails := func(run hourbell.JobRun) bool {
		return run.Job == "publish-offers" && run.ScheduledFor.Hour() == 5 || run.Job == "match-refunds" && run.ScheduledFor.Hour() == 13
	}
	h.advance(evening.Add(-8*time.Hour), fails)
	h.clock.Set(evening.Add(-6*time.Hour + 4*time.Minute)) // the end of the outage
	h.advance(evening.Add(-90*time.Minute), fails)
	_, err := h.scheduler.RunNow(t.Context(), "hourly-matching", hourbell.EnqueueOptions{Actor: "grace", Note: "repeat after the failed import"})
	require.NoError(t, err)
	h.advance(evening, fails)
	h.addWorker("web-1", 12*time.Millisecond)
	h.addWorker("web-2", -30*time.Millisecond)
	return h
}
