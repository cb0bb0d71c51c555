package main

import (
	"net"
	"sync"
	"time"
)

// proxy is the network between one host and the database. It can be cut, refuse, be slow, and be silent.
type proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex // guards what follows
	changed  *sync.Cond
	conns    map[net.Conn]bool
	refusing bool
	silent   bool
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
	p.set(func() { p.silent = false })
	p.cut()
}

// set changes the network.
func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

// cut ends all connections.
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

func (p *proxy) connect(near net.Conn) {
	defer func() { _ = near.Close() }()
	if p.pass() {
		return
	}
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	p.set(func() { p.conns[near], p.conns[far] = true, true })
	defer p.set(func() { delete(p.conns, near); delete(p.conns, far) })
	done := make(chan struct{}, 2)
	go p.pump(near, far, done)
	go p.pump(far, near, done)
	<-done // either side has ended: so does the other
	_ = near.Close()
	_ = far.Close()
	<-done
}

// pump carries one direction.
func (p *proxy) pump(to, from net.Conn, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.pass()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits for as long as the network is silent or slow, and says whether it refuses.
func (p *proxy) pass() (refused bool) {
	p.mu.Lock()
	for p.silent {
		p.changed.Wait()
	}
	delay, refused := p.delay, p.refusing
	p.mu.Unlock()
	time.Sleep(delay)
	return refused
}
