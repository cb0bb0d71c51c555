// Package mount_test shows that the admin handler works wherever a host mounts it.
package mount_test

import (
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

const prefix = "/admin/schedules"

// mounts put the handler on a host's router, and say where it is then.
var mounts = []struct {
	name  string
	at    string
	mount func(t *testing.T, h http.Handler) http.Handler
}{
	{"net/http, without a prefix", "", func(_ *testing.T, h http.Handler) http.Handler { return h }},
	{"net/http, with a prefix", prefix, func(_ *testing.T, h http.Handler) http.Handler { return mux(h) }},
	{"net/http, below a prefix of the whole host", "/backend" + prefix, func(_ *testing.T, h http.Handler) http.Handler {
		outer := http.NewServeMux()
		outer.Handle("/backend/", http.StripPrefix("/backend", mux(h)))
		return outer
	}},
	{"chi", prefix, func(_ *testing.T, h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.RequestID, middleware.Recoverer)
		r.Mount(prefix, http.StripPrefix(prefix, h))
		return r
	}},
	{"chi, in a sub-router", "/v1" + prefix, func(_ *testing.T, h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Route("/v1", func(r chi.Router) { r.Mount(prefix, http.StripPrefix("/v1"+prefix, h)) })
		return r
	}},
	{"gin", prefix, func(_ *testing.T, h http.Handler) http.Handler {
		gin.SetMode(gin.TestMode)
		r := gin.New()
		r.Any(prefix+"/*path", gin.WrapH(http.StripPrefix(prefix, h)))
		return r
	}},
	{"echo", prefix, func(_ *testing.T, h http.Handler) http.Handler {
		e := echo.New()
		e.Any(prefix+"/*", echo.WrapHandler(http.StripPrefix(prefix, h)))
		return e
	}},
	{"behind a proxy that rewrites the path", "/tools/cron", func(t *testing.T, h http.Handler) http.Handler {
		backend := httptest.NewServer(mux(h))
		t.Cleanup(backend.Close)
		target, err := url.Parse(backend.URL)
		require.NoError(t, err)
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			rewritten := strings.Replace(r.In.URL.EscapedPath(), "/tools/cron", prefix, 1)
			r.Out.URL.RawPath = rewritten
			r.Out.URL.Path, _ = url.PathUnescape(rewritten)
		}}
	}},
}

// mux is the standard library's router with the handler under the prefix.
func mux(h http.Handler) http.Handler {
	m := http.NewServeMux()
	m.Handle(prefix+"/", http.StripPrefix(prefix, h))
	return m
}

// host is a backend's scheduler with two schedules, one of which has a slash in its id.
func host(t *testing.T) http.Handler {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import", Group: "feed"}},
		Definitions: []hourbell.Definition{
			{ID: "feed", Cron: "@hourly", Target: hourbell.AllJobs()},
			{ID: "shop/feed.prices:v2", Cron: "@daily", Target: hourbell.Group("feed")},
		},
		Logger: log,
	})
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: log})
	require.NoError(t, err)
	return handler
}

// send sends a request as a browser's page of the same origin does, and reads the answer.
func send(t *testing.T, method, url string) (status int, contentType string, body map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &body), string(text))
	}
	return answer.StatusCode, answer.Header.Get("Content-Type"), body
}

