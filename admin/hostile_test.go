package admin

import (
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// If the database returns an unexpected error, the client learns only that the
// request failed. The log has the cause.
func TestInternalErrorHidesDatabaseText(t *testing.T) {
	f := newFixture(t, Config{})
	for table, column := range map[string]string{"schedules": "description", "job_runs": "error", "events": "detail", "workers": "hostname"} {
		require.NoError(t, f.db.Exec("ALTER TABLE hourbell_"+table+" RENAME COLUMN "+column+" TO gone").Error)
	}
	failed := 0
	for _, r := range f.table {
		for _, accept := range []string{"application/json", "text/html"} {
			request := r.request()
			request.Header.Set("Accept", accept)
			f.log.Reset()
			w := f.do(request)
			if w.Code < 500 { // the route reads none of these columns
				continue
			}
			failed++
			require.Equal(t, http.StatusInternalServerError, w.Code, "%s: %s", r.path, w.Body)
			for _, part := range []string{"SELECT", "INSERT", "SQL", "column", "hourbell_", "gone", "postgres", "sqlite", "127.0.0.1", "no such", ".go:"} {
				require.NotContains(t, w.Body.String(), part, r.path)
			}
			require.Contains(t, w.Body.String(), "internal error", r.path)
			require.Equal(t, 1, strings.Count(f.log.String(), "\n"), "%s: %s", r.path, f.log)
			require.Contains(t, f.log.String(), "request failed")
		}
	}
	require.Greater(t, failed, 30)
}

// No part of a request is copied to a response header unescaped, and every
// redirect is relative, so it stays on the host.
func TestRequestCannotForgeHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("slow, and runs in one goroutine")
	}
	forged := []string{
		"//evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example", "https:evil.example", "javascript:alert(1)", "?//evil.example",
		"?a=b\r\nSet-Cookie: x=1", "?%0d%0aSet-Cookie:%20x=1", "?\x00", "?;@evil.example", "..//evil.example", "?%2f%2fevil.example", "\r\n\r\n<script>", "?ü=\u2028",
	}
	f := newFixture(t, Config{})
	page, err := url.Parse("https://host.example/admin/schedules/off/enable")
	require.NoError(t, err)
	for _, back := range forged {
		for _, verb := range []string{"enable", "disable", "unlock"} {
			id := "off"
			if verb == "unlock" {
				id = "on"
				f.lock()
			}
			body := url.Values{"back": {back}}.Encode()
			request := httptest.NewRequest("POST", "/schedules/"+id+"/"+verb, strings.NewReader(body))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := f.do(request)
			require.Equal(t, http.StatusSeeOther, w.Code, "%q: %s", back, w.Body)
			requireSameHost(t, page, w)
		}
	}
	// The links of the page without a trailing slash contain a part of the
	// request.
	for _, uri := range []string{"/admin", "//evil.example", "//evil.example/admin", `/\evil.example`, "/admin?search=//evil.example", "http://evil.example/admin", "/", "/%2f%2fevil.example", "/a/..", "/%0d%0aX:y", "/javascript:alert(1)", "/x\"onload=y"} {
		request := httptest.NewRequest("GET", "/", nil)
		request.URL.Path, request.RequestURI = "", uri
		w := f.do(request)
		require.Equal(t, http.StatusOK, w.Code, uri)
		for _, link := range regexp.MustCompile(`(?:href|src|action|formaction|data-poll|data-health)="([^"#]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			w := httptest.NewRecorder()
			w.Header().Set("Location", html.UnescapeString(link[1]))
			requireSameHost(t, page, w)
		}
	}
	for _, r := range f.table {
		for _, text := range forged {
			request := r.request()
			request.Header = http.Header{
				"Accept": {text}, "Content-Type": {text}, "Idempotency-Key": {text}, "If-None-Match": {text}, "Accept-Encoding": {text}, "Origin": {""},
				"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Prefix": {"//evil.example"}, "Referer": {text}, "Access-Control-Request-Method": {"POST"},
			}
			request.Host = "evil.example"
			w := f.do(request)
			for name, values := range w.Header() {
				require.NotContains(t, strings.Join(values, ""), "evil", "%s of %s", name, r.path)
				require.NotContains(t, strings.Join(values, ""), "\n", "%s of %s", name, r.path)
				require.False(t, strings.HasPrefix(name, "Access-Control-"), "no other origin may read")
			}
			require.NotContains(t, w.Body.String(), `="//evil.example`, r.path)
			require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"), r.path)
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'", r.path)
			require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'", r.path)
		}
	}
}

