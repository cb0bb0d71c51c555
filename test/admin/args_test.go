package admin_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

const kilobyte = 1 << 10

// mounted serves the fixture's handler under a prefix and returns the URL of
// the mount point.
func (f *fixture) mounted() *url.URL {
	f.Helper()
	mux := http.NewServeMux()
	mux.Handle("/admin/schedules/", http.StripPrefix("/admin/schedules", f))
	server := httptest.NewServer(mux)
	f.Cleanup(server.Close)
	root, err := url.Parse(server.URL + "/admin/schedules/")
	require.NoError(f, err)
	return root
}

// get sends a GET that must succeed and returns the response and its body.
func get(t testing.TB, at *url.URL) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.String(), nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/html")
	res, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s: %.500s", at, body)
	return res, string(body)
}

// enqueueWith enqueues a run with arguments and returns the URL of its page.
func (f *fixture) enqueueWith(root *url.URL, args any) *url.URL {
	f.Helper()
	runs, err := f.scheduler.EnqueueJob(f.Context(), "job", hourbell.EnqueueOptions{Args: args})
	require.NoError(f, err)
	return root.JoinPath("runs", strings.TrimPrefix(runs[0].Key(), "default#"))
}

// shownArgs returns the arguments that a run's page shows.
func shownArgs(t testing.TB, page string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<dt>Arguments</dt>.*?<pre[^>]*>(.*?)</pre>`).FindStringSubmatch(page)
	require.NotNil(t, found, "the page has no arguments: %.2000s", page)
	return html.UnescapeString(found[1])
}

// linkedFile returns the URL of the download that a run's page offers, or nil.
func linkedFile(t testing.TB, at *url.URL, page string) *url.URL {
	t.Helper()
	found := regexp.MustCompile(`href="([^"]*/args)"`).FindStringSubmatch(page)
	if found == nil {
		return nil
	}
	require.False(t, strings.HasPrefix(found[1], "/"), "the link is relative: %s", found[1])
	file, err := at.Parse(html.UnescapeString(found[1]))
	require.NoError(t, err)
	return file
}

// The page of a run shows the first 64 KB of large arguments, says how large
// they are, and links to a file with all of them.
func TestRunPageTruncatesLargeArguments(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		root := f.mounted()
		// The offset of the characters differs in the two databases, which
		// store spaces differently.
		for _, prefix := range []string{"", "x"} {
			want := map[string]string{"text": prefix + strings.Repeat("ü", 5*kilobyte*kilobyte)}
			at := f.enqueueWith(root, want)
			_, page := get(t, at)
			require.Less(t, len(page), 80*kilobyte)
			shown := shownArgs(t, page)
			require.LessOrEqual(t, len(shown), 64*kilobyte)
			require.Greater(t, len(shown), 64*kilobyte-4)
			require.NotContains(t, shown, "\uFFFD", "cut between characters")
			require.True(t, strings.HasSuffix(shown, "üü"))
			require.Contains(t, page, "Only the first 64 KB of 10.0 MB are shown.")

			file := linkedFile(t, at, page)
			require.NotNil(t, file)
			res, body := get(t, file)
			require.Equal(t, "application/json", res.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
			require.Equal(t, `attachment; filename="run-`+strings.TrimPrefix(at.Path, "/admin/schedules/runs/")+`-args.json"`, res.Header.Get("Content-Disposition"))
			var got map[string]string
			require.NoError(t, json.Unmarshal([]byte(body), &got))
			require.Equal(t, len(want["text"]), len(got["text"]))
			require.True(t, want["text"] == got["text"]) // Equal would print both
			require.True(t, strings.HasPrefix(body, shown))
		}
	})
}

