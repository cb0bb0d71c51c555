// Package api_test is the test-suite of the HTTP API. Every exchange of it is held against the OpenAPI document.
package api_test

import _ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver

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
)

// prefix is where the tests' host mounts the handler.
const prefix = "/admin/schedules"

// noon is where the tests' clock begins.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set. It stands in for the database's.
type clock = testclock.Clock

// What the tests' host declares.
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
	clock     *clock
	scheduler *hourbell.Scheduler
	url       string
}

// setup is what a test changes of the host.
type setup struct {
	hourbell.Config
	admin     admin.Config
	pool      *gorm.DB // instead of the database's own
	wallClock bool     // the database's clock judges, not the test's
}

// newHost makes a host whose definitions are stored.
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
	if !s.wallClock {
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

// eachHost runs a test on a host with each database.
func eachHost(t *testing.T, s setup, test func(t *testing.T, h *host)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) { test(t, newHost(t, db, s)) })
}

// request is what a client sends.
type request struct {
	method, path string
	body         string
	header       map[string]string
}

// answer is what it gets.
type answer struct {
	*http.Response
	body string
}

// send sends a request and holds the exchange against the document.
func (h *host) send(r request) answer {
	h.Helper()
	sent, err := http.NewRequestWithContext(h.Context(), r.method, h.url+r.path, strings.NewReader(r.body))
	require.NoError(h, err)
	if r.body != "" {
		sent.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		sent.Header.Set(name, value)
	}
	got, err := http.DefaultClient.Do(sent)
	require.NoError(h, err)
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	require.NoError(h, err)
	a := answer{got, string(body)}
	checkExchange(h.TB, sent, r.body, a)
	return a
}

// read sends a request and takes the answer as it is.
func (h *host) read(path string) {
	h.Helper()
	got, err := http.Get(h.url + path)
	require.NoError(h, err)
	_, err = io.Copy(io.Discard, got.Body)
	require.NoError(h, err)
	require.NoError(h, got.Body.Close())
	require.Equal(h, http.StatusOK, got.StatusCode)
}

// call sends a request that must be answered with a status, and reads the answer.
func (h *host) call(status int, r request) map[string]any {
	h.Helper()
	a := h.send(r)
	require.Equal(h, status, a.StatusCode, "%s %s: %s", r.method, r.path, a.body)
	var body map[string]any
	require.NoError(h, json.Unmarshal([]byte(a.body), &body))
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

// schedule reads one schedule.
func (h *host) schedule(id string) map[string]any {
	h.Helper()
	return h.get("/api/schedules/" + id)
}

// items are the rows of a list.
func items(body map[string]any, name string) []map[string]any {
	list := []map[string]any{}
	for _, item := range body[name].([]any) {
		list = append(list, item.(map[string]any))
	}
	return list
}

// column is one field of each row.
func column(rows []map[string]any, name string) []any {
	list := []any{}
	for _, row := range rows {
		list = append(list, row[name])
	}
	return list
}

// tick makes one pass of the loop.
func (h *host) tick() hourbell.TickReport {
	h.Helper()
	report, err := h.scheduler.Tick(h.Context())
	require.NoError(h, err)
	return report
}

// enable lets a schedule fire.
func (h *host) enable(id string) {
	h.Helper()
	require.NoError(h, h.scheduler.Enable(h.Context(), id, hourbell.By{Actor: "setup"}))
}

// dump is all that is stored, as text.
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

// untouched fails the test where anything stored changes while fn runs.
func (h *host) untouched(fn func()) {
	h.Helper()
	before := h.dump()
	fn()
	require.Equal(h, before, h.dump())
}

// await waits until something has come about that others are at.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}
