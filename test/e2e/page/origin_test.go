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

// seen are the requests that reached a host, and the statuses that they were answered with.
type seen struct {
	mu   sync.Mutex
	list map[string][]int // by method and path, without the prefix
}

func (s *seen) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := &statused{ResponseWriter: w}
		next.ServeHTTP(own, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		at := r.Method + " " + strings.TrimPrefix(r.URL.Path, prefix)
		s.list[at] = append(s.list[at], own.status)
	})
}

// of are the statuses of all answers to a kind of request.
func (s *seen) of(at string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int{}, s.list[at]...)
}

type statused struct {
	http.ResponseWriter
	status int
}

func (s *statused) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// evil is a server of somebody else's, whose page the person who may do everything has open. It is on another port, and
// under another name of the host's where site says so.
func evil(t *testing.T, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><title>A nice page</title><link rel="icon" href="data:,"><body><h1>You have won</h1>`)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	require.NoError(t, err)
	return "http://" + name + ":" + address.Port() + "/"
}

// What the page of another origin tries. Each is an expression that becomes true when the browser is done with it.
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
	sendFetch = `fetch(%s, {method: "POST", mode: %s, credentials: "include", headers: {"Content-Type": %s}, body: %s}).then((a) => a.type, (e) => e.name)`
	readFetch = `fetch(%s, {credentials: "include"}).then((a) => a.text(), (e) => e.name)`
	readBlind = `fetch(%s, {mode: "no-cors", credentials: "include"}).then(async (a) => a.type + (await a.text()), (e) => e.name)`
	loadAs    = `new Promise((done) => { const e = document.createElement(%s); e.src = e.data = %s; e.addEventListener("load", () => done("loaded")); e.addEventListener("error", () => done("error")); document.body.append(e); })`
)

// The page of another origin changes nothing and learns nothing, whatever it makes the browser send. The browser of somebody
// who may do everything stands in for the person; that its requests arrive is seen, or the test would prove nothing.
func TestAPageOfAnotherOriginChangesAndLearnsNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"127.0.0.1", "localhost"} { // another port, which is the same site, and another site
		t.Run(name, func(t *testing.T) {
			arrived := &seen{list: map[string][]int{}}
			h := newHost(t, dbtest.SQLite(t), setup{guard: arrived.guard})
			tb := h.tab(t)
			tb.expects("") // it complains of all of it
			tb.do(chromedp.Navigate(evil(t, name)))

			posts := []string{"/schedules/feed-refresh/enable", "/schedules/feed-refresh/run", "/enqueue/all", "/api/schedules/feed-refresh/enable", "/api/enqueue/all"}
			for _, path := range posts {
				for _, encoding := range []string{"application/x-www-form-urlencoded", "text/plain", "multipart/form-data"} {
					require.True(t, js[bool](tb, sendForm, h.url+path, encoding))
				}
				for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded"} {
					require.Equal(t, "opaque", js[string](tb, sendFetch, h.url+path, "no-cors", kind, `{"note": "x"}`))
					require.Equal(t, "TypeError", js[string](tb, sendFetch, h.url+path, "cors", kind, `note=x`))
				}
				require.Equal(t, "TypeError", js[string](tb, sendFetch, h.url+path, "cors", "application/json", `{"note": "x"}`), "the browser asks first, and is told nothing")
				require.Equal(t, []int{403, 403, 403, 403, 403, 403, 403}, arrived.of("POST "+path), path)
				require.Equal(t, []int{405}, arrived.of("OPTIONS "+path), path)
			}
			require.True(t, js[bool](tb, sendForm, h.url+"/enable", "application/x-www-form-urlencoded"))
			require.Equal(t, []int{200}, arrived.of("POST /enable"), "it says to nobody that each is refused")

			for _, path := range []string{"/", "/api/schedules", "/api/jobs", "/api/runs", "/api/openapi.json", "/static/page.js"} {
				require.Equal(t, "TypeError", js[string](tb, readFetch, h.url+path), path)
				require.Equal(t, "opaque", js[string](tb, readBlind, h.url+path), path)
			}
			for _, path := range []string{"/", "/api/schedules", "/api/jobs"} {
				require.Equal(t, "error", js[string](tb, loadAs, "script", h.url+path), "%s is no script", path)
				require.Equal(t, "error", js[string](tb, loadAs, "img", h.url+path), path)
			}
			require.False(t, h.schedule("feed-refresh").Enabled)
			require.Empty(t, h.runs(hourbell.RunQuery{}))
			require.Empty(t, h.events(hourbell.EventQuery{Kind: "RUN_NOW"}))
			require.Empty(t, h.events(hourbell.EventQuery{Kind: "ENABLED"}))
		})
	}
}

// Nor does anybody click there on a button of the page that lies, unseen, on top of another: it is shown in no frame.
func TestThePageIsShownInNoFrame(t *testing.T) {
	t.Parallel()
	arrived := &seen{list: map[string][]int{}}
	h := newHost(t, dbtest.SQLite(t), setup{guard: arrived.guard})
	for _, from := range []string{evil(t, "localhost"), evil(t, "127.0.0.1")} {
		tb := h.tab(t)
		tb.expects("")
		tb.do(chromedp.Navigate(from))
		for _, path := range []string{"/", "/schedules/feed-refresh/run", "/enqueue/all", "/api/schedules"} {
			for _, element := range []string{"iframe", "object", "embed"} {
				js[string](tb, loadAs, element, h.url+path)
			}
		}
	}
	require.NotEmpty(t, arrived.of("GET /enqueue/all"))
	require.Empty(t, arrived.of("GET /static/page.js"), "a page that is shown loads its script")
}
