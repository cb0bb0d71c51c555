package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// denyAll is an Authorize that refuses every action.
func denyAll(*http.Request, Action) (string, error) { return "", errors.New("denied to all") }

// viewOnly is an Authorize that refuses every write.
func viewOnly(_ *http.Request, action Action) (string, error) {
	if action.Verb.Writes() {
		return "", errors.New("bob may only view")
	}
	return "bob", nil
}

// Every route calls Authorize before it reads the database. A refused request
// gets no data.
func TestEveryRouteAsksAuthorizeFirst(t *testing.T) {
	f := newFixture(t, Config{Authorize: denyAll})
	require.NoError(t, f.db.SQL().Close()) // a read would fail
	for _, r := range f.table {
		w := f.do(r.request())
		require.Equal(t, http.StatusForbidden, w.Code, "%s %s: %s", r.method, r.path, w.Body)
		require.Contains(t, w.Body.String(), "denied to all", r.path)
	}
}

// A user who may only view changes nothing through any route. The pages that
// change several schedules report the refusal for each.
func TestNoRouteWritesForViewer(t *testing.T) {
	for name, cfg := range map[string]Config{"the host refuses": {Authorize: viewOnly}, "read-only": {ReadOnly: true}} {
		f := newFixture(t, cfg)
		for _, r := range f.table {
			f.requireUnchanged(name+": "+r.method+" "+r.path, func() {
				w := f.do(r.request())
				switch {
				case r.method == http.MethodGet:
					require.Less(t, w.Code, 400, "%s: %s", r.path, w.Body)
				case r.verb == View: // POST /enable and /disable
					require.Equal(t, http.StatusOK, w.Code, r.path)
					require.Contains(t, w.Body.String(), "0 schedules "+strings.TrimPrefix(r.path, "/")+"d, 2 schedules not")
				default:
					require.Equal(t, http.StatusForbidden, w.Code, "%s: %s", r.path, w.Body)
				}
			})
		}
	}
}

// Every POST of an authorized user writes, and no GET or HEAD does. Without
// this test the ones above would pass on routes that do nothing.
func TestPOSTWritesAndGETDoesNot(t *testing.T) {
	shared := newFixture(t, Config{})
	for i, r := range shared.table {
		f := shared
		if r.method == http.MethodPost { // each needs the initial state
			f = newFixture(t, Config{})
			r = f.table[i]
		}
		before := f.dump()
		w := f.do(r.request())
		require.Less(t, w.Code, 400, "%s %s: %s", r.method, r.path, w.Body)
		if r.method == http.MethodPost {
			require.NotEqual(t, before, f.dump(), "%s %s", r.method, r.path)
			continue
		}
		require.False(t, r.verb.Writes(), r.path)
		head := r.request()
		head.Method = http.MethodHead
		require.Empty(t, f.do(head).Body.String(), r.path)
		require.Equal(t, before, f.dump(), "%s %s", r.method, r.path)
	}
}

// A page of another origin cannot write through any route, whatever headers the
// request has.
func TestNoRouteWritesForOtherOrigin(t *testing.T) {
	if testing.Short() {
		t.Skip("slow, and runs in one goroutine")
	}
	f := newFixture(t, Config{TrustedOrigins: []string{"https://admin.example.com"}})
	headers := []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}},
		{"Sec-Fetch-Site": {"same-site"}},
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://admin.example.com.evil.example"}},
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://admin.example.com"}},
		{"Sec-Fetch-Site": {"cross-site", "same-origin"}},
		{"Origin": {"null"}},
		{"Origin": {"http://example.com:81"}},
		{"Origin": {"http://example.com.evil.example"}},
	}
	for _, r := range f.table {
		f.requireUnchanged(r.path, func() {
			for _, header := range headers {
				if w := f.do(withHeader(r.request(), header)); r.verb.Writes() {
					require.Equal(t, http.StatusForbidden, w.Code, "%s %v", r.path, header)
				}
			}
		})
	}
}

// withHeader adds headers to a request.
func withHeader(r *http.Request, header http.Header) *http.Request {
	for name, values := range header {
		r.Header[name] = values
	}
	return r
}

