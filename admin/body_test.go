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
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// post sends bytes to a server as they are, and returns the connection.
func post(t *testing.T, server *httptest.Server, path, header, body string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"+header+"\r\n\r\n"+body)
	require.NoError(t, err)
	return conn
}

// status reads an answer's.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

// drips is how many bodies drip at once.
const drips = 40

// A body that drips keeps no connection to the database: a pool of one serves the next request while many of them are waited for.
func TestABodyThatDripsHoldsNoDatabaseConnection(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		d := newDesk(t, db, Config{})
		db.SQL().SetMaxOpenConns(1)
		waiting := make(chan struct{}, drips)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Drips") != "" {
				r.Body = &notingBody{r.Body, waiting}
			}
			d.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		var conns []net.Conn
		for i := range drips {
			path := []string{"/api/schedules/off/enable", "/api/enqueue/all", "/api/schedules/off/run", "/api/schedules/on/unlock"}[i%4]
			conns = append(conns, post(t, server, path, "Drips: 1\r\nContent-Length: 20", `{"note": "`))
		}
		for range drips {
			select {
			case <-waiting:
			case <-time.After(30 * time.Second):
				t.Fatal("a request waits for something else than its body")
			}
		}
		require.Zero(t, db.SQL().Stats().InUse, "while all of them wait for their bodies")
		conn := post(t, server, "/api/enqueue/jobs/job", "Content-Length: 2", "{}")
		require.Equal(t, http.StatusCreated, status(t, conn))
		_, err := io.WriteString(conns[0], `slow"    }`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status(t, conns[0]), "it may take its time")
		d.untouched("a body that breaks off", func() {
			for _, conn := range conns[1:] {
				require.NoError(t, conn.Close())
			}
			server.Close() // waits for them
		})
	})
}

// notingBody says when a handler begins to read it.
type notingBody struct {
	io.ReadCloser
	read chan<- struct{}
}

func (b *notingBody) Read(p []byte) (int, error) {
	if b.read != nil {
		b.read <- struct{}{}
		b.read = nil
	}
	return b.ReadCloser.Read(p)
}

// How long a body may take is the host's server's business: with its ReadTimeout, one that drips is answered and gone.
func TestTheHostsReadTimeoutEndsABodyThatDrips(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{})
	server := httptest.NewUnstartedServer(d)
	server.Config.ReadTimeout = 100 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	d.untouched("a body that is late", func() {
		conn := post(t, server, "/api/enqueue/all", "Content-Length: 20", `{"note": "`)
		require.Equal(t, http.StatusBadRequest, status(t, conn))
		_, err := io.Copy(io.Discard, conn)
		require.NoError(t, err, "the server has closed the connection")
	})
}

// A body without end is read up to the limit and no further, whatever it says its length is.
func TestABodyWithoutEndIsReadNoFurtherThanTheLimit(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{})
	d.untouched("a body without end", func() {
		for _, r := range d.table {
			if r.method != http.MethodPost {
				continue
			}
			endless := &counted{}
			request := r.request()
			request.Body, request.ContentLength = io.NopCloser(endless), -1
			request.Header.Set("Content-Type", "application/json")
			require.Equal(t, http.StatusRequestEntityTooLarge, d.answer(request).Code, r.path)
			require.LessOrEqual(t, endless.n, 2*maxBody, r.path)
		}
	})
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	conn := post(t, server, "/api/enqueue/all", "Transfer-Encoding: chunked", "")
	go func() { // until the server has had enough of it
		for {
			if _, err := fmt.Fprintf(conn, "1000\r\n%s\r\n", strings.Repeat("x", 0x1000)); err != nil {
				return
			}
		}
	}()
	require.Equal(t, http.StatusRequestEntityTooLarge, status(t, conn))
}

// counted is a body without end.
type counted struct{ n int }

func (c *counted) Read(p []byte) (int, error) {
	c.n += len(p)
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

// What is compressed is not unpacked: a few bytes cannot become many.
func TestACompressedBodyIsNotUnpacked(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{})
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, err := io.WriteString(w, `{"note": "`+strings.Repeat(" ", 1<<20)+`"}`)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Less(t, bomb.Len(), maxBody)
	d.untouched("a bomb", func() {
		for _, path := range []string{"/api/enqueue/all", "/api/schedules/off/enable"} {
			request := httptest.NewRequest("POST", path, bytes.NewReader(bomb.Bytes()))
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Content-Encoding", "gzip")
			require.Equal(t, http.StatusBadRequest, d.answer(request).Code, path)
		}
	})
}

// A body is read in one way: what another reader of it could take for something else is refused.
func TestABodyThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	d := newDesk(t, dbtest.SQLite(t), Config{})
	d.untouched("ambiguous bodies", func() {
		for _, body := range []string{
			`{"note": "a", "note": "b"}`, `{"note": "a", "NOTE": "b"}`, `{"Note": "a"}`, `{"seen": "", "seen": ""}`, `{"note": "a", "no\u0074e": "b"}`, `{"ſeen": "x"}`,
			`{"note": "a"}{"note": "b"}`, `{"note": "a"} x`, `{"note": "a",}`, `{'note': 'a'}`, `{"note": "a" /* b */}`, "\ufeff" + `{"note": "a"}`, `{"note": 1e999}`,
			`{"note": ` + strings.Repeat("9", 5000) + `}`, `{"seen": true}`, `{"note": ["a"]}`, strings.Repeat("[", 60000), strings.Repeat(`{"note":`, 8000), `{"__proto__": {}}`,
		} {
			request := httptest.NewRequest("POST", "/api/enqueue/all", strings.NewReader(body))
			request.Header.Set("Content-Type", "application/json")
			w := d.answer(request)
			require.Equal(t, http.StatusBadRequest, w.Code, "%.60s: %s", body, w.Body)
			require.Less(t, w.Body.Len(), 4096, "%.60s", body)
		}
		for _, body := range []string{"note=a&note=b", "key=a&key=b", "Note=a", "note=a;note=b", "note=%zz", "note=%ff"} {
			request := httptest.NewRequest("POST", "/schedules/off/enable", strings.NewReader(body))
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			require.Equal(t, http.StatusBadRequest, d.answer(request).Code, body)
		}
	})
	for _, body := range []string{`{}`, `null`, `{"note": null, "seen": ""}`, ` {"note" : "a" } `, ""} {
		request := httptest.NewRequest("POST", "/api/enqueue/all", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json; charset=utf-8")
		require.Equal(t, http.StatusCreated, d.answer(request).Code, body)
	}
}
