// Package mount_test tests that the admin handler works under any mount point.
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
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

const prefix = "/admin/schedules"

// mounts lists ways to mount the handler on a host's router, and the path at
// which it is then.
var mounts = []struct {
	name  string
	path  string
	mount func(t *testing.T, h http.Handler) http.Handler
}{
	{"net/http, without a prefix", "", func(_ *testing.T, h http.Handler) http.Handler { return h }},
	{"net/http, with a prefix", prefix, func(_ *testing.T, h http.Handler) http.Handler { return mux(h) }},
	{"net/http, below another prefix", "/backend" + prefix, func(_ *testing.T, h http.Handler) http.Handler {
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

// mux returns a ServeMux with the handler under the prefix.
func mux(h http.Handler) http.Handler {
	m := http.NewServeMux()
	m.Handle(prefix+"/", http.StripPrefix(prefix, h))
	return m
}

// newHandler returns a handler with two schedules. One has a slash in its id.
func newHandler(t *testing.T) http.Handler {
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

// send sends a request like a browser on a page of the same origin.
func send(t *testing.T, method, url string) (status int, contentType string, body map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &body), string(text))
	}
	return res.StatusCode, res.Header.Get("Content-Type"), body
}

func TestAPIWorksUnderAnyMountPoint(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			server := httptest.NewServer(m.mount(t, newHandler(t)))
			defer server.Close()
			base := server.URL + m.path

			status, contentType, list := send(t, "GET", base+"/api/schedules?state=DISABLED&limit=1")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "application/json", contentType)
			require.Len(t, list["schedules"], 1)
			require.NotEmpty(t, list["next"])

			// An id with an escaped slash is one path segment.
			status, _, schedule := send(t, "GET", base+"/api/schedules/shop%2Ffeed.prices:v2")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "shop/feed.prices:v2", schedule["id"])
			status, _, schedule = send(t, "POST", base+"/api/schedules/shop%2Ffeed.prices%3Av2/enable")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, true, schedule["enabled"])
			status, _, runs := send(t, "POST", base+"/api/enqueue/jobs/import")
			require.Equal(t, http.StatusCreated, status)
			require.Len(t, runs["runs"], 1)

			status, _, document := send(t, "GET", base+"/api/openapi.json")
			require.Equal(t, http.StatusOK, status)
			require.NotEmpty(t, document["paths"])
			status, _, _ = send(t, "HEAD", base+"/api/health")
			require.Equal(t, http.StatusOK, status)

			// The handler itself reports errors, as problem documents.
			status, contentType, problem := send(t, "GET", base+"/api/schedules/shop/feed")
			require.Equal(t, http.StatusNotFound, status)
			require.Equal(t, "application/problem+json", contentType)
			require.Equal(t, "unknown-path", problem["code"])
			status, _, problem = send(t, "DELETE", base+"/api/schedules/feed")
			require.Equal(t, http.StatusMethodNotAllowed, status)
			require.Equal(t, "method-not-allowed", problem["code"])
		})
	}
}

// The page's links are relative. They work under any mount point, also behind a
// proxy that rewrites the path.
func TestPageLinksWorkUnderAnyMountPoint(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			server := httptest.NewServer(m.mount(t, newHandler(t)))
			defer server.Close()
			// follow requests a link of a page, resolved as in a browser.
			follow := func(page, link string) (location, text string) {
				target, err := url.Parse(page)
				require.NoError(t, err)
				target, err = target.Parse(html.UnescapeString(link))
				require.NoError(t, err)
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.String(), nil)
				require.NoError(t, err)
				request.Header.Set("Accept", "text/html,*/*")
				res, err := http.DefaultClient.Do(request)
				require.NoError(t, err)
				defer func() { _ = res.Body.Close() }()
				body, err := io.ReadAll(res.Body)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, res.StatusCode, "%s from %s", link, page)
				return res.Request.URL.String(), string(body)
			}
			links := regexp.MustCompile(`(?:href|src|action|formaction)="([^"#]+)"`)
			pending, visited := []string{server.URL + m.path + "/"}, map[string]bool{}
			for len(pending) > 0 {
				page, text := follow(pending[0], "")
				pending = pending[1:]
				for _, link := range links.FindAllStringSubmatch(text, -1) {
					if strings.HasSuffix(link[1], "/enable") { // the action of a POST form
						continue
					}
					if strings.HasSuffix(link[1], "able") { // needs a selection
						link[1] += "?id=feed"
					}
					location, _ := follow(page, link[1])
					if !visited[location] && !strings.Contains(location, "?") {
						pending = append(pending, location)
					}
					visited[location] = true
				}
			}
			for _, path := range []string{"/schedules/shop%2Ffeed.prices:v2", "/schedules/shop%2Ffeed.prices:v2/run", "/runs", "/enqueue/groups/feed"} {
				require.True(t, visited[server.URL+m.path+path], "%s is linked: %v", path, visited)
			}
			for location := range visited {
				require.True(t, strings.HasPrefix(location, server.URL+m.path+"/"), location)
			}
		})
	}
}

