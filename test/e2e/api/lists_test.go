package api_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// manyDefinitions returns n definitions.
func manyDefinitions(n int) []hourbell.Definition {
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%05d", i), Name: fmt.Sprintf("Name %d", i/2), Cron: "*/15 * * * *", Target: hourbell.Jobs("import"), EnabledByDefault: i%3 > 0,
		}
	}
	return list
}

// readPages reads all pages of a list, and calls between after each but the
// last.
func (h *host) readPages(path, name string, between func()) (rows []map[string]any) {
	h.Helper()
	for cursor := ""; ; {
		page := h.get(path + "&cursor=" + url.QueryEscape(cursor))
		rows = append(rows, items(page, name)...)
		if cursor = page["next"].(string); cursor == "" {
			return rows
		}
		between()
	}
}

// While rows are added, the pages contain each of the initial rows exactly
// once.
func TestPagesStayCompleteWhileRowsAreAdded(t *testing.T) {
	eachHost(t, setup{Config: hourbell.Config{Definitions: manyDefinitions(25)}}, func(t *testing.T, h *host) {
		for range 12 {
			h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/schedule-00001/run"})
		}
		before := column(items(h.get("/api/runs?limit=200"), "runs"), "id")
		add := func() { h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/schedule-00001/run"}) }
		require.Equal(t, before, column(h.readPages("/api/runs?limit=5", "runs", add), "id"))

		before = column(items(h.get("/api/schedules/schedule-00001/runs?limit=200"), "runs"), "id")
		require.Equal(t, before, column(h.readPages("/api/schedules/schedule-00001/runs?limit=4", "runs", add), "id"))

		before = column(items(h.get("/api/schedules/schedule-00001/events?limit=200"), "events"), "id")
		require.Greater(t, len(before), 12)
		require.Equal(t, before, column(h.readPages("/api/schedules/schedule-00001/events?limit=4", "events", add), "id"))

		var ids []any
		for _, d := range manyDefinitions(25) {
			ids = append(ids, d.ID)
		}
		fire := func() {
			h.clock.Advance(15 * time.Minute)
			h.tick()
		}
		require.Equal(t, ids, column(h.readPages("/api/schedules?limit=4", "schedules", fire), "id"))
		for _, sort := range []string{"name", "nextRunAt", "lastRunAt"} {
			require.ElementsMatch(t, ids, column(h.readPages("/api/schedules?limit=4&sort="+sort, "schedules", func() {}), "id"), sort)
		}
	})
}

func TestListFilters(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour))
		h.tick()
		h.call(http.StatusCreated, request{method: "POST", path: "/api/enqueue/all"})
		_, err := h.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Jobs: []string{"report/daily"}})
		require.NoError(t, err)
		for query, want := range map[string][]any{
			"trigger=API":                    {"report/daily", "publish", "import"},
			"trigger=CRON&job=publish":       {"publish"},
			"group=feed&trigger=API":         {"publish", "import"},
			"status=RUNNING":                 {"report/daily"},
			"schedule=hourly":                {"publish", "import"},
			"schedule=hourly&status=RUNNING": {},
			"job=none":                       {},
			"status=&job=&trigger=MANUAL":    {},
		} {
			require.Equal(t, want, column(items(h.get("/api/runs?"+query), "runs"), "job"), query)
		}
		require.Equal(t, []any{"import"}, column(items(h.get("/api/schedules/hourly/runs?job=import"), "runs"), "job"))
		require.Equal(t, []any{"ENABLED"}, column(items(h.get("/api/schedules/hourly/events?kind=ENABLED"), "events"), "kind"))

		for query, want := range map[string][]any{
			"search=FEED":              {"hourly", "shop/feed.v2:a"},
			"search=offers":            {"hourly"},
			"search=import":            {"shop/feed.v2:a"}, // the target names the job
			"search=%25":               {},
			"search=_":                 {},
			"state=ENABLED":            {"hourly", "shop/feed.v2:a"},
			"state=DISABLED":           {"nightly"},
			"sort=lastRunAt&limit=1":   {"hourly"},
			"sort=nextRunAt&limit=1":   {"shop/feed.v2:a"},
			"state=OVERDUE":            {},
			"state=&search=&sort=name": {"hourly", "nightly", "shop/feed.v2:a"},
		} {
			require.Equal(t, want, column(items(h.get("/api/schedules?"+query), "schedules"), "id"), query)
		}
		counts := h.get("/api/schedules?state=DISABLED&search=l")["counts"]
		require.Equal(t, map[string]any{"all": 2.0, "enabled": 1.0, "disabled": 1.0, "overdue": 0.0, "failing": 0.0, "manual": 0.0, "removed": 0.0}, counts)
	})
}

