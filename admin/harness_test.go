package admin

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// fixture is a handler on a database of its own. Its route table is accessible,
// so a test that iterates over the table cannot miss a route.
type fixture struct {
	testing.TB
	*handler
	db  *dbtest.DB
	log *bytes.Buffer
}

// newFixture makes a handler on a database with an enabled, locked schedule
// "on", a disabled schedule "off" and one run. Every action is allowed unless
// cfg has an Authorize.
func newFixture(t testing.TB, cfg Config) *fixture {
	t.Helper()
	db := dbtest.Postgres(t)
	scheduler, err := hourbell.New(store.New(db.DB), hourbell.Config{
		Jobs: []hourbell.Job{{Name: "job", Group: "group"}},
		Definitions: []hourbell.Definition{
			{ID: "on", Cron: "@daily", Target: hourbell.AllJobs(), EnabledByDefault: true},
			{ID: "off", Cron: "@daily", Target: hourbell.AllJobs()},
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	_, err = scheduler.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	f := &fixture{TB: t, db: db, log: &bytes.Buffer{}}
	f.lock()
	if cfg.Authorize == nil {
		cfg.Authorize = AllowAll
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(f.log, nil))
	}
	made, err := New(scheduler, cfg)
	require.NoError(t, err)
	f.handler = made.(*handler)
	return f
}

// lock locks the schedule "on".
func (f *fixture) lock() {
	f.Helper()
	require.NoError(f, f.db.Exec("UPDATE hourbell_schedules SET locked_by = 'w', locked_at = next_run_at WHERE id = 'on'").Error)
}

// examplePath returns a path of the route whose parameters name existing rows,
// and on which a write changes something.
func (r route) examplePath() string {
	id := "off"
	switch {
	case strings.HasSuffix(r.path, "/disable"), strings.HasSuffix(r.path, "/unlock"):
		id = "on"
	case strings.Contains(r.path, "/runs/{id}"):
		id = "1"
	}
	return strings.NewReplacer("{id}", id, "{group}", "group", "{job}", "job", "{file}", "page.css").Replace(r.path)
}

// exampleQuery returns the query, or the form, that the route requires.
func (r route) exampleQuery() string {
	switch r.path {
	case "/api/preview":
		return "cron=@daily"
	case "/enable", "/disable":
		return "id=on&id=off"
	}
	return ""
}

// request returns a request for the route that succeeds.
func (r route) request() *http.Request {
	request := httptest.NewRequest(r.method, "/", nil)
	request.URL.Path, request.URL.RawPath, request.URL.RawQuery = r.examplePath(), "", ""
	if r.method == http.MethodGet {
		request.URL.RawQuery = r.exampleQuery()
	} else if body := r.exampleQuery(); body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Body = io.NopCloser(strings.NewReader(body))
	}
	return request
}

// do serves a request.
func (f *fixture) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

// dump returns all rows of all tables as text.
func (f *fixture) dump() string {
	f.Helper()
	var all strings.Builder
	for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
		var rows []map[string]any
		require.NoError(f, f.db.Table("hourbell_"+table).Order("id").Find(&rows).Error)
		for _, row := range rows {
			_, _ = fmt.Fprintln(&all, table, row)
		}
	}
	return all.String()
}

// requireUnchanged fails the test if a row changes while fn runs.
func (f *fixture) requireUnchanged(what string, fn func()) {
	f.Helper()
	before := f.dump()
	fn()
	require.Equal(f, before, f.dump(), what)
}

// withEscapedPath sets the path of a request in its escaped form.
func withEscapedPath(r *http.Request, escaped string) *http.Request {
	r.URL.RawPath = escaped
	if plain, err := url.PathUnescape(escaped); err == nil {
		r.URL.Path = plain
	}
	return r
}
