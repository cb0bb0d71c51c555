// Package cluster starts a throw-away Postgres server from the binaries on
// this machine and makes sure that nothing of it is left: no process and no
// directory, even when the process that asked for it is killed.
package cluster

import (
	"bufio"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// FsyncEnv, set to 1, starts the server with fsync on. It is off otherwise:
// no test here cuts the power, and a database is made three times as fast.
// Benchmarks want it on.
const FsyncEnv = "HOURBELL_TEST_FSYNC"

// startTimeout is generous: initdb on a busy machine takes seconds.
const startTimeout = 90 * time.Second

// watchdog is the shell script that owns the server. The server belongs to
// it, not to us, because it survives us: it reads from a pipe whose only
// other end we hold, so the kernel tells it that we are gone, however we went.
//
//go:embed watchdog.sh
var watchdog string

// errPortTaken says that somebody took the port between our looking for a
// free one and the server's binding it.
var errPortTaken = errors.New("the port was taken by another process")

// Cluster is a running server.
type Cluster struct {
	URL string // of the maintenance database, as a superuser
	Dir string // everything the server has on disk

	lifeline *os.File // closing it, or dying, stops the server
	answer   *os.File // where the watchdog says what it has done
	watchdog *exec.Cmd
}

// Start starts a server on a free loopback port and returns once it takes
// connections. It fails with an error that is ErrNoServer where there are no
// binaries to start.
//
// The server lives until Stop or until this process ends, whichever is first.
// The Cluster must stay reachable that long.
func Start(ctx context.Context) (*Cluster, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		c, err := start(ctx, bin)
		if !errors.Is(err, errPortTaken) || attempt == 3 {
			return c, err
		}
	}
}

// Stop ends the server and returns once its directory is gone.
func (c *Cluster) Stop() error {
	return errors.Join(c.lifeline.Close(), c.answer.Close(), c.watchdog.Wait())
}

// Halt is a way to stop a server that is to be started again.
type Halt string

// The ways: sessions are ended properly, or the server goes down as in a crash and recovers when it starts.
const (
	Fast      Halt = "fast"
	Immediate Halt = "immediate"
)

// Down stops the server and returns once it is gone. What it has on disk stays.
func (c *Cluster) Down(ctx context.Context, how Halt) error { return c.ask(ctx, string(how)) }

// Up starts the server again after Down, at the same address, and returns once it takes connections.
func (c *Cluster) Up(ctx context.Context) error { return c.ask(ctx, "start") }

// ask has the watchdog do something. One call at a time.
func (c *Cluster) ask(ctx context.Context, word string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err := c.lifeline.WriteString(word + "\n")
	if err == nil {
		err = ready(ctx, c.answer)
	}
	if err != nil {
		return fmt.Errorf("test server: %s: %w", word, err)
	}
	return nil
}

func start(ctx context.Context, bin string) (_ *Cluster, err error) {
	dir, attr, err := home()
	if err != nil {
		return nil, err
	}
	started := false // from then on the directory is the watchdog's to remove
	defer func() {
		if !started {
			_ = os.RemoveAll(dir)
		}
	}()

	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// A superuser may run programs as the user the server runs as, so even on
	// loopback the door has a lock: other people have accounts here too.
	password := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	if err := own(attr, dir, "password", "log"); err != nil {
		return nil, err
	}

	// Files, not buffers: nothing is copied, so no goroutine of ours runs on
	// behind the tests (some look for leaked ones), and the server holds none
	// of the pipes that `go test` waits for.
	listen, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = listen.Close() }()
	answer, say, err := os.Pipe()
	if err != nil {
		_ = lifeline.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = answer.Close()
		}
	}()

	args := append([]string{"-c", watchdog, "hourbell-watchdog", bin, dir}, settings(port)...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, environment(), attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr = listen, say, log
	err = cmd.Start()
	_ = say.Close()
	if err != nil {
		_ = lifeline.Close()
		return nil, fmt.Errorf("start the watchdog of the test server: %w", err)
	}
	started = true

	c := &Cluster{URL: address(port, password), Dir: dir, lifeline: lifeline, answer: answer, watchdog: cmd}
	if err = ready(ctx, answer); err != nil {
		_ = c.Stop()
		return nil, explain(err, bin, log)
	}
	return c, nil
}

// settings are those of a server that is thrown away, except that
// synchronous_commit stays on: tests look at what other sessions see of a
// commit, and when.
func settings(port int) []string {
	fsync := "off"
	if os.Getenv(FsyncEnv) == "1" {
		fsync = "on"
	}
	return []string{
		"-c", "listen_addresses=127.0.0.1", // TCP, so that a test can put a proxy in between
		"-c", "port=" + strconv.Itoa(port),
		"-c", "unix_socket_directories=",
		"-c", "max_connections=300",
		"-c", "fsync=" + fsync,
		"-c", "full_page_writes=" + fsync,
		"-c", "track_commit_timestamp=" + fsync, // benchmarks read there when a row was committed
		"-c", "timezone=UTC",
	}
}

// environment leaves out what would steer the server or its tools, such as
// PGDATA or a locale that translates the messages in its log.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

func address(port int, password string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// ready waits for the watchdog's word, a line. No word and a closed pipe mean
// that the watchdog has given up.
func ready(ctx context.Context, answer *os.File) error {
	deadline, _ := ctx.Deadline()
	if err := answer.SetReadDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = answer.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := bufio.NewReader(answer).ReadString('\n')
	return err
}

func explain(err error, bin string, log *os.File) error {
	said := tail(log, 4096)
	if strings.Contains(said, "could not bind") {
		err = errPortTaken
	}
	return fmt.Errorf("start a test server from %s: %w; it said:\n%s", bin, err, said)
}

func tail(log *os.File, most int64) string {
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(most, info.Size()))
	n, _ := log.ReadAt(text, info.Size()-int64(len(text)))
	return strings.TrimSpace(string(text[:n]))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
