package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// fuzzHandler is a handler that receives fuzzed requests.
type fuzzHandler struct {
	db      *dbtest.DB
	handler http.Handler
}

func newFuzzHandler(f *testing.F) *fuzzHandler {
	f.Helper()
	h := newHost(f, dbtest.SQLite(f), setup{})
	h.heartbeat("active", noon, 0) // without a worker, fleet=1 returns 503
	handler, err := admin.New(h.scheduler, admin.Config{Authorize: admin.AllowAll})
	require.NoError(f, err)
	return &fuzzHandler{h.db, handler}
}

// countWrites counts all rows and all changes of schedules.
func (h *fuzzHandler) countWrites(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, h.db.Raw(`SELECT (SELECT count(*) FROM hourbell_job_runs) + (SELECT count(*) FROM hourbell_events) +
		(SELECT sum(version) + count(*) FROM hourbell_schedules) + (SELECT count(*) FROM hourbell_workers)`).Scan(&n).Error)
	return n
}

// send sends a request. The response must not be a server error. A refused
// request or a GET must not write.
func (h *fuzzHandler) send(t *testing.T, r *http.Request) {
	t.Helper()
	before := h.countWrites(t)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	require.Less(t, w.Code, 500, "%s %s: %s", r.Method, r.URL, w.Body)
	if w.Code >= 400 || r.Method == http.MethodGet {
		require.Equal(t, before, h.countWrites(t), "%s %s: %d", r.Method, r.URL, w.Code)
	}
}

func FuzzQuery(f *testing.F) {
	h := newFuzzHandler(f)
	paths := []string{
		"/api/schedules", "/api/runs", "/api/schedules/hourly/events", "/api/schedules/hourly/runs", "/api/schedules/hourly/upcoming",
		"/api/preview", "/api/health", "/api/workers", "/", "/schedules/hourly", "/runs", "/enqueue", "/disable", "/static/page.css",
	}
	for i, query := range []string{
		"search=a%00b&limit=3&cursor=bmFtZQpi", "status=FAILED&cursor=17&limit=2", "kind=SKIPPED", "group=%27%20OR%201%3D1--", "n=7",
		"cron=*/5+1-3+L+*+MON%232&timeZone=Europe/Berlin&n=3", "fleet=1", "", "sort=nextRunAt&cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5CmE", "a;b", "=", "search=%ff", "id=hourly&id=nightly",
		"events=3&cursor=9&status=QUEUED", "v=x",
	} {
		f.Add(i, query)
	}
	f.Fuzz(func(t *testing.T, path int, query string) {
		r := httptest.NewRequest(http.MethodGet, paths[uint(path)%uint(len(paths))], nil)
		r.URL.RawQuery = query
		h.send(t, r)
	})
}

func FuzzPath(f *testing.F) {
	h := newFuzzHandler(f)
	for i, id := range []string{"hourly", "shop/feed.v2:a", "..", "%", "a\x00b", "\xff", "'; DROP TABLE hourbell_schedules; --", strings.Repeat("x", 300), "-1", "９"} {
		f.Add(i, id)
	}
	f.Fuzz(func(t *testing.T, route int, id string) {
		routes := []string{
			"GET /api/schedules/*", "GET /api/schedules/*/runs", "GET /api/schedules/*/events", "GET /api/schedules/*/upcoming", "GET /api/runs/*",
			"POST /api/schedules/*/enable", "POST /api/schedules/*/disable", "POST /api/schedules/*/run", "POST /api/schedules/*/unlock",
			"POST /api/enqueue/groups/*", "POST /api/enqueue/jobs/*", "GET /*", "GET /api/*",
			"GET /schedules/*", "GET /schedules/*/run", "GET /schedules/*/unlock", "GET /runs/*", "GET /enqueue/groups/*", "GET /enqueue/jobs/*", "GET /static/*",
			"POST /schedules/*/enable", "POST /schedules/*/run", "POST /enqueue/jobs/*",
		}
		method, path, _ := strings.Cut(routes[uint(route)%uint(len(routes))], " ")
		r := httptest.NewRequest(method, "/", nil)
		r.URL.Path, r.URL.RawPath = strings.Replace(path, "*", id, 1), strings.Replace(path, "*", url.PathEscape(id), 1)
		h.send(t, r)
	})
}

func FuzzBody(f *testing.F) {
	h := newFuzzHandler(f)
	for _, body := range []string{
		`{}`, `{"note": "x", "ifMatch": ""}`, `{"note": "\ud800"}`, `{"NOTE": 1}`, `null`, `{"note":`, "\x00", `{"ifMatch": "x"}`, `{"note": {"note": []}}`, `[[[[`,
	} {
		f.Add("hourly/enable", body, "application/json", "key")
	}
	f.Add("hourly/run", "note=x", "text/plain; charset=\"", "\"\"")
	f.Add("../../schedules/hourly/enable", "note=x&ifMatch=&back=%3Fa%3Db%0d%0aX:y", "application/x-www-form-urlencoded", "")
	f.Add("../../disable", "id=hourly&id=hourly&id=%00&note=%ff", "application/x-www-form-urlencoded", "")
	f.Fuzz(func(t *testing.T, path, body, contentType, key string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawPath = "/api/schedules/"+path, ""
		if page, isPage := strings.CutPrefix(path, "../.."); isPage {
			r.URL.Path = page
		}
		r.Header["Content-Type"] = []string{contentType}
		r.Header["Idempotency-Key"] = []string{key}
		h.send(t, r)
	})
}
