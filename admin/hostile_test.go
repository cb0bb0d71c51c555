package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// Where the database answers what nobody foresaw, whoever asked is told that something went wrong, and the log what.
func TestAFaultOfOursShowsNothingOfTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		d := newDesk(t, db, Config{})
		for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
			column := map[string]string{"schedules": "description", "job_runs": "error", "events": "detail", "workers": "hostname"}[table]
			require.NoError(t, db.Exec("ALTER TABLE hourbell_"+table+" RENAME COLUMN "+column+" TO gone").Error)
		}
		faults := 0
		for _, r := range d.table {
			for _, accept := range []string{"application/json", "text/html"} {
				request := r.request()
				request.Header.Set("Accept", accept)
				d.log.Reset()
				w := d.answer(request)
				if w.Code < 500 { // it needs none of these
					continue
				}
				faults++
				require.Equal(t, http.StatusInternalServerError, w.Code, "%s: %s", r.path, w.Body)
				for _, part := range []string{"SELECT", "INSERT", "SQL", "column", "hourbell_", "gone", "postgres", "sqlite", "127.0.0.1", "no such", ".go:"} {
					require.NotContains(t, w.Body.String(), part, r.path)
				}
				require.Contains(t, w.Body.String(), "something went wrong here", r.path)
				require.Equal(t, 1, strings.Count(d.log.String(), "\n"), "%s: %s", r.path, d.log)
				require.Contains(t, d.log.String(), "request failed")
			}
		}
		require.Greater(t, faults, 30)
	})
}

// Nothing of a request reaches a header of the answer as it was sent, so that none can be forged, nor a redirect that leaves
// this host: the only ones are relative.
func TestNoRequestForgesAHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long, and runs in one goroutine")
	}
	forged := []string{
		"//evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example", "https:evil.example", "javascript:alert(1)", "?//evil.example",
		"?a=b\r\nSet-Cookie: x=1", "?%0d%0aSet-Cookie:%20x=1", "?\x00", "?;@evil.example", "..//evil.example", "?%2f%2fevil.example", "\r\n\r\n<script>", "?ü=\u2028",
	}
	d := newDesk(t, dbtest.SQLite(t), Config{})
	here, err := url.Parse("https://host.example/admin/schedules/off/enable")
	require.NoError(t, err)
	for _, back := range forged {
		for _, verb := range []string{"enable", "disable", "unlock"} {
			id := "off"
			if verb == "unlock" {
				id = "on"
				require.NoError(t, d.db.Exec("UPDATE hourbell_schedules SET locked_by = 'w', locked_at = 1 WHERE id = 'on'").Error)
			}
			body := url.Values{"back": {back}}.Encode()
			request := httptest.NewRequest("POST", "/schedules/"+id+"/"+verb, strings.NewReader(body))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := d.answer(request)
			require.Equal(t, http.StatusSeeOther, w.Code, "%q: %s", back, w.Body)
			staysHere(t, here, w)
		}
	}
	// Whoever leaves the slash out is sent there with what he asked, in his own words.
	for _, asked := range []string{"/admin", "//evil.example", "//evil.example/admin", `/\evil.example`, "/admin?search=//evil.example", "http://evil.example/admin", "/", "/%2f%2fevil.example", "/a/..", "/%0d%0aX:y"} {
		request := httptest.NewRequest("GET", "/", nil)
		request.URL.Path, request.RequestURI = "", asked
		w := d.answer(request)
		require.Equal(t, http.StatusTemporaryRedirect, w.Code, asked)
		staysHere(t, here, w)
	}
	for _, r := range d.table {
		for _, text := range forged {
			request := r.request()
			request.Header = http.Header{
				"Accept": {text}, "Content-Type": {text}, "Idempotency-Key": {text}, "If-None-Match": {text}, "Accept-Encoding": {text}, "Origin": {""},
				"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Prefix": {"//evil.example"}, "Referer": {text}, "Access-Control-Request-Method": {"POST"},
			}
			request.Host = "evil.example"
			w := d.answer(request)
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

// staysHere fails the test where a browser would follow a redirect to another host, or be told another header by it.
func staysHere(t *testing.T, here *url.URL, w *httptest.ResponseRecorder) {
	t.Helper()
	location := w.Header().Get("Location")
	require.True(t, strings.HasPrefix(location, "./") || strings.HasPrefix(location, "../"), location)
	require.NotContains(t, location, "\r")
	require.NotContains(t, location, "\n")
	to, err := here.Parse(strings.ReplaceAll(location, `\`, "/")) // as browsers do
	require.NoError(t, err)
	require.Equal(t, here.Host, to.Host, location)
	require.Equal(t, here.Scheme, to.Scheme, location)
	require.Empty(t, w.Header().Get("Set-Cookie"))
}

// An id is what its segment of the path says, once unescaped and no more: none names a file, another route or another row.
func TestAnIDIsNothingButAnID(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{})
	d.untouched("odd ids", func() {
		for _, id := range []string{
			"..", ".", "../on", `..\on`, "on/../off", "%6fn", "%2e%2e", "on\x00", "\x00", "on\n", " on", "on ", "ON", "on;x", "on?x", "on#x", "\xff", "\xc0\xaf", "ｏｎ", "o\u200bn",
			strings.Repeat("x", 100_000), "' OR 1=1 --", `on"`, "on%", "%25", "*", "_n", "-1", "0x1", "1e0", "１", "99999999999999999999999", "+1", " 1",
		} {
			for _, r := range d.table {
				if !strings.Contains(r.path, "{") {
					continue
				}
				request := r.request()
				request.URL.RawPath = strings.NewReplacer("{id}", url.PathEscape(id), "{group}", url.PathEscape(id), "{job}", url.PathEscape(id), "{file}", url.PathEscape(id)).Replace(r.path)
				request.URL.Path, _ = url.PathUnescape(request.URL.RawPath)
				w := d.answer(request)
				if strings.Contains(r.path, "/runs/{id}") && id == "+1" {
					continue // a number all the same
				}
				require.Contains(t, []int{400, 404}, w.Code, "%s %s with %.40q: %s", r.method, r.path, id, w.Body)
			}
		}
	})
	require.Empty(t, d.log.String(), "none of it is a fault of ours")
}

// A record of the log that names a path is one line.
func TestNoPathForgesALineOfTheLog(t *testing.T) {
	for _, handler := range []string{"text", "json"} {
		var d *desk
		cfg := Config{}
		log := &strings.Builder{}
		if cfg.Logger = slog.New(slog.NewTextHandler(log, nil)); handler == "json" {
			cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
		}
		d = newDesk(t, dbtest.SQLite(t), cfg)
		require.NoError(t, d.db.SQL().Close())
		request := httptest.NewRequest("GET", "/", nil)
		request.URL.Path = "/api/schedules/x\r\nlevel=INFO msg=forged\x1b[2J\u2028"
		require.Equal(t, http.StatusServiceUnavailable, d.answer(request).Code)
		require.Contains(t, log.String(), "forged")
		require.Regexp(t, `^(time=\S+ level=ERROR msg=|\{"time":"[^"]+","level":"ERROR","msg":)"hourbell/admin: request failed"`, log.String())
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
		require.NotContains(t, log.String(), "\r")
		require.NotContains(t, log.String(), "\x1b")
	}
}
