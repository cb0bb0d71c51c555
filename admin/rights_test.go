package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

func nobody(*http.Request, Action) (string, error) { return "", errors.New("nobody may") }

// onlyLook is an Authorize that allows no write.
func onlyLook(_ *http.Request, action Action) (string, error) {
	if action.Verb.Writes() {
		return "", errors.New("bob may look, and not touch")
	}
	return "bob", nil
}

// Every route asks the host first, before the database is read, and answers nothing to whom the host refuses.
func TestNoRouteAnswersWhomTheHostRefuses(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{Authorize: nobody})
	require.NoError(t, d.db.SQL().Close()) // nothing can be read
	for _, r := range d.table {
		w := d.answer(r.request())
		require.Equal(t, http.StatusForbidden, w.Code, "%s %s: %s", r.method, r.path, w.Body)
		require.Contains(t, w.Body.String(), "nobody may", r.path)
	}
}

// Whoever may only look changes nothing by any route. Those of pages that change several schedules say so for each.
func TestNoRouteWritesForWhomMayOnlyLook(t *testing.T) {
	for name, cfg := range map[string]Config{"the host refuses": {Authorize: onlyLook}, "read-only": {ReadOnly: true}} {
		d := newDesk(t, dbtest.SQLite(t), cfg)
		for _, r := range d.table {
			d.untouched(name+": "+r.method+" "+r.path, func() {
				w := d.answer(r.request())
				switch {
				case r.method == http.MethodGet:
					require.Less(t, w.Code, 400, "%s: %s", r.path, w.Body)
				case r.verb == View: // /enable and /disable
					require.Equal(t, http.StatusOK, w.Code, r.path)
					require.Contains(t, w.Body.String(), "0 schedules "+strings.TrimPrefix(r.path, "/")+"d, 2 schedules not")
				default:
					require.Equal(t, http.StatusForbidden, w.Code, "%s: %s", r.path, w.Body)
				}
			})
		}
	}
}

// The other half: whom nobody refuses does write by each POST, and by no GET or HEAD. Without it the tests above would pass
// on routes that do nothing.
func TestEachPOSTWritesAndNoGETDoes(t *testing.T) {
	shared := newDesk(t, dbtest.SQLite(t), Config{})
	for i, r := range shared.table {
		d := shared
		if r.method == http.MethodPost { // each finds it as it was
			d = newDesk(t, dbtest.SQLite(t), Config{})
			r = d.table[i]
		}
		before := d.stored()
		w := d.answer(r.request())
		require.Less(t, w.Code, 400, "%s %s: %s", r.method, r.path, w.Body)
		if r.method == http.MethodPost {
			require.NotEqual(t, before, d.stored(), "%s %s", r.method, r.path)
			continue
		}
		require.False(t, r.verb.Writes(), r.path)
		head := r.request()
		head.Method = http.MethodHead
		require.Empty(t, d.answer(head).Body.String(), r.path)
		require.Equal(t, before, d.stored(), "%s %s", r.method, r.path)
	}
}

// No page of another origin writes by any route, whatever it says it is.
func TestNoRouteWritesForAnotherOrigin(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	d := newDesk(t, dbtest.SQLite(t), Config{TrustedOrigins: []string{"https://admin.example.com"}})
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
	for _, r := range d.table {
		d.untouched(r.path, func() {
			for _, header := range headers {
				if w := d.answer(sending(r.request(), header)); r.verb.Writes() {
					require.Equal(t, http.StatusForbidden, w.Code, "%s %v", r.path, header)
				}
			}
		})
	}
}

// sending adds headers to a request.
func sending(r *http.Request, header http.Header) *http.Request {
	for name, values := range header {
		r.Header[name] = values
	}
	return r
}

