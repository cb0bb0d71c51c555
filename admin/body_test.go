package admin

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// postRaw sends a POST with a raw header and body and returns the connection.
func postRaw(t *testing.T, server *httptest.Server, path, header, body string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"+header+"\r\n\r\n"+body)
	require.NoError(t, err)
	return conn
}

// readStatus reads the status of a response.
func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

// The host's server limits how long a body may take. With its ReadTimeout set,
// a slow body gets a response and the connection is closed.
func TestReadTimeoutOfHostEndsSlowBody(t *testing.T) {
	f := newFixture(t, Config{})
	server := httptest.NewUnstartedServer(f)
	server.Config.ReadTimeout = 100 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	f.requireUnchanged("a slow body", func() {
		conn := postRaw(t, server, "/api/enqueue/all", "Content-Length: 20", `{"note": "`)
		require.Equal(t, http.StatusBadRequest, readStatus(t, conn))
		_, err := io.Copy(io.Discard, conn)
		require.NoError(t, err, "the server has closed the connection")
	})
}

// The handler stops reading at the limit, whatever Content-Length claims.
func TestEndlessBodyIsReadOnlyToLimit(t *testing.T) {
	f := newFixture(t, Config{})
	f.requireUnchanged("an endless body", func() {
		for _, r := range f.table {
			if r.method != http.MethodPost {
				continue
			}
			endless := &countedBody{}
			request := r.request()
			request.Body, request.ContentLength = io.NopCloser(endless), -1
			request.Header.Set("Content-Type", "application/json")
			require.Equal(t, http.StatusRequestEntityTooLarge, f.do(request).Code, r.path)
			require.LessOrEqual(t, endless.n, 2*maxBody, r.path)
		}
	})
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	conn := postRaw(t, server, "/api/enqueue/all", "Transfer-Encoding: chunked", "")
	go func() { // until the server closes the connection
		for {
			if _, err := fmt.Fprintf(conn, "1000\r\n%s\r\n", strings.Repeat("x", 0x1000)); err != nil {
				return
			}
		}
	}()
	require.Equal(t, http.StatusRequestEntityTooLarge, readStatus(t, conn))
}

// countedBody is an endless body that counts the bytes read.
type countedBody struct{ n int }

func (c *countedBody) Read(p []byte) (int, error) {
	c.n += len(p)
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

// The handler does not decompress bodies, so a small one cannot grow large.
func TestCompressedBodyIsRefused(t *testing.T) {
	f := newFixture(t, Config{})
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, err := io.WriteString(w, `{"note": "`+strings.Repeat(" ", 1<<20)+`"}`)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Less(t, bomb.Len(), maxBody)
	f.requireUnchanged("a compressed body", func() {
		for _, path := range []string{"/api/enqueue/all", "/api/schedules/off/enable"} {
			request := httptest.NewRequest("POST", path, bytes.NewReader(bomb.Bytes()))
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Content-Encoding", "gzip")
			require.Equal(t, http.StatusBadRequest, f.do(request).Code, path)
		}
	})
}

// The handler refuses bodies that another parser could interpret differently.
func TestAmbiguousBodyIsRefused(t *testing.T) {
	f := newFixture(t, Config{})
	f.requireUnchanged("ambiguous bodies", func() {
		for _, body := range []string{
			`{"note": "a", "note": "b"}`, `{"note": "a", "NOTE": "b"}`, `{"Note": "a"}`, `{"ifMatch": "", "ifMatch": ""}`, `{"note": "a", "no\u0074e": "b"}`, `{"ifmatch": "x"}`, `{"ıfMatch": "x"}`,
			`{"note": "a"}{"note": "b"}`, `{"note": "a"} x`, `{"note": "a",}`, `{'note': 'a'}`, `{"note": "a" /* b */}`, "\ufeff" + `{"note": "a"}`, `{"note": 1e999}`,
			`{"note": ` + strings.Repeat("9", 5000) + `}`, `{"ifMatch": true}`, `{"note": ["a"]}`, strings.Repeat("[", 60000), strings.Repeat(`{"note":`, 8000), `{"__proto__": {}}`,
		} {
			request := httptest.NewRequest("POST", "/api/enqueue/all", strings.NewReader(body))
			request.Header.Set("Content-Type", "application/json")
			w := f.do(request)
			require.Equal(t, http.StatusBadRequest, w.Code, "%.60s: %s", body, w.Body)
			require.Less(t, w.Body.Len(), 4096, "%.60s", body)
		}
		for _, body := range []string{"note=a&note=b", "idempotencyKey=a&idempotencyKey=b", "Note=a", "note=a;note=b", "note=%zz", "note=%ff"} {
			request := httptest.NewRequest("POST", "/schedules/off/enable", strings.NewReader(body))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			require.Equal(t, http.StatusBadRequest, f.do(request).Code, body)
		}
	})
	for _, body := range []string{`{}`, `null`, `{"note": null, "ifMatch": ""}`, ` {"note" : "a" } `, ""} {
		request := httptest.NewRequest("POST", "/api/enqueue/all", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
		require.Equal(t, http.StatusCreated, f.do(request).Code, body)
	}
}

// parsesForm is a middleware that parses the form, as many hosts have one.
func parsesForm(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		next.ServeHTTP(w, r)
	})
}

