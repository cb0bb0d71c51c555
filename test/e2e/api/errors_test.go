package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// operation is an operation of the document with a path that exists.
type operation struct{ id, method, path string }

func (o operation) writes() bool { return o.method == "POST" }

// withParam returns the path with another query parameter.
func (o operation) withParam(parameter string) string {
	if strings.Contains(o.path, "?") {
		return o.path + "&" + parameter
	}
	return o.path + "?" + parameter
}

// operations returns all operations of the document. run is the id of a run.
func operations(run any) (list []operation) {
	for path, item := range document.Paths.Map() {
		for method, o := range item.Operations() {
			id := "hourly"
			if strings.HasPrefix(path, "/api/runs/") {
				id = fmt.Sprintf("%.0f", run)
			}
			target := strings.NewReplacer("{id}", id, "{group}", "feed", "{job}", "import").Replace(path)
			if path == "/api/preview" {
				target += "?cron=@daily"
			}
			list = append(list, operation{o.OperationID, method, target})
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return list
}

// newRun enqueues a run and returns its id.
func (h *host) newRun() any {
	h.Helper()
	return items(h.call(http.StatusCreated, request{method: "POST", path: "/api/enqueue/jobs/publish"}), "runs")[0]["id"]
}

// Every operation refuses unknown parameters. Every write refuses bodies that
// are too large, have another content type or do not match the document.
func TestEveryOperationRefusesBadInput(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		all := operations(h.newRun())
		h.requireUnchanged(func() {
			for _, o := range all {
				body := h.call(http.StatusBadRequest, request{method: o.method, path: o.withParam("nonsense=1")})
				require.Equal(t, []any{"bad-value", "nonsense"}, []any{body["code"], body["field"]}, o.id)
				body = h.call(http.StatusBadRequest, request{method: o.method, path: o.withParam("a=%zz")})
				require.Equal(t, "bad-query", body["code"], o.id)
				if !o.writes() {
					continue
				}
				h.call(http.StatusRequestEntityTooLarge, request{method: "POST", path: o.path, body: `{"note": "` + strings.Repeat("x", 64<<10) + `"}`})
				form := h.send(request{method: "POST", path: o.path, body: "note=x", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}})
				require.Equal(t, http.StatusUnsupportedMediaType, form.StatusCode)
				require.Equal(t, "application/json", form.Header.Get("Accept"))
				for sent, want := range map[string][]any{
					`{`:                     {"bad-body", nil},
					`[]`:                    {"bad-body", nil},
					`"note"`:                {"bad-body", nil},
					`{"note": 7}`:           {"bad-value", "note"},
					`{"reason": "x"}`:       {"bad-value", "reason"},
					`{"note": "x"} {}`:      {"bad-body", nil},
					`{"note": "x"}}`:        {"bad-body", nil},
					`{"note": "\u0000"}`:    {"bad-value", "note"},
					`{"note": "\u001b[2J"}`: {"bad-value", "note"},
					`{"note": "` + strings.Repeat("ü", 2001) + `"}`: {"bad-value", "note"},
				} {
					body := h.call(http.StatusBadRequest, request{method: "POST", path: o.path, body: sent})
					require.Equal(t, want, []any{body["code"], body["field"]}, "%s %s", o.id, sent)
				}
			}
		})
	})
}

func TestErrorNamesBadParameter(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.requireUnchanged(func() {
			for path, field := range map[string]string{
				"/api/schedules?limit=0":                         "limit",
				"/api/schedules?limit=201":                       "limit",
				"/api/schedules?limit=ten":                       "limit",
				"/api/schedules?limit=":                          "limit",
				"/api/schedules?limit=1&limit=2":                 "limit",
				"/api/schedules?state=enabled":                   "state",
				"/api/schedules?sort=cron":                       "sort",
				"/api/schedules?cursor=nonsense!":                "cursor",
				"/api/schedules?search=%ff":                      "search",
				"/api/schedules?sort=nextRunAt&cursor=eApo":      "cursor",
				"/api/schedules/hourly/runs?limit=-1":            "limit",
				"/api/schedules/hourly/runs?status=DONE":         "status",
				"/api/schedules/hourly/runs?schedule=x":          "schedule",
				"/api/schedules/hourly/events?kind=FIRED":        "kind",
				"/api/runs/1?omitArgs=no":                        "omitArgs",
				"/api/schedules/hourly/events?cursor=0":          "cursor",
				"/api/schedules/hourly/upcoming?n=0":             "n",
				"/api/schedules/hourly/upcoming?n=101":           "n",
				"/api/runs?trigger=HAND":                         "trigger",
				"/api/runs?cursor=99999999999999999999":          "cursor",
				"/api/runs/first":                                "id",
				"/api/runs/-1":                                   "id",
				"/api/preview":                                   "cron",
				"/api/preview?cron=61+*+*+*+*":                   "cron",
				"/api/preview?cron=0+0+31+2+*":                   "cron",
				"/api/preview?cron=@daily&timeZone=Mars/Olympus": "timeZone",
				"/api/preview?cron=@daily&timeZone=Local":        "timeZone",
				"/api/preview?cron=@daily&n=1e3":                 "n",
				"/api/health?fleet=maybe":                        "fleet",
			} {
				body := h.call(http.StatusBadRequest, request{method: "GET", path: path})
				require.Equal(t, field, body["field"], path)
				require.True(t, strings.HasPrefix(body["detail"].(string), field+" "), body["detail"])
			}
			for name, key := range map[string]string{"empty": "", "empty in quotes": `""`, "too long": strings.Repeat("k", 201), "unprintable": "a\tb"} {
				body := h.call(http.StatusBadRequest, request{method: "POST", path: "/api/enqueue/all", header: map[string]string{"Idempotency-Key": key}})
				require.Equal(t, "Idempotency-Key", body["field"], name)
			}
			body := h.call(http.StatusBadRequest, request{method: "POST", path: "/api/enqueue/all", body: `{"ifMatch": "x"}`})
			require.Equal(t, "ifMatch", body["field"])
		})
	})
}

