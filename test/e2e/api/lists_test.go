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

// many are schedules without end.
func many(n int) []hourbell.Definition {
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%05d", i), Name: fmt.Sprintf("Name %d", i/2), Cron: "*/15 * * * *", Target: hourbell.Jobs("import"), EnabledByDefault: i%3 > 0,
		}
	}
	return list
}

// walk reads a list to its end, page by page.
func (h *host) walk(path, name string, between func()) (rows []map[string]any) {
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

// Pages stay complete while rows are added: each row that was there at the beginning comes once.
func TestPagesStayCompleteWhileRowsAreAdded(t *testing.T) {
	eachHost(t, setup{Config: hourbell.Config{Definitions: many(25)}}, func(t *testing.T, h *host) {
		for range 12 {
			h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/schedule-00001/run"})
		}
		before := column(items(h.get("/api/runs?limit=200"), "runs"), "id")
		add := func() { h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/schedule-00001/run"}) }
		require.Equal(t, before, column(h.walk("/api/runs?limit=5", "runs", add), "id"))

		before = column(items(h.get("/api/schedules/schedule-00001/runs?limit=200"), "runs"), "id")
		require.Equal(t, before, column(h.walk("/api/schedules/schedule-00001/runs?limit=4", "runs", add), "id"))

		before = column(items(h.get("/api/schedules/schedule-00001/events?limit=200"), "events"), "id")
		require.Greater(t, len(before), 12)
		require.Equal(t, before, column(h.walk("/api/schedules/schedule-00001/events?limit=4", "events", add), "id"))

		var ids []any
		for _, d := range many(25) {
			ids = append(ids, d.ID)
		}
		fire := func() {
			h.clock.Advance(15 * time.Minute)
			h.tick()
		}
		require.Equal(t, ids, column(h.walk("/api/schedules?limit=4", "schedules", fire), "id"))
		for _, sort := range []string{"name", "nextRunAt", "lastRunAt"} {
			require.ElementsMatch(t, ids, column(h.walk("/api/schedules?limit=4&sort="+sort, "schedules", func() {}), "id"), sort)
		}
	})
}

func TestListsAreFiltered(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour))
		h.tick()
		h.call(http.StatusCreated, request{method: "POST", path: "/api/enqueue/all"})
		_, err := h.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "w", Jobs: []string{"report/daily"}})
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
			"search=import":            {"shop/feed.v2:a"}, // a job that it names
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
		require.Equal(t, map[string]any{"all": 2.0, "enabled": 1.0, "disabled": 1.0, "overdue": 0.0, "failing": 0.0, "removed": 0.0}, counts)
	})
}

// Whoever has an answer is told in a few bytes that it still holds.
func TestAnUnchangedAnswerIsNotSentAgain(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		for _, o := range operations(h.aRun()) {
			if o.writes() {
				continue
			}
			plainly := map[string]string{"Accept-Encoding": "identity"}
			first := h.send(request{method: "GET", path: o.path, header: plainly})
			tag := first.Header.Get("ETag")
			require.NotEmpty(t, tag, o.id)
			require.Equal(t, "private, no-cache", first.Header.Get("Cache-Control"))
			require.Equal(t, "nosniff", first.Header.Get("X-Content-Type-Options"))
			head := h.send(request{method: "HEAD", path: o.path, header: plainly})
			require.Equal(t, []any{http.StatusOK, tag, first.Header.Get("Content-Length")}, []any{head.StatusCode, head.Header.Get("ETag"), head.Header.Get("Content-Length")})
			for _, have := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
				again := h.send(request{method: "GET", path: o.path, header: map[string]string{"If-None-Match": have, "Accept-Encoding": "identity"}})
				require.Equal(t, http.StatusNotModified, again.StatusCode, "%s %s", o.id, have)
				require.Equal(t, tag, again.Header.Get("ETag"))
			}
			require.Equal(t, http.StatusOK, h.send(request{method: "GET", path: o.path, header: map[string]string{"If-None-Match": `"other"`}}).StatusCode)
		}
		missing := h.send(request{method: "GET", path: "/api/runs/4711", header: map[string]string{"If-None-Match": "*"}})
		require.Equal(t, http.StatusNotFound, missing.StatusCode, "nobody has what is not there")
		require.Empty(t, missing.Header.Get("ETag"))
		old := h.send(request{method: "GET", path: "/api/schedules"}).Header.Get("ETag")
		h.post("/api/schedules/hourly/enable", "")
		require.Equal(t, http.StatusOK, h.send(request{method: "GET", path: "/api/schedules", header: map[string]string{"If-None-Match": old}}).StatusCode)
	})
}

// What is large is compressed for whoever understands that.
func TestLargeAnswersAreCompressed(t *testing.T) {
	eachHost(t, setup{Config: hourbell.Config{Definitions: many(50)}}, func(t *testing.T, h *host) {
		get := func(path string, header ...string) answer {
			sent, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+path, nil)
			require.NoError(t, err)
			sent.Header.Set("Accept-Encoding", header[0])
			if len(header) > 1 {
				sent.Header.Set("If-None-Match", header[1])
			}
			got, err := http.DefaultTransport.RoundTrip(sent)
			require.NoError(t, err)
			defer func() { _ = got.Body.Close() }()
			body, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.Equal(t, "Accept-Encoding", got.Header.Get("Vary"))
			return answer{got, string(body)}
		}
		for _, path := range []string{"/api/schedules", "/"} {
			whole := get(path, "identity")
			require.Empty(t, whole.Header.Get("Content-Encoding"))
			for _, accepted := range []string{"gzip", "br, GZIP;q=0.5", "gzip; q=1"} {
				small := get(path, accepted)
				require.Equal(t, "gzip", small.Header.Get("Content-Encoding"), accepted)
				require.Less(t, 4*len(small.body), len(whole.body))
				reader, err := gzip.NewReader(strings.NewReader(small.body))
				require.NoError(t, err)
				text, err := io.ReadAll(reader)
				require.NoError(t, err)
				require.Equal(t, whole.body, string(text))
				require.Equal(t, "W/"+whole.Header.Get("ETag"), small.Header.Get("ETag"))
				require.Equal(t, http.StatusNotModified, get(path, accepted, small.Header.Get("ETag")).StatusCode)
			}
			for _, refused := range []string{"", "gzip;q=0", "br", "gzipped"} {
				require.Equal(t, whole.body, get(path, refused).body, refused)
			}
		}
		require.Empty(t, get("/api/jobs", "gzip").Header.Get("Content-Encoding"), "it is small")
	})
}
