//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

const helperEnv = "HOURBELL_CLUSTER_HELPER"

// start starts a cluster where there are binaries. TEST_DATABASE_URL does not
// count here: these tests are about what we start ourselves.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context())
	if errors.Is(err, cluster.ErrNoServer) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return c
}

// serverPID reads the process id that the server has written down.
func serverPID(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return pid
}

// requireGone waits until neither process, nor port, nor directory is left.
func requireGone(t *testing.T, pid int, address, dir string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	}, 20*time.Second, 20*time.Millisecond, "directory %s", dir)
	require.Eventually(t, func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}, 20*time.Second, 20*time.Millisecond, "process %d", pid)
	u, err := url.Parse(address)
	require.NoError(t, err)
	_, err = net.Dial("tcp", u.Host)
	require.Error(t, err)
}

func TestStopLeavesNothing(t *testing.T) {
	c := start(t)
	pid := serverPID(t, c.Dir)
	require.NoError(t, syscall.Kill(pid, 0))
	require.NoError(t, c.Stop())
	requireGone(t, pid, c.URL, c.Dir)
}

// TestHelper starts a cluster and waits to be killed.
func TestHelper(t *testing.T) {
	if os.Getenv(helperEnv) != "1" {
		t.Skip("run by TestAKilledProcessLeavesNothing")
	}
	c, err := cluster.Start(context.Background())
	if err != nil {
		fmt.Println("cluster failed", err)
		return
	}
	fmt.Println("cluster", c.URL, c.Dir)
	time.Sleep(time.Minute)
	_ = c.Stop()
}

func TestAKilledProcessLeavesNothing(t *testing.T) {
	if _, err := cluster.Binaries(); err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(self, "-test.run=^TestHelper$")
	child.Env = append(os.Environ(), helperEnv+"=1")
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() { _ = child.Process.Kill() }()

	var address, dir string
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "cluster" {
			address, dir = words[1], words[2]
		}
	}
	require.NotEmpty(t, dir, "the helper said nothing")
	pid := serverPID(t, dir)
	require.NoError(t, syscall.Kill(pid, 0))

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	requireGone(t, pid, address, dir)
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho " + name + " is out of order >&2\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	for _, dir := range []string{bin, filepath.Dir(bin)} { // both made by TempDir
		require.NoError(t, os.Chmod(dir, 0o755)) // the server's user must get there
	}
	t.Setenv(cluster.BinDirEnv, bin)
	_, err := cluster.Start(t.Context())
	require.ErrorContains(t, err, "initdb is out of order")
	require.NotErrorIs(t, err, cluster.ErrNoServer)
}

func TestWithoutBinariesThereIsNoServer(t *testing.T) {
	t.Setenv(cluster.BinDirEnv, t.TempDir())
	_, err := cluster.Start(t.Context())
	require.ErrorIs(t, err, cluster.ErrNoServer)
}

func TestAServerComesBackAsItWas(t *testing.T) {
	c := start(t)
	defer func() { require.NoError(t, c.Stop()) }()
	for _, how := range []cluster.Halt{cluster.Fast, cluster.Immediate} {
		before := serverPID(t, c.Dir)
		require.NoError(t, c.Down(t.Context(), how))
		require.ErrorIs(t, syscall.Kill(before, 0), syscall.ESRCH)
		require.NoError(t, c.Up(t.Context()))
		require.NotEqual(t, before, serverPID(t, c.Dir))
		u, err := url.Parse(c.URL)
		require.NoError(t, err)
		conn, err := net.Dial("tcp", u.Host)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

func TestAStoppedServerLeavesNothingEither(t *testing.T) {
	c := start(t)
	pid := serverPID(t, c.Dir)
	require.NoError(t, c.Down(t.Context(), cluster.Immediate))
	require.NoError(t, c.Stop())
	requireGone(t, pid, c.URL, c.Dir)
}