// The page works at the mount point with and without the trailing slash, also
// behind a router that strips slashes or redirects to the path without.
func TestPageWorksWithoutTrailingSlash(t *testing.T) {
	noSlash := func(h http.Handler) *http.ServeMux {
		m := mux(h).(*http.ServeMux)
		m.Handle(prefix, http.StripPrefix(prefix, h))
		return m
	}
	withChi := func(middlewares ...func(http.Handler) http.Handler) func(h http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(middlewares...)
			r.Mount(prefix, http.StripPrefix(prefix, h))
			return r
		}
	}
	for name, mount := range map[string]func(h http.Handler) http.Handler{
		"net/http": mux,
		"a router that does not redirect": func(h http.Handler) http.Handler {
			return http.StripPrefix(prefix, h)
		},
		"both paths":                        func(h http.Handler) http.Handler { return noSlash(h) },
		"chi StripSlashes":                  withChi(middleware.StripSlashes),
		"chi StripSlashes around":           func(h http.Handler) http.Handler { return middleware.StripSlashes(noSlash(h)) },
		"chi RedirectSlashes":               withChi(middleware.RedirectSlashes),
		"chi RedirectSlashes around":        func(h http.Handler) http.Handler { return middleware.RedirectSlashes(noSlash(h)) },
		"gin RedirectTrailingSlash":         mountGin(prefix),
		"gin RedirectTrailingSlash, all":    mountGin(prefix, prefix+"/*path"),
		"echo RemoveTrailingSlash redirect": mountEcho(echomiddleware.RemoveTrailingSlashWithConfig(echomiddleware.TrailingSlashConfig{RedirectCode: http.StatusMovedPermanently})),
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(mount(newHandler(t)))
			defer server.Close()
			for _, path := range []string{prefix, prefix + "/", prefix + "?search=e", prefix + "/?search=e"} {
				page, text := getPage(t, server.URL+path)
				require.Contains(t, text, "<h1>Schedules</h1>", path)
				links := regexp.MustCompile(`(?:href|src|data-health)="([^"#]+)"`).FindAllStringSubmatch(text, -1)
				require.Greater(t, len(links), 10, path)
				for _, link := range links {
					target, err := page.Parse(html.UnescapeString(link[1]))
					require.NoError(t, err)
					if name == "gin RedirectTrailingSlash" { // has no other routes
						require.True(t, strings.HasPrefix(target.Path, prefix+"/"), target)
						continue
					}
					getPage(t, target.String())
				}
			}
		})
	}
}

// getPage sends a GET, follows redirects, and returns the last URL and the
// body.
func getPage(t *testing.T, target string) (*url.URL, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/html,*/*")
	res, err := http.DefaultClient.Do(request)
	require.NoError(t, err, target)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, target)
	return res.Request.URL, string(body)
}

// mountGin mounts the handler in gin at the routes.
func mountGin(routes ...string) func(h http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		gin.SetMode(gin.TestMode)
		r := gin.New()
		for _, route := range routes {
			r.Any(route, gin.WrapH(http.StripPrefix(prefix, h)))
		}
		return r
	}
}

// mountEcho mounts the handler in Echo behind a middleware.
func mountEcho(m echo.MiddlewareFunc) func(h http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		e := echo.New()
		e.Pre(m)
		wrapped := echo.WrapHandler(http.StripPrefix(prefix, h))
		e.Any(prefix, wrapped)
		e.Any(prefix+"/*", wrapped)
		return e
	}
}

// If the host strips a wrong prefix, or none, the error says what to change.
func TestErrorExplainsWrongPrefix(t *testing.T) {
	for name, c := range map[string]struct {
		strip string
		path  string
		part  string
	}{
		"none":                 {"", prefix + "/api/schedules", "The host stripped nothing from the path."},
		"none, the page":       {"", prefix + "/", "wrap it in http.StripPrefix with that prefix"},
		"too short":            {"/admin", prefix + "/api/schedules", `The host stripped "/admin" from the path.`},
		"with a slash":         {prefix + "/", prefix + "/api/schedules", "the prefix that http.StripPrefix gets must not end in one"},
		"right, unknown route": {prefix, prefix + "/api/nope", `The host stripped "` + prefix + `" from the path.`},
	} {
		handler := newHandler(t)
		m := http.NewServeMux()
		m.Handle(prefix+"/", http.StripPrefix(c.strip, handler))
		server := httptest.NewServer(m)
		status, _, problem := send(t, "GET", server.URL+c.path)
		require.Equal(t, http.StatusNotFound, status, name)
		require.Contains(t, problem["detail"], c.part, name)
		require.Contains(t, problem["detail"], "http.StripPrefix", name)
		require.Contains(t, problem["detail"], strings.TrimPrefix(c.path, c.strip), name)
		server.Close()
	}
}
