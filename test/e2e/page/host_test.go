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

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// prefix has two levels: links of the page must hold under any.
const prefix = "/backend/schedules"

// evening is a Saturday on whose night Berlin's clocks are put forward.
var evening = time.Date(2026, 3, 28, 16, 5, 20, 0, time.UTC)

// clock is a clock that tests set. It stands in for the database's.
type clock = testclock.Clock

// What the tests' host declares: the classic three, and one that cannot be enqueued.
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
	clock     *clock
	scheduler *hourbell.Scheduler
	server    *httptest.Server
	url       string
	broken    func(run hourbell.JobRun) bool // which runs the host's engine refuses
}

// setup is what a test changes of the host.
type setup struct {
	hourbell.Config
	admin admin.Config
	guard func(http.Handler) http.Handler // of the host's, in front of all
}

// newHost makes a host on a database, whose definitions are stored.
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

// plain is a host on SQLite.
func plain(t testing.TB) *host {
	t.Helper()
	return newHost(t, dbtest.SQLite(t), setup{})
}

// Enqueue implements hourbell.Enqueuer: the host's engine, which may be broken.
func (h *host) Enqueue(_ context.Context, _ hourbell.Tx, runs []hourbell.JobRun) error {
	for _, run := range runs {
		if h.broken != nil && h.broken(run) {
			return errors.New("the ledger's queue is full")
		}
	}
	return nil
}

func (h *host) enable(ids ...string) {
	h.Helper()
	for _, id := range ids {
		require.NoError(h, h.scheduler.Enable(h.Context(), id, hourbell.By{Actor: "grace"}))
	}
}

func (h *host) schedule(id string) hourbell.Schedule {
	h.Helper()
	row, err := h.scheduler.Schedule(h.Context(), id)
	require.NoError(h, err)
	return row
}

// runs are all, newest first.
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

// live lets time pass until an instant, in steps of five minutes, with a loop that ticks and a worker that executes.
func (h *host) live(until time.Time, fails func(hourbell.JobRun) bool) {
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

// execute executes all runs that are queued.
func (h *host) execute(fails func(hourbell.JobRun) bool) {
	h.Helper()
	for {
		taken, err := h.scheduler.TakeRuns(h.Context(), hourbell.TakeRequest{Worker: "engine-1", Limit: 100})
		require.NoError(h, err)
		if len(taken) == 0 {
			return
		}
		for _, run := range taken {
			var failure error
			if fails != nil && fails(run) {
				failure = errors.New("dial tcp 10.0.0.7:443: the shop did not answer")
			}
			require.NoError(h, h.scheduler.FinishRun(h.Context(), run, failure))
		}
	}
}

// worker makes a living worker that has just ticked.
func (h *host) worker(id string, skew time.Duration) {
	h.Helper()
	bound, err := store.New(h.db.DB).Bind("default", h.clock.Now)
	require.NoError(h, err)
	_, err = bound.Heartbeat(h.Context(), hourbell.Worker{
		ID: id, WorkerType: "schedule_daemon", Hostname: "web-1", LastTickAt: h.clock.Now().Add(-2 * time.Second), ClockSkew: skew,
	}, 30*time.Second)
	require.NoError(h, err)
}

// stored is an instant as the database stores it.
func (h *host) stored(t time.Time) any {
	if h.db.Dialect == "sqlite" {
		return t.UnixMicro()
	}
	return t
}

// set changes a column of a schedule behind everybody's back.
func (h *host) set(id, column string, value any) {
	h.Helper()
	if t, is := value.(time.Time); is {
		value = h.stored(t)
	}
	require.NoError(h, h.db.Exec("UPDATE hourbell_schedules SET "+column+" = ? WHERE id = ?", value, id).Error)
}

// lived is a host on which half a day has passed, with what goes wrong in a life: an outage of two hours in which slots
// were skipped, and a night in which runs failed.
func lived(t testing.TB, db *dbtest.DB, s setup) *host {
	t.Helper()
	h := newHost(t, db, s)
	h.clock.Set(evening.Add(-15 * time.Hour))
	h.enable("daily-full-sync", "hourly-matching", "feed-refresh")
	bad := func(run hourbell.JobRun) bool {
		return run.Job == "publish-offers" && run.ScheduledFor.Hour() == 5 || run.Job == "match-refunds" && run.ScheduledFor.Hour() == 13
	}
	h.live(evening.Add(-8*time.Hour), bad)
	h.clock.Set(evening.Add(-6*time.Hour + 4*time.Minute)) // nothing ran in between
	h.live(evening.Add(-90*time.Minute), bad)
	_, err := h.scheduler.RunNow(t.Context(), "hourly-matching", hourbell.EnqueueOptions{By: hourbell.By{Actor: "grace", Note: "after the import was mended"}})
	require.NoError(t, err)
	h.live(evening, bad)
	h.worker("web-1", 12*time.Millisecond)
	h.worker("web-2", -30*time.Millisecond)
	return h
}
