// Package compression_test tests that the admin handler and a middleware that
// compresses responses do not both compress one. It is a module of its own,
// with go.mod files for several versions of one middleware.
package compression_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/compress"
	fiberv3 "github.com/gofiber/fiber/v3"
	adaptorv3 "github.com/gofiber/fiber/v3/middleware/adaptor"
	compressv3 "github.com/gofiber/fiber/v3/middleware/compress"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

const prefix = "/admin/schedules"

// listenOn makes a server listen on a free port and returns its URL.
func listenOn(t *testing.T, serve func(net.Listener) error, shutdown func() error) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, shutdown())
		require.NoError(t, <-ended)
	})
	return "http://" + listener.Addr().String()
}

// serve returns a function that serves a host's router.
func serve(mount func(h http.Handler) http.Handler) func(*testing.T, http.Handler) string {
	return func(t *testing.T, h http.Handler) string {
		server := httptest.NewServer(mount(http.StripPrefix(prefix, h)))
		t.Cleanup(server.Close)
		return server.URL
	}
}

// servers lists hosts that compress responses. Each returns its URL.
var servers = map[string]func(*testing.T, http.Handler) string{
	"gin-contrib/gzip": serve(func(h http.Handler) http.Handler {
		gin.SetMode(gin.TestMode)
		r := gin.New()
		r.Use(gingzip.Gzip(gingzip.DefaultCompression))
		r.Any(prefix+"/*path", gin.WrapH(h))
		return r
	}),
	"echo": serve(func(h http.Handler) http.Handler {
		e := echo.New()
		e.Use(echomiddleware.Gzip())
		e.Any(prefix+"/*", echo.WrapHandler(h))
		return e
	}),
	"chi": serve(func(h http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.Compress(5))
		r.Mount(prefix, h)
		return r
	}),
	"gorilla":   serve(handlers.CompressHandler),
	"klauspost": serve(func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }),
	"none":      serve(func(h http.Handler) http.Handler { return h }),
	"fiber 2": func(t *testing.T, h http.Handler) string {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Use(compress.New())
		app.Use(adaptor.HTTPHandler(http.StripPrefix(prefix, h)))
		return listenOn(t, app.Listener, app.Shutdown)
	},
	"fiber 3": func(t *testing.T, h http.Handler) string {
		app := fiberv3.New()
		app.Use(compressv3.New())
		app.Use(adaptorv3.HTTPHandler(http.StripPrefix(prefix, h)))
		return listenOn(t, func(l net.Listener) error {
			return app.Listener(l, fiberv3.ListenConfig{DisableStartupMessage: true})
		}, app.Shutdown)
	},
}

// newHandler returns a handler with one schedule.
func newHandler(t *testing.T) http.Handler {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import"}},
		Definitions: []hourbell.Definition{{ID: "feed", Cron: "@hourly", Target: hourbell.AllJobs()}},
		Logger:      log,
	})
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: log})
	require.NoError(t, err)
	return handler
}

// get sends a GET and returns the response with its body as sent.
func get(t *testing.T, url string, header map[string]string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, url)
	return res, body
}

// Behind a middleware that compresses, the page is readable once decompressed
// exactly as often as Content-Encoding declares.
func TestPageIsCompressedOnce(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			base := start(t, newHandler(t)) + prefix
			for path, part := range map[string]string{
				"/": "<h1>Schedules</h1>", "/api/openapi.json": `"openapi"`, "/api/jobs": `"import"`, "/static/page.js": "use strict",
			} {
				res, body := get(t, base+path, map[string]string{"Accept-Encoding": "gzip"})
				require.Equal(t, http.StatusOK, res.StatusCode, path)
				encodings := res.Header.Values("Content-Encoding")
				if path != "/api/jobs" { // too small
					require.Equal(t, []string{"gzip"}, encodings, path)
				}
				if len(encodings) > 0 {
					reader, err := gzip.NewReader(bytes.NewReader(body))
					require.NoError(t, err, path)
					body, err = io.ReadAll(reader)
					require.NoError(t, err, path)
				}
				require.Contains(t, string(body), part, path)

				res, body = get(t, base+path, nil)
				require.Empty(t, res.Header.Values("Content-Encoding"), path)
				require.Contains(t, string(body), part, path)

				tag := res.Header.Get("ETag")
				res, body = get(t, base+path, map[string]string{"If-None-Match": tag})
				require.Equal(t, http.StatusNotModified, res.StatusCode, path)
				require.Empty(t, body, path)
			}
		})
	}
}

// Older versions of gin-contrib/gzip set other headers.
func TestPageIsCompressedOnceByOlderGinGzip(t *testing.T) {
	for _, version := range []string{"v0.0.6", "v1.0.1"} {
		command := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-modfile=gin-gzip-"+version+".mod", "-run=TestPageIsCompressedOnce$/gin", ".")
		command.Env = append(os.Environ(), "GOWORK=off")
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s: %s", version, output)
	}
}