// requireSameHost fails the test if the redirect leads to another host or sets
// a cookie.
func requireSameHost(t *testing.T, page *url.URL, w *httptest.ResponseRecorder) {
	t.Helper()
	location := w.Header().Get("Location")
	require.True(t, strings.HasPrefix(location, "./") || strings.HasPrefix(location, "../"), location)
	require.NotContains(t, location, "\r")
	require.NotContains(t, location, "\n")
	to, err := page.Parse(strings.ReplaceAll(location, `\`, "/")) // browsers treat a backslash as a slash
	require.NoError(t, err)
	require.Equal(t, page.Host, to.Host, location)
	require.Equal(t, page.Scheme, to.Scheme, location)
	require.Empty(t, w.Header().Get("Set-Cookie"))
}

// An id is the path segment, unescaped once. It cannot name a file, another
// route or another row.
func TestOddIDNamesNothingElse(t *testing.T) {
	f := newFixture(t, Config{})
	f.requireUnchanged("odd ids", func() {
		for _, id := range []string{
			"..", ".", "../on", `..\on`, "on/../off", "%6fn", "%2e%2e", "on\x00", "\x00", "on\n", " on", "on ", "ON", "on;x", "on?x", "on#x", "\xff", "\xc0\xaf", "ｏｎ", "o\u200bn",
			strings.Repeat("x", 100_000), "' OR 1=1 --", `on"`, "on%", "%25", "*", "_n", "-1", "0x1", "1e0", "１", "99999999999999999999999", "+1", " 1",
		} {
			for _, r := range f.table {
				if !strings.Contains(r.path, "{") {
					continue
				}
				request := r.request()
				request.URL.RawPath = strings.NewReplacer("{id}", url.PathEscape(id), "{group}", url.PathEscape(id), "{job}", url.PathEscape(id), "{file}", url.PathEscape(id)).Replace(r.path)
				request.URL.Path, _ = url.PathUnescape(request.URL.RawPath)
				w := f.do(request)
				if strings.Contains(r.path, "/runs/{id}") && id == "+1" {
					continue // a valid number
				}
				require.Contains(t, []int{400, 404}, w.Code, "%s %s with %.40q: %s", r.method, r.path, id, w.Body)
			}
		}
	})
	require.Empty(t, f.log.String(), "none of these is a server error")
}

// A log record with a path in it is one line.
func TestPathCannotForgeLogLine(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		cfg := Config{}
		log := &strings.Builder{}
		if cfg.Logger = slog.New(slog.NewTextHandler(log, nil)); format == "json" {
			cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
		}
		f := newFixture(t, cfg)
		require.NoError(t, f.db.SQL().Close())
		request := httptest.NewRequest("GET", "/", nil)
		request.URL.Path = "/api/schedules/x\r\nlevel=INFO msg=forged\x1b[2J\u2028"
		require.Equal(t, http.StatusServiceUnavailable, f.do(request).Code)
		require.Contains(t, log.String(), "forged")
		require.Regexp(t, `^(time=\S+ level=ERROR msg=|\{"time":"[^"]+","level":"ERROR","msg":)"hourbell/admin: request failed"`, log.String())
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
		require.NotContains(t, log.String(), "\r")
		require.NotContains(t, log.String(), "\x1b")
	}
}