// No method but a route's own does what it does, whatever a header, the query or the body says the method is.
func TestNoOtherMethodDoesWhatARouteDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	asked := map[Verb]bool{}
	d := newDesk(t, dbtest.SQLite(t), Config{Authorize: func(r *http.Request, action Action) (string, error) {
		asked[action.Verb] = true
		return onlyLook(r, action)
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
	for _, r := range d.table {
		d.untouched(r.path, func() {
			for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "POST ", "get"} {
				request := sending(r.request(), http.Header{"X-Http-Method-Override": {r.method}})
				request.Method = method
				if w := d.answer(request); method != "GET" && method != "HEAD" {
					require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s %s", method, r.path)
				}
			}
			for _, header := range overrides {
				clear(asked)
				w := d.answer(sending(r.request(), header))
				require.True(t, asked[r.verb], "%s %s is still what it was with %v", r.method, r.path, header)
				require.Equal(t, r.verb.Writes(), w.Code == http.StatusForbidden, "%s %v", r.path, header)
			}
			for _, trick := range []string{"_method=POST", "_method=GET", "method=POST"} {
				request := r.request()
				request.URL.RawQuery = trick
				require.GreaterOrEqual(t, d.answer(request).Code, 400, "%s %s", trick, r.path)
			}
		})
	}
}

// A path in other letters, with more slashes or dots, or escaped once more is either no route, or the route that it is with
// its rights: asked as the host asks, and refused as the host refuses.
func TestNoWayOfWritingAPathEvadesTheHost(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{Authorize: nobody})
	require.NoError(t, d.db.SQL().Close())
	mux := http.NewServeMux()
	mux.Handle("/admin/", http.StripPrefix("/admin", d))
	for _, r := range d.table {
		at := r.at()
		hex := func(s string) string { // escapes the last letter
			if s == "" || s[len(s)-1] == '/' {
				return s + "%2f"
			}
			return s[:len(s)-1] + "%" + strings.ToUpper(hexOf(s[len(s)-1]))
		}
		for _, variant := range []string{
			strings.ToUpper(at), at + "/", "/" + at, at + "//", "/." + at, "/x/.." + at, at + "/.", at + "/..", at + "/../x", at + ";a=b", at + ".json",
			at + "%20", at + "%00", at + "%0d%0aX-Evil:1", at + "%2f", at + "%5c", at + `\`, `\` + at, hex(at), strings.ReplaceAll(hex(at), "%", "%25"),
			strings.ReplaceAll(at, "/", "%2f"), strings.ReplaceAll(at, "/", "%252f"), "/%2e%2e" + at, "//evil.example" + at, "http://evil.example" + at, at + "%ff", at + "%", at + "?",
		} {
			for name, serve := range map[string]func(*httptest.ResponseRecorder, *http.Request){
				"bare": func(w *httptest.ResponseRecorder, r *http.Request) { d.ServeHTTP(w, r) },
				"mounted": func(w *httptest.ResponseRecorder, r *http.Request) {
					mux.ServeHTTP(w, sentAs(r, "/admin"+r.URL.RawPath))
				},
			} {
				w := httptest.NewRecorder()
				serve(w, sentAs(r.request(), variant))
				require.Contains(t, []int{301, 307, 308, 400, 403, 404, 405}, w.Code, "%s %s %s: %s", name, r.method, variant, w.Body)
				require.NotContains(t, w.Header(), "X-Evil")
				if location := w.Header().Get("Location"); location != "" && name == "bare" {
					t.Errorf("%s %s is redirected to %s", r.method, variant, location)
				}
			}
		}
	}
}

func hexOf(b byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[b>>4], digits[b&15]})
}

// An Authorize that panics lets nobody through: the panic is the host's to see.
func TestAnAuthorizeThatPanicsLetsNobodyThrough(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{Authorize: func(*http.Request, Action) (string, error) { panic("no session") }})
	for _, r := range d.table {
		d.untouched(r.path, func() {
			w := httptest.NewRecorder()
			require.PanicsWithValue(t, "no session", func() { d.ServeHTTP(w, r.request()) }, r.path)
			require.Empty(t, w.Body.String())
		})
	}
}

// O5: where the host lets somebody through without a name, what they do is recorded, even so.
func TestWhoHasNoNameIsRecordedAsAnonymous(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{Authorize: func(*http.Request, Action) (string, error) { return "", nil }})
	before, err := d.scheduler.Events(t.Context(), hourbell.EventQuery{})
	require.NoError(t, err)
	writes := 0
	for _, r := range d.table {
		require.Less(t, d.answer(r.request()).Code, 400, r.path)
		if r.verb.Writes() {
			writes++
		}
	}
	events, err := d.scheduler.Events(t.Context(), hourbell.EventQuery{Limit: 1000})
	require.NoError(t, err)
	require.Greater(t, len(events), len(before))
	require.Positive(t, writes)
	for _, e := range events[:len(events)-len(before)] {
		require.Equal(t, anonymous, e.Actor, e.Kind)
	}
}