// A route reacts only to its own method. Headers, the query and the body cannot
// override the method.
func TestMethodCannotBeOverridden(t *testing.T) {
	if testing.Short() {
		t.Skip("slow, and runs in one goroutine")
	}
	requested := map[Verb]bool{}
	f := newFixture(t, Config{Authorize: func(r *http.Request, action Action) (string, error) {
		requested[action.Verb] = true
		return viewOnly(r, action)
	}})
	overrides := []http.Header{
		{"X-Http-Method-Override": {"POST"}},
		{"X-Http-Method": {"POST"}},
		{"X-Method-Override": {"POST"}},
		{"X-Http-Method-Override": {"GET"}},
		{"X-Original-Method": {"GET"}},
		{"X-Original-Url": {"/api/health"}},
		{"X-Rewrite-Url": {"/api/health"}},
	}
	for _, r := range f.table {
		f.requireUnchanged(r.path, func() {
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "POST ", "get"} {
				request := withHeader(r.request(), http.Header{"X-Http-Method-Override": {r.method}})
				request.Method = method
				if w := f.do(request); method != "GET" && method != "HEAD" {
					require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, r.path)
				}
			}
			for _, header := range overrides {
				clear(requested)
				w := f.do(withHeader(r.request(), header))
				require.True(t, requested[r.verb], "%s %s keeps its verb with %v", r.method, r.path, header)
				require.Equal(t, r.verb.Writes(), w.Code == http.StatusForbidden, "%s %v", r.path, header)
			}
			for _, query := range []string{"_method=POST", "_method=GET", "method=POST"} {
				request := r.request()
				request.URL.RawQuery = query
				require.GreaterOrEqual(t, f.do(request).Code, 400, "%s %s", query, r.path)
			}
		})
	}
}

