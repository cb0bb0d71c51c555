//go:build unix

package main

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/internal/leaktest"
)

// childEnv, set to 1, makes the test binary run the command.
const childEnv = "HOURBELL_WITHPG_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "1" {
		main()
	}
	leaktest.Main(m)
}

// withpg returns the command with a TEST_DATABASE_URL, or "" for none.
func withpg(t *testing.T, address string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), childEnv+"=1", urlEnv+"="+address)
	return cmd
}

func requireBinaries(t *testing.T) {
	t.Helper()
	if _, err := cluster.Binaries(); err != nil {
		dbtest.Announce("TEST OF THE TEMPORARY SERVER SKIPPED: " + err.Error() + "; 'make test' installs them and runs all tests")
		t.Skip(err)
	}
}

func TestServerStopsAfterCommand(t *testing.T) {
	requireBinaries(t)
	out, err := withpg(t, "", "--", "/bin/sh", "-c", "echo $"+urlEnv).Output()
	require.NoError(t, err)
	u, err := url.Parse(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	_, err = net.Dial("tcp", u.Host)
	require.Error(t, err)
}

func TestExitCodeOfCommandIsReturned(t *testing.T) {
	const address = "postgres://elsewhere/db"
	for script, want := range map[string]int{
		"exit 0":                                 0,
		"exit 3":                                 3,
		"kill -TERM $$":                          128 + 15,
		`test "$TEST_DATABASE_URL" = ` + address: 0, // an address that is set stays
	} {
		cmd := withpg(t, address, "--", "/bin/sh", "-c", script)
		_ = cmd.Run()
		require.Equal(t, want, cmd.ProcessState.ExitCode(), script)
	}
	cmd := withpg(t, address, "--", "/no/such/command")
	require.Error(t, cmd.Run())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
}

func TestSignalsReachCommand(t *testing.T) {
	cmd := withpg(t, "postgres://elsewhere/db", "--", "/bin/sh", "-c", "trap 'exit 7' TERM; echo trapped; while :; do sleep 0.05; done")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 8))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	done := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer done.Stop()
	_ = cmd.Wait()
	require.Equal(t, 7, cmd.ProcessState.ExitCode())
}
