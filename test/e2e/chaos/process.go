package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// clockOffsets are the offsets of a process's clock to choose from.
var clockOffsets = []time.Duration{0, 0, 0, 2500 * time.Millisecond, -40 * time.Second, time.Hour, -25 * time.Hour}

// host is a backend whose process is restarted when it exits. Its address and
// its proxy stay the same across processes.
type host struct {
	name     string
	kind     hostKind
	network  *proxy
	address  string // of its HTTP server
	listener *os.File
	env      []string
	clocks   *rand.Rand // draws the clock offset of each process
	log      *os.File
	busy     sync.Mutex // held by the fault that affects this host

	mu             sync.Mutex // guards the fields below
	cmd            *exec.Cmd
	exited         chan struct{}
	starts         int
	failedStarts   int      // processes that exited with exitNotStarted
	stopping       bool     // killed or stopped by a fault; start restarts it
	unexpectedEnds []string // exits that no fault caused
}

// newHost returns a host that is not running yet. dsn leads to the server
// itself; the process connects through its proxy.
func newHost(name string, k hostKind, dsn, dir string, schedules int, clocks *rand.Rand) (*host, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	network, err := newProxy(u.Host)
	if err != nil {
		return nil, err
	}
	u.Host = network.address()
	query := u.Query()
	query.Set("application_name", name)
	query.Set("connect_timeout", "3")
	u.RawQuery = query.Encode()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &host{
		name: name, kind: k, clocks: clocks, network: network, address: listener.Addr().String(), listener: file, log: log,
		env: []string{roleEnv + "=" + string(k), databaseEnv + "=" + u.String(), nameEnv + "=" + name, schedulesEnv + "=" + strconv.Itoa(schedules)},
	}, nil
}

func (h *host) close() {
	_ = h.kill()
	h.network.close()
	_ = h.listener.Close()
	_ = h.log.Close()
}

// start starts the process unless it is running.
func (h *host) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil && !h.stopping {
		return nil
	}
	h.stopping = false
	return h.launch()
}

// launch starts a process. The caller holds mu.
func (h *host) launch() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	offset := clockOffsets[h.clocks.IntN(len(clockOffsets))]
	cmd.Env = append(append(os.Environ(), h.env...), clockEnv+"="+offset.String())
	cmd.Stdout, cmd.Stderr = h.log, h.log
	cmd.ExtraFiles = []*os.File{h.listener}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmd, h.exited = cmd, make(chan struct{})
	h.starts++
	go h.supervise(cmd, h.exited, lifeline)
	return nil
}

// supervise waits until the process exits. Unless a fault caused the exit, it
// starts another process, as a supervisor in production does.
func (h *host) supervise(cmd *exec.Cmd, exited chan struct{}, lifeline io.Closer) {
	_ = cmd.Wait()
	_ = lifeline.Close()
	h.mu.Lock()
	expected := h.stopping
	code := cmd.ProcessState.ExitCode()
	switch {
	case code == exitNotStarted:
		h.failedStarts++
	case !expected:
		h.unexpectedEnds = append(h.unexpectedEnds, fmt.Sprintf("%s, process %d, exited unexpectedly: %v", h.name, cmd.Process.Pid, cmd.ProcessState))
	}
	close(exited)
	h.mu.Unlock()
	if expected {
		return
	}
	time.Sleep(300 * time.Millisecond) // the delay of a supervisor
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping || h.cmd != cmd {
		return
	}
	if err := h.launch(); err != nil {
		h.unexpectedEnds = append(h.unexpectedEnds, fmt.Sprintf("%s cannot be started: %v", h.name, err))
	}
}

// markStopping prevents a restart. It returns the process, nil if there is
// none, and the channel that is closed when the process has exited.
func (h *host) markStopping() (*os.Process, chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
	if h.cmd == nil {
		return nil, nil
	}
	return h.cmd.Process, h.exited
}

// kill sends SIGKILL and waits until the process has exited.
func (h *host) kill() error {
	process, exited := h.markStopping()
	if process == nil {
		return nil
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-exited
	return nil
}

// stop sends SIGTERM and returns how long the process took to exit.
func (h *host) stop() (time.Duration, error) {
	process, exited := h.markStopping()
	if process == nil {
		return 0, nil
	}
	signaled := time.Now()
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-exited:
	case <-time.After(time.Minute):
		return 0, fmt.Errorf("%s, process %d, does not exit", h.name, process.Pid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.cmd.ProcessState
	if code := state.ExitCode(); code != 0 && code != exitNotStarted && !endedBy(state, syscall.SIGTERM) {
		return 0, fmt.Errorf("%s, process %d, exited after SIGTERM with: %v", h.name, process.Pid, state)
	}
	return time.Since(signaled), nil
}

// endedBy reports whether a signal ended the process. SIGTERM does so only
// before the host has installed its signal handler.
func endedBy(state *os.ProcessState, s syscall.Signal) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

// signal sends a signal to the process, if there is one.
func (h *host) signal(s os.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		_ = h.cmd.Process.Signal(s)
	}
}

func (h *host) pid() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cmd.Process.Pid
}
