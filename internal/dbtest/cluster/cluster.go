// Package cluster starts a temporary Postgres server from the binaries on this
// machine. When the process that started it ends, even by SIGKILL, the server
// stops and its directory is removed.
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

// FsyncEnv is the variable that, set to 1, starts the server with fsync on, as
// benchmarks need it. Tests run without fsync, because it slows down creating
// databases.
const FsyncEnv = "HOURBELL_TEST_FSYNC"

// startTimeout is long, because initdb takes seconds on a busy machine.
const startTimeout = 90 * time.Second

// watchdog is the shell script that starts and stops the server. It reads from
// a pipe, and this process holds the only writing end. The kernel closes the
// pipe when this process ends for any reason, and then the watchdog cleans up.
//
//go:embed watchdog.sh
var watchdog string

// errPortTaken means that another process bound the port after freePort had
// chosen it.
var errPortTaken = errors.New("another process took the port")

// Cluster is a running server.
type Cluster struct {
	URL string // address of the maintenance database, with a superuser
	Dir string // contains all files of the server

	commands *os.File // to the watchdog; closing it stops the server
	replies  *os.File // from the watchdog, one line per command
	watchdog *exec.Cmd
}

// Start starts a server on a free loopback port and returns when it accepts
// connections. Without binaries it returns ErrNoServer.
//
// The server runs until Stop is called or this process ends. The Cluster must
// stay referenced, because the garbage collector closes its files.
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

// Stop stops the server for good and returns when its directory is removed.
func (c *Cluster) Stop() error {
	return errors.Join(c.commands.Close(), c.replies.Close(), c.watchdog.Wait())
}

// ShutdownMode is Postgres's name for a way to stop the server.
type ShutdownMode string

// Fast ends the sessions properly. Immediate stops the server as a crash does,
// so that it recovers when it starts again.
const (
	Fast      ShutdownMode = "fast"
	Immediate ShutdownMode = "immediate"
)

// Shutdown stops the server and returns when it has ended. Its files stay, so
// that Restart can start it again.
func (c *Cluster) Shutdown(ctx context.Context, mode ShutdownMode) error {
	return c.command(ctx, string(mode))
}

// Restart starts the server again after Shutdown, with the same address, and
// returns when it accepts connections.
func (c *Cluster) Restart(ctx context.Context) error { return c.command(ctx, "start") }

// command sends a command to the watchdog and waits for its reply. Calls must
// not overlap.
func (c *Cluster) command(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err := c.commands.WriteString(name + "\n")
	if err == nil {
		err = awaitReply(ctx, c.replies)
	}
	if err != nil {
		return fmt.Errorf("test server: %s: %w", name, err)
	}
	return nil
}

// start makes one attempt to start a server with the binaries in bin.
func start(ctx context.Context, bin string) (_ *Cluster, err error) {
	dir, attr, err := createDir()
	if err != nil {
		return nil, err
	}
	started := false // the watchdog removes the directory once it has started
	defer func() {
		if !started {
			_ = os.RemoveAll(dir)
		}
	}()

	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// A database superuser can run programs as the server's user. The password
	// keeps other users of this machine out.
	password := rand.Text()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	if err := chown(attr, dir, "password", "log"); err != nil {
		return nil, err
	}

	// All streams are files. Buffers would need goroutines that copy, which
	// leaktest reports. `go test` would wait for the server if that had the
	// streams of this process.
	stdin, commands, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdin.Close() }()
	replies, stdout, err := os.Pipe()
	if err != nil {
		_ = commands.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = replies.Close()
		}
	}()

	args := append([]string{"-c", watchdog, "hourbell-watchdog", bin, dir}, settings(port)...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, environment(), attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, log
	err = cmd.Start()
	_ = stdout.Close()
	if err != nil {
		_ = commands.Close()
		return nil, fmt.Errorf("start watchdog of test server: %w", err)
	}
	started = true

	c := &Cluster{URL: address(port, password), Dir: dir, commands: commands, replies: replies, watchdog: cmd}
	if err = awaitReply(ctx, replies); err != nil {
		_ = c.Stop()
		return nil, startError(err, bin, log)
	}
	return c, nil
}

// settings returns the options of a server whose data may be lost.
// synchronous_commit stays on, because tests check when other sessions see a
// commit.
func settings(port int) []string {
	fsync := "off"
	if os.Getenv(FsyncEnv) == "1" {
		fsync = "on"
	}
	return []string{
		"-c", "listen_addresses=127.0.0.1", // TCP, so that a test can use a proxy
		"-c", "port=" + strconv.Itoa(port),
		"-c", "unix_socket_directories=",
		"-c", "max_connections=300",
		"-c", "fsync=" + fsync,
		"-c", "full_page_writes=" + fsync,
		"-c", "track_commit_timestamp=" + fsync, // benchmarks read the commit time of rows
		"-c", "timezone=UTC",
	}
}

// environment returns the variables of the server. It leaves out those that
// would change its behavior, such as PGDATA or a locale for its messages.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
}

// address returns the URL of the maintenance database.
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

// awaitReply waits for a line from the watchdog. It fails if the watchdog ends
// without a reply.
func awaitReply(ctx context.Context, replies *os.File) error {
	deadline, _ := ctx.Deadline()
	if err := replies.SetReadDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = replies.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := bufio.NewReader(replies).ReadString('\n')
	return err
}

// startError adds the end of the log to the error of a server that failed to
// start.
func startError(err error, bin string, log *os.File) error {
	output := tail(log, 4096)
	if strings.Contains(output, "could not bind") {
		err = errPortTaken
	}
	return fmt.Errorf("start test server from %s: %w; its log ends:\n%s", bin, err, output)
}

// tail returns at most limit bytes from the end of a file.
func tail(log *os.File, limit int64) string {
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(limit, info.Size()))
	n, _ := log.ReadAt(text, info.Size()-int64(len(text)))
	return strings.TrimSpace(string(text[:n]))
}

// freePort returns a loopback port that no process has bound.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