// postForm sends a form to a handler.
func postForm(h http.Handler, path, body string) *httptest.ResponseRecorder {
	request := httptest.NewRequest("POST", path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	return w
}

// If a middleware has parsed the form, its fields are not lost.
func TestFormParsedByMiddlewareIsUsed(t *testing.T) {
	f := newFixture(t, Config{})
	host := parsesForm(f)
	for range 2 {
		require.Equal(t, http.StatusOK, postForm(host, "/schedules/off/run", "idempotencyKey=k&note=by+hand").Code)
	}
	runs, err := f.scheduler.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "off"})
	require.NoError(t, err)
	require.Len(t, runs, 1, "the second request is a duplicate")
	require.Equal(t, "k", runs[0].IdempotencyKey)
	events, err := f.scheduler.Events(t.Context(), hourbell.EventQuery{Kind: hourbell.EventRunNow, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, "by hand", events[0].Note)

	f.requireUnchanged("refused forms", func() {
		require.Equal(t, http.StatusConflict, postForm(host, "/schedules/off/enable", "ifMatch=outdated").Code)
		require.Equal(t, http.StatusBadRequest, postForm(host, "/schedules/off/enable", "color=red").Code)
		require.Equal(t, http.StatusBadRequest, postForm(host, "/schedules/off/enable", "note=a&note=b").Code)
		require.Equal(t, http.StatusRequestEntityTooLarge, postForm(host, "/schedules/off/enable", "note="+strings.Repeat("x", maxBody)).Code)
	})
	w := postForm(host, "/schedules/off/enable", "note=go&back=%3Fsort%3Dname")
	require.Equal(t, "../../?sort=name", w.Header().Get("Location"))
	schedule, err := f.scheduler.Schedule(t.Context(), "off")
	require.NoError(t, err)
	require.Equal(t, "go", schedule.EnabledNote)
	require.Contains(t, postForm(host, "/disable", "id=off&note=stop").Body.String(), "1 schedule disabled")

	request := httptest.NewRequest("POST", "/api/schedules/off/enable", strings.NewReader(`{"note": "as JSON"}`))
	request.Header.Set("Content-Type", "application/json")
	w = httptest.NewRecorder()
	host.ServeHTTP(w, request)
	require.Contains(t, w.Body.String(), "as JSON")
}

// Each form that changes something has the host's field, so that the host's
// CSRF middleware accepts it. Other forms do not show it.
func TestFormsHaveFieldOfHost(t *testing.T) {
	const token = `to"ken`
	f := newFixture(t, Config{FormField: func(r *http.Request) (string, string) { return "csrf.Token", r.Header.Get("X-Session") + token }})
	host := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Session", "1-")
		if r.Method == http.MethodPost && r.PostFormValue("csrf.Token") != "1-"+token {
			http.Error(w, "no token", http.StatusForbidden)
			return
		}
		f.ServeHTTP(w, r)
	})
	field := `<input type="hidden" name="csrf.Token" value="1-to&#34;ken">`
	forms := regexp.MustCompile(`(?s)<form.*?</form>`)
	posts := 0
	for _, r := range f.table {
		if r.method != http.MethodGet || strings.HasPrefix(r.path, "/api/") || strings.HasPrefix(r.path, "/static/") {
			continue
		}
		w := httptest.NewRecorder()
		host.ServeHTTP(w, r.request())
		for _, form := range forms.FindAllString(w.Body.String(), -1) {
			isPost := strings.Contains(form, `method="post"`)
			require.Equal(t, isPost, strings.Contains(form, field), "%s: %s", r.path, form)
			if isPost {
				posts++
			}
		}
	}
	require.Greater(t, posts, 9)
	require.Equal(t, http.StatusForbidden, postForm(host, "/schedules/off/enable", "note=x").Code)
	require.Equal(t, http.StatusSeeOther, postForm(host, "/schedules/off/enable", url.Values{"note": {"x"}, "csrf.Token": {"1-" + token}}.Encode()).Code)
	require.Equal(t, http.StatusBadRequest, postForm(f, "/schedules/off/enable", "other=x").Code)
}

// If a middleware of the host compresses the response, which shows in the
// header before the handler is called, the handler does not compress it too.
func TestResponseIsLeftToCompressingMiddleware(t *testing.T) {
	f := newFixture(t, Config{})
	for _, header := range []http.Header{
		{}, {"Vary": {"Origin"}}, {"Content-Encoding": {"br"}}, {"Vary": {"Accept-Encoding"}}, {"Vary": {"Origin, accept-encoding"}}, {"Vary": {"Origin", "Accept-Encoding"}},
	} {
		w := httptest.NewRecorder()
		for name, values := range header {
			w.Header()[name] = values
		}
		isLeft := len(header) > 0 && header.Get("Vary") != "Origin" || len(header["Vary"]) > 1
		request := httptest.NewRequest("GET", "/", nil)
		request.Header.Set("Accept-Encoding", "gzip")
		f.ServeHTTP(w, request)
		require.Equal(t, isLeft, strings.Contains(w.Body.String(), "<h1>Schedules</h1>"), header)
		require.Equal(t, 1, strings.Count(strings.ToLower(strings.Join(w.Header().Values("Vary"), ",")), "accept-encoding"), header)
		if !isLeft {
			require.Equal(t, "gzip", w.Header().Get("Content-Encoding"), header)
		}
		require.True(t, strings.HasPrefix(w.Header().Get("ETag"), "W/"), header)
	}
}
