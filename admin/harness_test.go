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

// desk is a handler on a database, for tests that must know its routes: none can be forgotten then.
type desk struct {
	testing.TB
	*handler
	db  *dbtest.DB
	log *bytes.Buffer
}

// newDesk makes a handler on a database with one schedule that is on and locked, one that is off, and one run. Everybody
// may do everything unless cfg says otherwise.
func newDesk(t testing.TB, db *dbtest.DB, cfg Config) *desk {
	t.Helper()
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
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET locked_by = 'w', locked_at = next_run_at WHERE id = 'on'").Error)
	if cfg.Authorize == nil {
		cfg.Authorize = AllowAll
	}
	d := &desk{TB: t, db: db, log: &bytes.Buffer{}}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	}
	made, err := New(scheduler, cfg)
	require.NoError(t, err)
	d.handler = made.(*handler)
	return d
}

// at is a path of a route, whose parameters name what is there.
func (r route) at() string {
	id := "off" // which enable would turn on
	switch {
	case strings.HasSuffix(r.path, "/disable"), strings.HasSuffix(r.path, "/unlock"):
		id = "on"
	case strings.Contains(r.path, "/runs/{id}"):
		id = "1"
	}
	return strings.NewReplacer("{id}", id, "{group}", "group", "{job}", "job", "{file}", "page.css").Replace(r.path)
}

// query is what a GET needs to be answered.
func (r route) asks() string {
	switch r.path {
	case "/api/preview":
		return "cron=@daily"
	case "/enable", "/disable":
		return "id=on&id=off"
	}
	return ""
}

// request is one of a route's that would succeed.
func (r route) request() *http.Request {
	request := httptest.NewRequest(r.method, "/", nil)
	request.URL.Path, request.URL.RawPath, request.URL.RawQuery = r.at(), "", ""
	if r.method == http.MethodGet {
		request.URL.RawQuery = r.asks()
	} else if body := r.asks(); body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Body = io.NopCloser(strings.NewReader(body))
	}
	return request
}

// answer serves a request.
func (d *desk) answer(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// stored is all that is stored, as text.
func (d *desk) stored() string {
	d.Helper()
	var all strings.Builder
	for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
		var rows []map[string]any
		require.NoError(d, d.db.Table("hourbell_"+table).Order("id").Find(&rows).Error)
		for _, row := range rows {
			_, _ = fmt.Fprintln(&all, table, row)
		}
	}
	return all.String()
}

// untouched fails the test where anything stored changes while fn runs.
func (d *desk) untouched(what string, fn func()) {
	d.Helper()
	before := d.stored()
	fn()
	require.Equal(d, before, d.stored(), what)
}

// sentAs sets the path of a request as it is sent, escapes and all.
func sentAs(r *http.Request, escaped string) *http.Request {
	r.URL.RawPath = escaped
	if plain, err := url.PathUnescape(escaped); err == nil {
		r.URL.Path = plain
	}
	return r
}
