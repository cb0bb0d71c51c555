package hourbell_test

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// wire is the network between a replica and its Postgres server, which a test cuts or freezes.
type wire struct {
	dsn     string // of the database, by way of the wire
	flowing sync.RWMutex

	mu    sync.Mutex // guards what follows
	cut   bool
	conns map[net.Conn]bool
}

func newWire(t testing.TB, db *dbtest.DB) *wire {
	t.Helper()
	address, err := url.Parse(db.DSN)
	require.NoError(t, err)
	server := address.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address.Host = listener.Addr().String()
	w := &wire{dsn: address.String(), conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		w.Cut()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go w.connect(client, server)
		}
	}()
	return w
}

// open is a replica's pool on the wire.
func (w *wire) open(t testing.TB) *gorm.DB {
	return (&dbtest.DB{DSN: w.dsn, Dialect: "postgres"}).Open(t, nil)
}

// Freeze stops every byte on its way, in both directions, the end of a connection included: neither side learns of it.
func (w *wire) Freeze() { w.flowing.Lock() }

// Thaw lets them go on.
func (w *wire) Thaw() { w.flowing.Unlock() }

// Cut breaks every connection and lets none through.
func (w *wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for conn := range w.conns {
		_ = conn.Close()
	}
	clear(w.conns)
}

// Mend lets new connections through.
func (w *wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

func (w *wire) connect(client net.Conn, server string) {
	w.flowing.RLock()
	far, err := net.Dial("tcp", server)
	w.flowing.RUnlock()
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.conns[client], w.conns[far] = true, true
	cut := w.cut
	w.mu.Unlock()
	if cut {
		w.Cut()
		return
	}
	go w.pump(client, far)
	w.pump(far, client)
}

func (w *wire) pump(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.flowing.RLock()
		if n > 0 && err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
		}
		w.flowing.RUnlock()
		if err != nil {
			return
		}
	}
}
