package contract_test

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// proxy forwards TCP connections from a replica to its Postgres server. A test
// cuts or freezes it to simulate network failures.
type proxy struct {
	dsn     string // of the database, through the proxy
	flowing sync.RWMutex

	mu    sync.Mutex // guards the fields below
	isCut bool
	conns map[net.Conn]bool
}

// newProxy starts a proxy for a database. It stops with the test.
func newProxy(t testing.TB, db *dbtest.DB) *proxy {
	t.Helper()
	address, err := url.Parse(db.DSN)
	require.NoError(t, err)
	server := address.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address.Host = listener.Addr().String()
	p := &proxy{dsn: address.String(), conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.connect(client, server)
		}
	}()
	return p
}

// open returns a pool that connects through the proxy.
func (p *proxy) open(t testing.TB) *gorm.DB {
	return (&dbtest.DB{DSN: p.dsn, Dialect: "postgres"}).Open(t, nil)
}

// freeze holds back all bytes in both directions. The end of a connection is
// held back too, so neither side notices it.
func (p *proxy) freeze() { p.flowing.Lock() }

// thaw undoes freeze.
func (p *proxy) thaw() { p.flowing.Unlock() }

// cut closes all connections and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

// restore accepts new connections after cut.
func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = false
}

func (p *proxy) connect(client net.Conn, address string) {
	p.flowing.RLock()
	server, err := net.Dial("tcp", address)
	p.flowing.RUnlock()
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	isCut := p.isCut
	p.mu.Unlock()
	if isCut {
		p.cut()
		return
	}
	go p.forward(client, server)
	p.forward(server, client)
}

func (p *proxy) forward(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.flowing.RLock()
		if n > 0 && err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
		}
		p.flowing.RUnlock()
		if err != nil {
			return
		}
	}
}
