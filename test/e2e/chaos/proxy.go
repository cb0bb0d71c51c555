package main

import (
	"net"
	"sync"
	"time"
)

// proxy is the network between one host and the database. It can close all
// connections, refuse new ones, delay data, and stall.
type proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex // guards the fields below
	changed  *sync.Cond
	conns    map[net.Conn]bool
	refusing bool
	stalled  bool
	delay    time.Duration
}

func newProxy(target string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	go p.accept()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) close() {
	_ = p.listener.Close()
	p.set(func() { p.stalled = false })
	p.cut()
}

// set applies a change of the proxy's state.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(conn)
	}
}

func (p *proxy) connect(client net.Conn) {
	defer func() { _ = client.Close() }()
	if refused := p.wait(); refused {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.set(func() { p.conns[client], p.conns[server] = true, true })
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })
	done := make(chan struct{}, 2)
	go p.forward(client, server, done)
	go p.forward(server, client, done)
	<-done // one side has ended, so close the other
	_ = client.Close()
	_ = server.Close()
	<-done
}

// forward copies one direction until either side ends.
func (p *proxy) forward(to, from net.Conn, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.wait()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait blocks while the proxy is stalled, then for its delay. It reports
// whether the proxy refuses connections.
func (p *proxy) wait() (refused bool) {
	p.mu.Lock()
	for p.stalled {
		p.changed.Wait()
	}
	delay, refused := p.delay, p.refusing
	p.mu.Unlock()
	time.Sleep(delay)
	return refused
}
