package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// The tests run real processes: this test binary again, in a role that it is given in its environment.
const roleEnv = "HOURBELL_DEMO_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		leaktest.Main(m)
	}
	go func() { // only the test holds the other end, so this ends when the test does, however it does
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	switch role {
	case "demo":
		main()
	case "crowd":
		untilTold(runCrowd)
	case "build":
		untilTold(runBuild)
	}
	os.Exit(0)
}

// untilTold runs a role until the process is told to stop.
func untilTold(run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		panic(err)
	}
}

// process is a running program of a test.
type process struct {
	*exec.Cmd
	name           string
	stdout, stderr output
	exited         chan struct{}
}

// start starts a process in a directory of its own. It is killed when the test ends.
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
			t.Logf("%s %v, process %d, printed:\n%s%s", role, args, p.Process.Pid, last(p.stdout.String()), last(p.stderr.String()))
		}
	})
	return p
}

// kill ends the process as nothing it can notice does.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.exited
}

// stop asks the process to stop and returns its exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	return p.exit(t)
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		require.FailNow(t, "the process does not end")
	}
	return p.ProcessState.ExitCode()
}

// prints waits until the process has printed a text.
func (p *process) prints(t *testing.T, text string) {
	t.Helper()
	await(t, "the process to print "+text, func() bool { return bytes.Contains([]byte(p.stdout.String()), []byte(text)) })
}

// await waits for a condition. The bound is for a machine under load; nothing here takes half of it.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(t, "waited in vain for "+what)
		}
	}
}

// output is what a process has printed so far.
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

// last is the end of a long text.
func last(text string) string { return text[max(0, len(text)-1500):] }
