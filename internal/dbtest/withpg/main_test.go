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

	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/internal/leaktest"
)

// asWithpg makes the test binary behave as the command.
const asWithpg = "HOURBELL_WITHPG_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(asWithpg) == "1" {
		main()
	}
	leaktest.Main(m)
}

// withpg runs the command with a TEST_DATABASE_URL ("" for none).
func withpg(t *testing.T, address string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asWithpg+"=1", urlEnv+"="+address)
	return cmd
}

func requireBinaries(t *testing.T) {
	t.Helper()
	if _, err := cluster.Binaries(); err != nil {
		t.Skip(err)
	}
}

func TestTheCommandSeesAServerThatIsGoneAfterwards(t *testing.T) {
	requireBinaries(t)
	out, err := withpg(t, "", "--", "sh", "-c", "echo $"+urlEnv).Output()
	require.NoError(t, err)
	u, err := url.Parse(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	_, err = net.Dial("tcp", u.Host)
	require.Error(t, err)
}

func TestExitCodesAreTheCommands(t *testing.T) {
	const other = "postgres://elsewhere/db"
	for script, want := range map[string]int{
		"exit 0":                               0,
		"exit 3":                               3,
		"kill -TERM $$":                        128 + 15,
		`test "$TEST_DATABASE_URL" = ` + other: 0, // a server that was given is passed on
	} {
		cmd := withpg(t, other, "--", "sh", "-c", script)
		_ = cmd.Run()
		require.Equal(t, want, cmd.ProcessState.ExitCode(), script)
	}
	cmd := withpg(t, other, "--", "/no/such/command")
	require.Error(t, cmd.Run())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
}

func TestSignalsReachTheCommand(t *testing.T) {
	cmd := withpg(t, "postgres://elsewhere/db", "--", "sh", "-c", "trap 'exit 7' TERM; echo trapped; while :; do sleep 0.05; done")
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
