package admin_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
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

// A request that waits for its body holds no database connection. With a pool
// of one connection and many such requests, another request is served.
func TestSlowBodyHoldsNoDatabaseConnection(t *testing.T) {
	const slowRequests = 40
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		db.SQL().SetMaxOpenConns(1)
		waiting := make(chan struct{}, slowRequests)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Slow") != "" {
				r.Body = &notifyingBody{r.Body, waiting}
			}
			f.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		var conns []net.Conn
		for i := range slowRequests {
			path := []string{"/api/schedules/off/enable", "/api/enqueue/all", "/api/schedules/off/run", "/api/schedules/on/unlock"}[i%4]
			conns = append(conns, postRaw(t, server, path, "Slow: 1\r\nContent-Length: 20", `{"note": "`))
		}
		for range slowRequests {
			select {
			case <-waiting:
			case <-time.After(30 * time.Second):
				t.Fatal("a request did not begin to read its body")
			}
		}
		require.Zero(t, db.SQL().Stats().InUse, "while all requests wait for their bodies")
		conn := postRaw(t, server, "/api/enqueue/jobs/job", "Content-Length: 2", "{}")
		require.Equal(t, http.StatusCreated, readStatus(t, conn))
		_, err := io.WriteString(conns[0], `slow"    }`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, readStatus(t, conns[0]), "a slow body is accepted")
		f.requireUnchanged("an incomplete body", func() {
			for _, conn := range conns[1:] {
				require.NoError(t, conn.Close())
			}
			server.Close() // waits for the requests
		})
	})
}

// notifyingBody reports when the handler begins to read it.
type notifyingBody struct {
	io.ReadCloser
	read chan<- struct{}
}

func (b *notifyingBody) Read(p []byte) (int, error) {
	if b.read != nil {
		b.read <- struct{}{}
		b.read = nil
	}
	return b.ReadCloser.Read(p)
}
