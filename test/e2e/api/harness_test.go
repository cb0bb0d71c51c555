// Package api_test tests the HTTP API. Each exchange of a request and a
// response is validated against the OpenAPI document.
package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

// prefix is the path at which the host mounts the handler.
const prefix = "/admin/schedules"

// noon is the initial time of the test clock.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// The host's declarations.
var (
	jobs = []hourbell.Job{
		{Name: "import", Group: "feed", Description: "Prices in.", Args: map[string]int{"shop": 7}},
		{Name: "publish", Group: "feed"},
		{Name: "report/daily"},
	}
	definitions = []hourbell.Definition{
		{ID: "hourly", Name: "Hourly feed", Description: "Prices in, offers out.", Cron: "0 * * * *", Target: hourbell.Group("feed")},
		{ID: "nightly", Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Target: hourbell.AllJobs()},
		{ID: "shop/feed.v2:a", Cron: "*/15 * * * *", Target: hourbell.Jobs("import"), EnabledByDefault: true},
	}
)

// host is a backend with the handler mounted on its router.
type host struct {
	testing.TB
	db        *dbtest.DB
	clock     *testclock.Clock // stands in for the database clock
	scheduler *hourbell.Scheduler
	url       string
}

// setup configures a host. Zero values select the defaults above.
type setup struct {
	hourbell.Config
	admin         admin.Config
	pool          *gorm.DB // in place of the database's own
	databaseClock bool     // use the database clock, not the test clock
}

// newHost returns a host whose definitions are synced.
func newHost(t testing.TB, db *dbtest.DB, s setup) *host {
	t.Helper()
	h := newHostUnsynced(t, db, s)
	require.NoError(t, h.scheduler.Sync(t.Context()))
	return h
}

func newHostUnsynced(t testing.TB, db *dbtest.DB, s setup) *host {
	t.Helper()
	h := &host{TB: t, db: db, clock: testclock.New(noon)}
	if s.Jobs == nil {
		s.Jobs = jobs
	}
	if s.Definitions == nil {
		s.Definitions = definitions
	}
	if s.admin.Authorize == nil {
		s.admin.Authorize = func(*http.Request, admin.Action) (string, error) { return "ada", nil }
	}
	if !s.databaseClock {
		s.Now = h.clock.Now
	}
	if s.pool == nil {
		s.pool = db.DB
	}
	s.Logger = slog.New(slog.DiscardHandler)
	s.admin.Logger = s.Logger
	var err error
	h.scheduler, err = hourbell.New(store.New(s.pool), s.Config)
	require.NoError(t, err)
	handler, err := admin.New(h.scheduler, s.admin)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, handler))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.url = server.URL + prefix
	return h
}

// eachHost runs a test with a host on each database.
func eachHost(t *testing.T, s setup, test func(t *testing.T, h *host)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) { test(t, newHost(t, db, s)) })
}

type request struct {
	method, path string
	body         string
	header       map[string]string
}

type response struct {
	*http.Response
	body string
}

// send sends a request and validates the exchange against the document.
func (h *host) send(r request) response {
	h.Helper()
	sent, err := http.NewRequestWithContext(h.Context(), r.method, h.url+r.path, strings.NewReader(r.body))
	require.NoError(h, err)
	if r.body != "" {
		sent.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		sent.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(sent)
	require.NoError(h, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(h, err)
	received := response{res, string(body)}
	validateExchange(h.TB, sent, r.body, received)
	return received
}

// fetch sends a GET that must succeed, without validation.
func (h *host) fetch(path string) {
	h.Helper()
	res, err := http.Get(h.url + path)
	require.NoError(h, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(h, err)
	require.NoError(h, res.Body.Close())
	require.Equal(h, http.StatusOK, res.StatusCode)
}

// call sends a request, checks the status and returns the JSON of the response.
func (h *host) call(status int, r request) map[string]any {
	h.Helper()
	res := h.send(r)
	require.Equal(h, status, res.StatusCode, "%s %s: %s", r.method, r.path, res.body)
	var body map[string]any
	require.NoError(h, json.Unmarshal([]byte(res.body), &body))
	return body
}

func (h *host) get(path string) map[string]any {
	h.Helper()
	return h.call(http.StatusOK, request{method: "GET", path: path})
}

// post sends a change that must succeed.
func (h *host) post(path, body string) map[string]any {
	h.Helper()
	return h.call(http.StatusOK, request{method: "POST", path: path, body: body})
}

// schedule gets a schedule.
func (h *host) schedule(id string) map[string]any {
	h.Helper()
	return h.get("/api/schedules/" + id)
}

// items returns the objects of a list.
func items(body map[string]any, name string) []map[string]any {
	list := []map[string]any{}
	for _, item := range body[name].([]any) {
		list = append(list, item.(map[string]any))
	}
	return list
}

// column returns one field of each row.
func column(rows []map[string]any, name string) []any {
	list := []any{}
	for _, row := range rows {
		list = append(list, row[name])
	}
	return list
}

func (h *host) tick() hourbell.TickReport {
	h.Helper()
	report, err := h.scheduler.Tick(h.Context())
	require.NoError(h, err)
	return report
}

func (h *host) enable(id string) {
	h.Helper()
	require.NoError(h, h.scheduler.Enable(h.Context(), id, hourbell.ChangeOptions{Actor: "setup"}))
}

// dump returns all rows of all tables as text.
func (h *host) dump() string {
	h.Helper()
	var all strings.Builder
	for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
		var rows []map[string]any
		require.NoError(h, h.db.Table("hourbell_"+table).Order("id").Find(&rows).Error)
		for _, row := range rows {
			fmt.Fprintln(&all, table, row)
		}
	}
	return all.String()
}

// requireUnchanged fails the test if a row changes while fn runs.
func (h *host) requireUnchanged(fn func()) {
	h.Helper()
	before := h.dump()
	fn()
	require.Equal(h, before, h.dump())
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}
