package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

// roleEnv makes this test binary run as one of the processes under test.
const roleEnv = "HOURBELL_DEMO_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		leaktest.Main(m)
	}
	go exitWithParent()
	switch role {
	case "demo":
		main()
	case "replica":
		runUntilTerminated(runReplica)
	case "build":
		runUntilTerminated(runBuild)
	}
	os.Exit(0)
}

// exitWithParent ends the process when standard input ends. Only the test
// holds the other end of it, so that no process outlasts its test.
func exitWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// runUntilTerminated runs a role until the process receives SIGTERM.
func runUntilTerminated(run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		panic(err)
	}
}

// process is a process under test.
type process struct {
	*exec.Cmd
	name           string
	stdout, stderr output
	exited         chan struct{}
}

// start starts a process in the directory dir. It is killed when the test ends.
func start(t *testing.T, role, dir, databaseURL string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{Cmd: exec.Command(self, args...), exited: make(chan struct{})}
	p.Dir, p.Stdout, p.Stderr = dir, &p.stdout, &p.stderr
	p.Env = append(os.Environ(), roleEnv+"="+role, "DATABASE_URL="+databaseURL, "ADDR=127.0.0.1:0")
	_, err = p.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		_ = p.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %v, process %d, printed:\n%s%s", role, args, p.Process.Pid, tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

// kill sends SIGKILL and waits for the end of the process.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.exited
}

// stop sends SIGTERM and returns the exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	return p.exit(t)
}

// exit waits for the end of the process and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		require.FailNow(t, "the process does not end")
	}
	return p.ProcessState.ExitCode()
}

// awaitOutput waits until the process has printed text.
func (p *process) awaitOutput(t *testing.T, text string) {
	t.Helper()
	await(t, "output "+text, func() bool { return strings.Contains(p.stdout.String(), text) })
}

// await waits until condition holds. The limit allows for a loaded machine.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "timed out waiting for: "+what)
		}
	}
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail returns the end of a long text.
func tail(text string) string { return text[max(0, len(text)-1500):] }