// The page of a run shows arguments of up to 64 KB whole, and indented unless
// that makes them longer than 64 KB.
func TestRunPageShowsSmallArgumentsWhole(t *testing.T) {
	numbers := make([]int, 20*kilobyte)                           // 40 KB, and 120 KB indented
	nested := strings.Repeat("[", 900) + strings.Repeat("]", 900) // 1.6 MB indented
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		root := f.mounted()
		for name, c := range map[string]struct {
			args     any
			indented bool
		}{
			"small":  {map[string]any{"shop": 7, "tags": []string{"<b>", "a&b"}}, true},
			"64 KB":  {strings.Repeat("x", 64*kilobyte-2), true},
			"long":   {numbers, false},
			"nested": {json.RawMessage(nested), false},
		} {
			at := f.enqueueWith(root, c.args)
			_, page := get(t, at)
			require.Nil(t, linkedFile(t, at, page), name)
			require.NotContains(t, page, "Only the first", name)
			shown := shownArgs(t, page)
			want, err := json.Marshal(c.args)
			require.NoError(t, err)
			require.JSONEq(t, string(want), shown, name)
			require.LessOrEqual(t, len(shown), 64*kilobyte, name)
			require.Equal(t, c.indented && name != "64 KB", strings.Contains(shown, "\n"), name)
		}
		at := f.enqueueWith(root, nil)
		_, page := get(t, at)
		require.Contains(t, page, `<dt>Arguments</dt><dd><span class="dim">none</span></dd>`)
		_, body := get(t, at.JoinPath("args"))
		require.Equal(t, "null", body)
	})
}

// What the script of a run's page polls has no arguments, and changes with the
// run.
func TestRunPagePollsNoArguments(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		at := f.enqueueWith(f.mounted(), map[string]string{"text": strings.Repeat("x", 1000*kilobyte)})
		_, page := get(t, at)
		found := regexp.MustCompile(`data-poll="([^"]*)"`).FindStringSubmatch(page)
		require.NotNil(t, found)
		polled := strings.Fields(html.UnescapeString(found[1]))
		require.NotEmpty(t, polled)
		read := func() (all string) {
			for _, link := range polled {
				to, err := at.Parse(link)
				require.NoError(t, err)
				_, body := get(t, to)
				all += body
			}
			return all
		}
		before := read()
		require.Less(t, len(before), 2*kilobyte)
		require.Contains(t, before, `"status":"QUEUED"`)
		_, err := f.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 10})
		require.NoError(t, err)
		require.Contains(t, read(), `"status":"RUNNING"`)
	})
}

// The arguments need the same right as the run's page: to view its schedule.
func TestArgumentsRequireRightToViewSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		_, err := f.scheduler.RunNow(t.Context(), "off", hourbell.EnqueueOptions{Args: "secret"})
		require.NoError(t, err)
		f.Handler, err = admin.New(f.scheduler, admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
			if action.ScheduleID == "off" {
				return "", admin.ErrUnauthenticated
			}
			return "bob", nil
		}})
		require.NoError(t, err)
		for path, status := range map[string]int{"/runs/1/args": http.StatusOK, "/runs/2": http.StatusUnauthorized, "/runs/2/args": http.StatusUnauthorized} {
			w := httptest.NewRecorder()
			f.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			require.Equal(t, status, w.Code, path)
			require.NotContains(t, w.Body.String(), "secret")
		}
	})
}

// Callers of the library can store texts of any length. The pages show the
// beginning of a long one.
func TestPagesTruncateLongTexts(t *testing.T) {
	long := "first line of " + strings.Repeat("x", 3000*kilobyte)
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		require.NoError(t, f.scheduler.Disable(t.Context(), "on", hourbell.ChangeOptions{Note: long}))
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET last_error = ?", long).Error)
		require.NoError(t, db.Exec("UPDATE hourbell_events SET detail = ?", long).Error)
		require.NoError(t, db.Exec("UPDATE hourbell_job_runs SET error = ?, schedule_id = 'on', trigger = 'MANUAL'", long).Error)
		root := f.mounted()
		for path, times := range map[string]int{"schedules/on": 6, "runs": 1, "runs/1": 1} {
			_, page := get(t, root.JoinPath(path))
			require.Less(t, len(page), 100*kilobyte, path)
			require.GreaterOrEqual(t, strings.Count(page, "first line of"), times, path)
			require.Equal(t, strings.Count(page, "first line of"), strings.Count(page, "… (the beginning of 2.9 MB)"), path)
		}
	})
}