// A GET with a matching If-None-Match gets a 304 without a body.
func TestUnchangedResponseIsNotModified(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		for _, o := range operations(h.newRun()) {
			if o.writes() {
				continue
			}
			uncompressed := map[string]string{"Accept-Encoding": "identity"}
			first := h.send(request{method: "GET", path: o.path, header: uncompressed})
			tag := first.Header.Get("ETag")
			require.NotEmpty(t, tag, o.id)
			require.Equal(t, "private, no-cache", first.Header.Get("Cache-Control"))
			require.Equal(t, "nosniff", first.Header.Get("X-Content-Type-Options"))
			head := h.send(request{method: "HEAD", path: o.path, header: uncompressed})
			require.Equal(t, []any{http.StatusOK, tag, first.Header.Get("Content-Length")}, []any{head.StatusCode, head.Header.Get("ETag"), head.Header.Get("Content-Length")})
			for _, ifNoneMatch := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				second := h.send(request{method: "GET", path: o.path, header: map[string]string{"If-None-Match": ifNoneMatch, "Accept-Encoding": "identity"}})
				require.Equal(t, http.StatusNotModified, second.StatusCode, "%s %s", o.id, ifNoneMatch)
				require.Equal(t, tag, second.Header.Get("ETag"))
			}
			require.Equal(t, http.StatusOK, h.send(request{method: "GET", path: o.path, header: map[string]string{"If-None-Match": `"other"`}}).StatusCode)
		}
		missing := h.send(request{method: "GET", path: "/api/runs/4711", header: map[string]string{"If-None-Match": "*"}})
		require.Equal(t, http.StatusNotFound, missing.StatusCode, "a missing run matches no tag")
		require.Empty(t, missing.Header.Get("ETag"))
		old := h.send(request{method: "GET", path: "/api/schedules"}).Header.Get("ETag")
		h.post("/api/schedules/hourly/enable", "")
		require.Equal(t, http.StatusOK, h.send(request{method: "GET", path: "/api/schedules", header: map[string]string{"If-None-Match": old}}).StatusCode)
	})
}

// Large responses are compressed if the client accepts gzip.
func TestLargeResponsesAreCompressed(t *testing.T) {
	eachHost(t, setup{Config: hourbell.Config{Definitions: manyDefinitions(50)}}, func(t *testing.T, h *host) {
		get := func(path string, header ...string) response {
			sent, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+path, nil)
			require.NoError(t, err)
			sent.Header.Set("Accept-Encoding", header[0])
			if len(header) > 1 {
				sent.Header.Set("If-None-Match", header[1])
			}
			res, err := http.DefaultTransport.RoundTrip(sent)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Equal(t, "Accept-Encoding", res.Header.Get("Vary"))
			return response{res, string(body)}
		}
		for _, path := range []string{"/api/schedules", "/"} {
			full := get(path, "identity")
			require.Empty(t, full.Header.Get("Content-Encoding"))
			for _, accepted := range []string{"gzip", "br, GZIP;q=0.5", "gzip; q=1"} {
				compressed := get(path, accepted)
				require.Equal(t, "gzip", compressed.Header.Get("Content-Encoding"), accepted)
				require.Less(t, 4*len(compressed.body), len(full.body))
				reader, err := gzip.NewReader(strings.NewReader(compressed.body))
				require.NoError(t, err)
				text, err := io.ReadAll(reader)
				require.NoError(t, err)
				require.Equal(t, full.body, string(text))
				require.Equal(t, "W/"+full.Header.Get("ETag"), compressed.Header.Get("ETag"))
				require.Equal(t, http.StatusNotModified, get(path, accepted, compressed.Header.Get("ETag")).StatusCode)
			}
			for _, refused := range []string{"", "gzip;q=0", "br", "gzipped"} {
				require.Equal(t, full.body, get(path, refused).body, refused)
			}
		}
		require.Empty(t, get("/api/jobs", "gzip").Header.Get("Content-Encoding"), "a small response")
	})
}