func TestUnknownIDsAreNotFound(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.requireUnchanged(func() {
			for _, r := range []request{
				{method: "GET", path: "/api/schedules/missing"},
				{method: "GET", path: "/api/schedules/missing/runs"},
				{method: "GET", path: "/api/schedules/missing/events"},
				{method: "GET", path: "/api/schedules/missing/upcoming"},
				{method: "POST", path: "/api/schedules/missing/enable"},
				{method: "POST", path: "/api/schedules/missing/disable"},
				{method: "POST", path: "/api/schedules/missing/run"},
				{method: "POST", path: "/api/schedules/missing/unlock"},
				{method: "GET", path: "/api/schedules/%00"},
				{method: "GET", path: "/api/schedules/%27%3B%20DROP%20TABLE%20hourbell_schedules"},
			} {
				require.Equal(t, "unknown-schedule", h.call(http.StatusNotFound, r)["code"], r.path)
			}
			require.Equal(t, "unknown-run", h.call(http.StatusNotFound, request{method: "GET", path: "/api/runs/4711"})["code"])
			require.Equal(t, "unknown-group", h.call(http.StatusNotFound, request{method: "POST", path: "/api/enqueue/groups/none"})["code"])
			require.Equal(t, "unknown-job", h.call(http.StatusNotFound, request{method: "POST", path: "/api/enqueue/jobs/none"})["code"])
			for _, path := range []string{"/api", "/api/", "/api/schedules/", "/api/nothing", "/api/schedules/shop/feed.v2:a"} {
				require.Equal(t, "unknown-path", h.call(http.StatusNotFound, request{method: "GET", path: path})["code"], path)
			}
		})
	})
}

func TestWrongMethodListsAllowed(t *testing.T) {
	h := newHost(t, dbtest.SQLite(t), setup{})
	h.requireUnchanged(func() {
		for _, r := range []request{
			{method: "POST", path: "/api/schedules"}, {method: "DELETE", path: "/api/schedules/hourly"}, {method: "PUT", path: "/api/runs/1"},
		} {
			res := h.send(r)
			require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
			require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS"} {
			res := h.send(request{method: method, path: "/api/schedules/hourly/run"})
			require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
			require.Equal(t, "POST", res.Header.Get("Allow"))
		}
	})
}

// O2: an operator's write never hangs. If another transaction holds the row for
// too long, the response is 409 busy.
func TestWriteToBusyScheduleReturnsConflict(t *testing.T) {
	h := newHost(t, dbtest.Postgres(t), setup{Config: hourbell.Config{LockTTL: time.Second}})
	tx := h.db.Begin()
	defer tx.Rollback()
	require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules FOR UPDATE").Error)
	for _, verb := range []string{"enable", "unlock"} {
		if verb == "unlock" {
			require.NoError(t, tx.Exec("UPDATE hourbell_schedules SET locked_by = 'w', locked_at = now()").Error)
			continue // the uncommitted lock is invisible, so there is nothing to unlock
		}
		res := h.send(request{method: "POST", path: "/api/schedules/hourly/" + verb})
		require.Equal(t, http.StatusConflict, res.StatusCode)
		require.Contains(t, res.body, `"busy"`)
		require.NotContains(t, res.body, "SQLSTATE", "the database's text is internal")
		require.Equal(t, "1", res.Header.Get("Retry-After"))
	}
	// The same applies to a request whose key another transaction is using.
	require.NoError(t, tx.Exec("SELECT pg_advisory_xact_lock(hashtextextended('hourbell_job_runs'::regclass::oid || ' default k', 0))").Error)
	for _, path := range []string{"/api/schedules/hourly/run", "/api/enqueue/all", "/api/enqueue/groups/feed", "/api/enqueue/jobs/import"} {
		body := h.call(http.StatusConflict, request{method: "POST", path: path, header: map[string]string{"Idempotency-Key": "k"}})
		require.Equal(t, "busy", body["code"], path)
	}
}

// If the database is unavailable or not migrated, the response is 503 with a
// Retry-After header and without the text of the database error.
func TestUnavailableDatabaseReturns503(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		all := operations(1.0)
		require.NoError(t, db.SQL().Close())
		for _, o := range all {
			if slices.Contains([]string{"health", "listJobs", "openAPI"}, o.id) {
				continue // they use no database
			}
			res := h.send(request{method: o.method, path: o.path})
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "%s: %s", o.id, res.body)
			require.Equal(t, "5", res.Header.Get("Retry-After"))
			require.NotContains(t, res.body, "sql:")
		}
	})
	for _, empty := range []func(testing.TB) *dbtest.DB{dbtest.EmptySQLite, dbtest.EmptyPostgres} {
		h := newHostUnsynced(t, empty(t), setup{})
		body := h.call(http.StatusServiceUnavailable, request{method: "GET", path: "/api/schedules"})
		require.Equal(t, "not-migrated", body["code"])
		require.Contains(t, body["detail"], "store.Migrate")
	}
}