// A path with another case, extra slashes or dots, or double escapes is either
// unknown or subject to Authorize like the plain path.
func TestPathVariantsCannotEvadeAuthorize(t *testing.T) {
	f := newFixture(t, Config{Authorize: denyAll})
	require.NoError(t, f.db.SQL().Close())
	mux := http.NewServeMux()
	mux.Handle("/admin/", http.StripPrefix("/admin", f))
	for _, r := range f.table {
		path := r.examplePath()
		for _, variant := range []string{
			strings.ToUpper(path), path + "/", "/" + path, path + "//", "/." + path, "/x/.." + path, path + "/.", path + "/..", path + "/../x", path + ";a=b", path + ".json",
			path + "%20", path + "%00", path + "%0d%0aX-Evil:1", path + "%2f", path + "%5c", path + `\`, `\` + path, escapeLast(path), strings.ReplaceAll(escapeLast(path), "%", "%25"),
			strings.ReplaceAll(path, "/", "%2f"), strings.ReplaceAll(path, "/", "%252f"), "/%2e%2e" + path, "//evil.example" + path, "http://evil.example" + path, path + "%ff", path + "%", path + "?",
		} {
			for name, serve := range map[string]func(*httptest.ResponseRecorder, *http.Request){
				"bare": func(w *httptest.ResponseRecorder, r *http.Request) { f.ServeHTTP(w, r) },
				"mounted": func(w *httptest.ResponseRecorder, r *http.Request) {
					mux.ServeHTTP(w, withEscapedPath(r, "/admin"+r.URL.RawPath))
				},
			} {
				w := httptest.NewRecorder()
				serve(w, withEscapedPath(r.request(), variant))
				require.Contains(t, []int{301, 307, 308, 400, 403, 404, 405}, w.Code, "%s %s %s: %s", name, r.method, variant, w.Body)
				require.NotContains(t, w.Header(), "X-Evil")
				if location := w.Header().Get("Location"); location != "" && name == "bare" {
					t.Errorf("%s %s is redirected to %s", r.method, variant, location)
				}
			}
		}
	}
}

// escapeLast escapes the last letter of a path.
func escapeLast(path string) string {
	if path == "" || path[len(path)-1] == '/' {
		return path + "%2f"
	}
	const digits = "0123456789ABCDEF"
	last := path[len(path)-1]
	return path[:len(path)-1] + "%" + string([]byte{digits[last>>4], digits[last&15]})
}

// If Authorize panics, nothing is done and the panic reaches the host.
func TestPanicOfAuthorizeReachesHost(t *testing.T) {
	f := newFixture(t, Config{Authorize: func(*http.Request, Action) (string, error) { panic("no session") }})
	for _, r := range f.table {
		f.requireUnchanged(r.path, func() {
			w := httptest.NewRecorder()
			require.PanicsWithValue(t, "no session", func() { f.ServeHTTP(w, r.request()) }, r.path)
			require.Empty(t, w.Body.String())
		})
	}
}

// O5: a write without an actor is recorded as "anonymous".
func TestEmptyActorIsRecordedAsAnonymous(t *testing.T) {
	f := newFixture(t, Config{Authorize: func(*http.Request, Action) (string, error) { return "", nil }})
	before, err := f.scheduler.Events(t.Context(), hourbell.EventQuery{})
	require.NoError(t, err)
	writes := 0
	for _, r := range f.table {
		require.Less(t, f.do(r.request()).Code, 400, r.path)
		if r.verb.Writes() {
			writes++
		}
	}
	events, err := f.scheduler.Events(t.Context(), hourbell.EventQuery{Limit: 1000})
	require.NoError(t, err)
	require.Greater(t, len(events), len(before))
	require.Positive(t, writes)
	for _, e := range events[:len(events)-len(before)] {
		require.Equal(t, anonymous, e.Actor, e.Kind)
	}
}

// controlOf returns the button with an id, from a page.
func (f *fixture) controlOf(path, id string) string {
	f.Helper()
	request := httptest.NewRequest("GET", path, nil)
	request.Header.Set("Accept", "text/html")
	w := f.do(request)
	require.Equal(f, http.StatusOK, w.Code, w.Body)
	_, after, found := strings.Cut(w.Body.String(), `<button id="`+id+`"`)
	require.True(f, found, "%s has no button %s", path, id)
	button, _, _ := strings.Cut(after, "</button>")
	return button
}

// The page disables the switch and the run button of a removed schedule, and
// the run button of a schedule that another build declares.
func TestPageDisablesControlsOfUnavailableSchedules(t *testing.T) {
	f := newFixture(t, Config{})
	require.NoError(t, f.db.Exec("UPDATE hourbell_schedules SET removed_at = next_run_at, locked_by = NULL, locked_at = NULL WHERE id = 'on'").Error)
	require.NoError(t, f.db.Exec("UPDATE hourbell_schedules SET definition_hash = 'another build' WHERE id = 'off'").Error)
	for _, root := range []string{"/", "/schedules/"} {
		path := func(id string) string {
			if root == "/" {
				return root
			}
			return root + id
		}
		for _, id := range []string{"switch-on", "run-on"} {
			button := f.controlOf(path("on"), id)
			require.Contains(t, button, `aria-disabled="true" title="it was removed from code"`, root+id)
		}
		require.Contains(t, f.controlOf(path("off"), "run-off"), `aria-disabled="true" title="another build declares it`, root)
		require.NotContains(t, f.controlOf(path("off"), "switch-off"), "aria-disabled", root)
	}
	for path, text := range map[string]string{
		"/schedules/on/disable": "it was removed from code", "/schedules/on/run": "it was removed from code", "/schedules/off/run": "another build declares it",
	} {
		w := f.do(httptest.NewRequest("GET", path, nil))
		require.Contains(t, w.Body.String(), "You cannot do this: "+text, path)
		require.NotContains(t, w.Body.String(), "<textarea", path)
	}
}

// The pages leave out a schedule that the user may not view, and its runs.
func TestPagesHideScheduleThatViewRefuses(t *testing.T) {
	refused := false
	f := newFixture(t, Config{Authorize: func(_ *http.Request, action Action) (string, error) {
		if action.ScheduleID == "on" && refused {
			return "", errors.New("hidden from bob")
		}
		return "bob", nil
	}})
	_, err := f.scheduler.RunNow(t.Context(), "on", hourbell.EnqueueOptions{IdempotencyKey: "secret"})
	require.NoError(t, err)
	refused = true
	for _, path := range []string{"/runs?schedule=on", "/runs/2", "/runs/2/args", "/enable?id=on", "/enable?id=on&id=off", "/disable?id=on", "/schedules/on"} {
		w := f.do(httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusForbidden, w.Code, path)
		require.Contains(t, w.Body.String(), "hidden from bob", path)
	}
	for _, path := range []string{"/", "/runs", "/?sort=name", "/?state=ENABLED"} {
		w := f.do(httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusOK, w.Code, path)
		require.NotContains(t, w.Body.String(), "schedules/on", path)
		require.NotContains(t, w.Body.String(), "No schedule is declared", path)
	}
	require.Contains(t, f.do(httptest.NewRequest("GET", "/", nil)).Body.String(), "1 schedule: 0 enabled, 1 disabled")
}

// The pages that change several schedules have no button if the user may change
// none of them.
func TestPagesOfSeveralSchedulesHaveNoButtonForViewer(t *testing.T) {
	for reason, cfg := range map[string]Config{"bob may only view": {Authorize: viewOnly}, readOnly: {ReadOnly: true}} {
		f := newFixture(t, cfg)
		for _, path := range []string{"/enable?id=on&id=off", "/disable?id=on&id=off"} {
			w := f.do(httptest.NewRequest("GET", path, nil))
			require.Equal(t, http.StatusOK, w.Code, path)
			require.Contains(t, w.Body.String(), "You cannot do this: "+reason, path)
			require.NotContains(t, w.Body.String(), "<button", path)
		}
	}
	f := newFixture(t, Config{})
	require.NoError(t, f.db.Exec("UPDATE hourbell_schedules SET removed_at = next_run_at WHERE id = 'on'").Error)
	w := f.do(httptest.NewRequest("GET", "/enable?id=on", nil))
	require.Contains(t, w.Body.String(), "You cannot do this: it was removed from code")
	w = f.do(httptest.NewRequest("GET", "/enable?id=on&id=off", nil))
	require.Contains(t, w.Body.String(), `<button class="primary"`)
}
