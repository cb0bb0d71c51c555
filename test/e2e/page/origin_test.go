package page_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// requestLog records the requests that reach a host and the statuses of their
// responses.
type requestLog struct {
	mu       sync.Mutex
	statuses map[string][]int // by method and path, without the prefix
}

func (l *requestLog) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(recorder, r)
		l.mu.Lock()
		defer l.mu.Unlock()
		request := r.Method + " " + strings.TrimPrefix(r.URL.Path, prefix)
		l.statuses[request] = append(l.statuses[request], recorder.status)
	})
}

// of returns the statuses of the responses to a request such as "GET /runs".
func (l *requestLog) of(request string) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int{}, l.statuses[request]...)
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// serveAttacker starts an attacker's server with a host name and returns the
// URL of its page.
func serveAttacker(t *testing.T, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><title>Attacker</title><link rel="icon" href="data:,"><body><h1>You have won</h1>`)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	require.NoError(t, err)
	return "http://" + name + ":" + address.Port() + "/"
}

// The requests that the attacker's page makes. Each expression resolves when
// the browser is done with the request.
const (
	sendForm = `new Promise((done) => {
		const sink = document.createElement("iframe");
		sink.name = "sink" + Math.random();
		document.body.append(sink);
		const form = document.createElement("form");
		Object.assign(form, {method: "post", action: %s, enctype: %s, target: sink.name});
		const field = document.createElement("input");
		Object.assign(field, {type: "hidden", name: "id", value: "feed-refresh"});
		form.append(field);
		document.body.append(form);
		sink.addEventListener("load", () => done(true));
		form.submit();
	})`
	sendFetch = `fetch(%s, {method: "POST", mode: %s, credentials: "include", headers: {"Content-Type": %s}, body: %s}).then((response) => response.type, (error) => error.name)`
	readFetch = `fetch(%s, {credentials: "include"}).then((response) => response.text(), (error) => error.name)`
	readBlind = `fetch(%s, {mode: "no-cors", credentials: "include"}).then(async (response) => response.type + (await response.text()), (error) => error.name)`
	loadAs    = `new Promise((done) => { const e = document.createElement(%s); e.src = e.data = %s; e.addEventListener("load", () => done("loaded")); e.addEventListener("error", () => done("error")); document.body.append(e); })`
)

// A page of another origin, in the browser of a user who may do everything, can
// neither change nor read anything. The test checks that its requests arrive.
func TestOtherOriginCannotWriteOrRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"127.0.0.1", "localhost"} { // another port of the same site, and another site
		t.Run(name, func(t *testing.T) {
			requests := &requestLog{statuses: map[string][]int{}}
			h := newHost(t, dbtest.SQLite(t), setup{guard: requests.guard})
			tb := h.newTab(t)
			tb.expectErrors("") // each of these requests is an error
			tb.do(chromedp.Navigate(serveAttacker(t, name)))

			posts := []string{"/schedules/feed-refresh/enable", "/schedules/feed-refresh/run", "/enqueue/all", "/api/schedules/feed-refresh/enable", "/api/enqueue/all"}
			for _, path := range posts {
				for _, encoding := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data"} {
					require.True(t, js[bool](tb, sendForm, h.url+path, encoding))
				}
				for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded"} {
					require.Equal(t, "opaque", js[string](tb, sendFetch, h.url+path, "no-cors", kind, `{"note": "x"}`))
					require.Equal(t, "TypeError", js[string](tb, sendFetch, h.url+path, "cors", kind, `note=x`))
				}
				require.Equal(t, "TypeError", js[string](tb, sendFetch, h.url+path, "cors", "application/json", `{"note": "x"}`), "the preflight request fails")
				require.Equal(t, []int{403, 403, 403, 403, 403, 403, 403}, requests.of("POST "+path), path)
				require.Equal(t, []int{405}, requests.of("OPTIONS "+path), path)
			}
			require.True(t, js[bool](tb, sendForm, h.url+"/enable", "application/x-www-form-urlencoded"))
			require.Equal(t, []int{200}, requests.of("POST /enable"), "the response reports that each change is refused")

			for _, path := range []string{"/", "/api/schedules", "/api/jobs", "/api/runs", "/api/openapi.json", "/static/page.js"} {
				require.Equal(t, "TypeError", js[string](tb, readFetch, h.url+path), path)
				require.Equal(t, "opaque", js[string](tb, readBlind, h.url+path), path)
			}
			for _, path := range []string{"/", "/api/schedules", "/api/jobs"} {
				require.Equal(t, "error", js[string](tb, loadAs, "script", h.url+path), "%s is not a script", path)
				require.Equal(t, "error", js[string](tb, loadAs, "img", h.url+path), path)
			}
			require.False(t, h.schedule("feed-refresh").Enabled)
			require.Empty(t, h.runs(hourbell.RunQuery{}))
			require.Empty(t, h.events(hourbell.EventQuery{Kind: hourbell.EventRunNow}))
			require.Empty(t, h.events(hourbell.EventQuery{Kind: hourbell.EventEnabled}))
		})
	}
}

// The page cannot be embedded in a frame, so an attacker's page cannot overlay
// it invisibly to make the user click on its buttons.
func TestPageCannotBeFramed(t *testing.T) {
	t.Parallel()
	requests := &requestLog{statuses: map[string][]int{}}
	h := newHost(t, dbtest.SQLite(t), setup{guard: requests.guard})
	for _, attacker := range []string{serveAttacker(t, "localhost"), serveAttacker(t, "127.0.0.1")} {
		tb := h.newTab(t)
		tb.expectErrors("")
		tb.do(chromedp.Navigate(attacker))
		for _, path := range []string{"/", "/schedules/feed-refresh/run", "/enqueue/all", "/api/schedules"} {
			for _, element := range []string{"iframe", "object", "embed"} {
				js[string](tb, loadAs, element, h.url+path)
			}
		}
	}
	require.NotEmpty(t, requests.of("GET /enqueue/all"))
	require.Empty(t, requests.of("GET /static/page.js"), "a displayed page would load its script")
}