func TestTheHandlerWorksWhereverItIsMounted(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			server := httptest.NewServer(m.mount(t, host(t)))
			defer server.Close()
			at := server.URL + m.at

			status, kind, list := send(t, "GET", at+"/api/schedules?state=DISABLED&limit=1")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "application/json", kind)
			require.Len(t, list["schedules"], 1)
			require.NotEmpty(t, list["next"])

			// An id with a slash is one segment of the path, where it is escaped.
			status, _, one := send(t, "GET", at+"/api/schedules/shop%2Ffeed.prices:v2")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "shop/feed.prices:v2", one["id"])
			status, _, one = send(t, "POST", at+"/api/schedules/shop%2Ffeed.prices%3Av2/enable")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, true, one["enabled"])
			status, _, runs := send(t, "POST", at+"/api/enqueue/jobs/import")
			require.Equal(t, http.StatusCreated, status)
			require.Len(t, runs["runs"], 1)

			status, _, document := send(t, "GET", at+"/api/openapi.json")
			require.Equal(t, http.StatusOK, status)
			require.NotEmpty(t, document["paths"])
			status, _, _ = send(t, "HEAD", at+"/api/health")
			require.Equal(t, http.StatusOK, status)

			// What is not there is said by the handler itself, in its own form.
			status, kind, problem := send(t, "GET", at+"/api/schedules/shop/feed")
			require.Equal(t, http.StatusNotFound, status)
			require.Equal(t, "application/problem+json", kind)
			require.Equal(t, "unknown-path", problem["code"])
			status, _, problem = send(t, "DELETE", at+"/api/schedules/feed")
			require.Equal(t, http.StatusMethodNotAllowed, status)
			require.Equal(t, "method-not-allowed", problem["code"])
		})
	}
}

// The page's links hold wherever it is mounted: relative ones, which also survive a proxy that rewrites the path.
func TestThePageWorksWhereverItIsMounted(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			server := httptest.NewServer(m.mount(t, host(t)))
			defer server.Close()
			// follow asks for what a page links to, as a browser resolves it.
			follow := func(from, link string) (location, text string) {
				at, err := url.Parse(from)
				require.NoError(t, err)
				at, err = at.Parse(html.UnescapeString(link))
				require.NoError(t, err)
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.String(), nil)
				require.NoError(t, err)
				request.Header.Set("Accept", "text/html,*/*")
				answer, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				defer func() { _ = answer.Body.Close() }()
				body, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, answer.StatusCode, "%s from %s", link, from)
				return answer.Request.URL.String(), string(body)
			}
			links := regexp.MustCompile(`(?:href|src|action|formaction)="([^"#]+)"`)
			todo, seen := []string{server.URL + m.at + "/"}, map[string]bool{}
			for len(todo) > 0 {
				at, page := follow(todo[0], "")
				todo = todo[1:]
				for _, link := range links.FindAllStringSubmatch(page, -1) {
					if strings.HasSuffix(link[1], "/enable") { // a form that posts
						continue
					}
					if strings.HasSuffix(link[1], "able") { // of those selected
						link[1] += "?id=feed"
					}
					location, _ := follow(at, link[1])
					if !seen[location] && !strings.Contains(location, "?") {
						todo = append(todo, location)
					}
					seen[location] = true
				}
			}
			for _, path := range []string{"/schedules/shop%2Ffeed.prices:v2", "/schedules/shop%2Ffeed.prices:v2/run", "/runs", "/enqueue/groups/feed"} {
				require.True(t, seen[server.URL+m.at+path], "%s is linked: %v", path, seen)
			}
			for location := range seen {
				require.True(t, strings.HasPrefix(location, server.URL+m.at+"/"), location)
			}
		})
	}
}

// Whoever leaves out the slash after the prefix comes to the page all the same, where the host lets the request through.
func TestTheMountPointItself(t *testing.T) {
	for name, serve := range map[string]http.Handler{
		"net/http": mux(host(t)),
		"a host that does not redirect": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.StripPrefix(prefix, host(t)).ServeHTTP(w, r)
		}),
	} {
		server := httptest.NewServer(serve)
		answer, err := http.Get(server.URL + prefix + "?search=e")
		require.NoError(t, err, name)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode, name)
		require.Equal(t, server.URL+prefix+"/?search=e", answer.Request.URL.String(), name)
		server.Close()
	}
}

// A host that forgets to strip its prefix is told so.
func TestAForgottenPrefixIsNamed(t *testing.T) {
	forgetful := http.NewServeMux()
	forgetful.Handle(prefix+"/", host(t))
	server := httptest.NewServer(forgetful)
	defer server.Close()
	status, _, problem := send(t, "GET", server.URL+prefix+"/api/schedules")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, problem["detail"], "http.StripPrefix")
	require.Contains(t, problem["detail"], prefix+"/api/schedules")
}
