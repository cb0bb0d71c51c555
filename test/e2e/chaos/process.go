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

// wrongClocks are the clocks that a process may have, where build.sh has made it so that it can have a wrong one.
var wrongClocks = []time.Duration{0, 0, 0, 2500 * time.Millisecond, -40 * time.Second, time.Hour, -25 * time.Hour}

// host is a process that is started again whenever it has ended. Its address and its network outlive it.
type host struct {
	name     string
	kind     kind
	network  *proxy
	address  string // of its HTTP server
	listener *os.File
	env      []string
	clocks   *rand.Rand // how wrong the clock of each process is
	log      *os.File
	busy     sync.Mutex // held by the fault that is at it

	mu       sync.Mutex // guards what follows
	cmd      *exec.Cmd
	exited   chan struct{}
	starts   int
	unlucky  int      // starts that failed, as without a database
	told     bool     // it was killed or told to stop, and stays down until start is called
	failures []string // ends that nobody had asked for
}

// newHost makes a host that is not running yet. dsn is the database's own; the host gets it through its proxy.
func newHost(name string, k kind, dsn, dir string, schedules int, clocks *rand.Rand) (*host, error) {
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

// start starts the process, unless it runs.
func (h *host) start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil && !h.told {
		return nil
	}
	h.told = false
	return h.launch()
}

// launch starts another process. The caller holds mu.
func (h *host) launch() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), h.env...), clockEnv+"="+wrongClocks[h.clocks.IntN(len(wrongClocks))].String())
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
	go h.watch(cmd, h.exited, lifeline)
	return nil
}

// watch waits for the process's end, and starts another one if that was not asked for.
func (h *host) watch(cmd *exec.Cmd, exited chan struct{}, lifeline io.Closer) {
	_ = cmd.Wait()
	_ = lifeline.Close()
	h.mu.Lock()
	told := h.told
	code := cmd.ProcessState.ExitCode()
	switch {
	case code == exitUnstarted:
		h.unlucky++
	case !told:
		h.failures = append(h.failures, fmt.Sprintf("%s, process %d, ended by itself: %v", h.name, cmd.Process.Pid, cmd.ProcessState))
	}
	close(exited)
	h.mu.Unlock()
	if told {
		return
	}
	time.Sleep(300 * time.Millisecond) // as a supervisor would
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told || h.cmd != cmd {
		return
	}
	if err := h.launch(); err != nil {
		h.failures = append(h.failures, fmt.Sprintf("%s cannot be started: %v", h.name, err))
	}
}

// end marks the process as told, and returns it with what is closed at its end.
func (h *host) end() (*os.Process, chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = true
	if h.cmd == nil {
		return nil, nil
	}
	return h.cmd.Process, h.exited
}

// kill ends the process as nothing it can notice does.
func (h *host) kill() error {
	process, exited := h.end()
	if process == nil {
		return nil
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-exited
	return nil
}

// stop asks the process to end, and says how long that took.
func (h *host) stop() (time.Duration, error) {
	process, exited := h.end()
	if process == nil {
		return 0, nil
	}
	asked := time.Now()
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-exited:
	case <-time.After(time.Minute):
		return 0, fmt.Errorf("%s, process %d, does not end", h.name, process.Pid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.cmd.ProcessState
	if code := state.ExitCode(); code != 0 && code != exitUnstarted && !endedBy(state, syscall.SIGTERM) {
		return 0, fmt.Errorf("%s, process %d, was told to stop and ended with: %v", h.name, process.Pid, state)
	}
	return time.Since(asked), nil
}

// endedBy says whether the system ended the process by a signal. By one that a host listens to, it does so only before
// the host has come to that.
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
