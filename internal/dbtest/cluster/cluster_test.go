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

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

// childEnv, set to 1, enables TestChild.
const childEnv = "HOURBELL_CLUSTER_CHILD"

// requireBinaries skips the test without server binaries. These tests ignore
// TEST_DATABASE_URL, because they start servers of their own.
func requireBinaries(t *testing.T) {
	t.Helper()
	if _, err := cluster.Binaries(); err != nil {
		dbtest.Announce("TESTS OF THE TEST SERVER SKIPPED: " + err.Error() + "; 'make test' installs them and runs all tests")
		t.Skip(err)
	}
}

func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	requireBinaries(t)
	c, err := cluster.Start(t.Context())
	if errors.Is(err, cluster.ErrNoServer) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return c
}

// serverPID returns the server's process id from its pid file.
func serverPID(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return pid
}

// requireGone waits until the process has ended, the port is closed and the
// directory is removed.
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

func TestStopRemovesServer(t *testing.T) {
	c := start(t)
	pid := serverPID(t, c.Dir)
	require.NoError(t, syscall.Kill(pid, 0))
	require.NoError(t, c.Stop())
	requireGone(t, pid, c.URL, c.Dir)
}

// TestChild starts a cluster in a child process and waits to be killed.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) != "1" {
		t.Skip("run by TestKilledProcessRemovesServer in a child process")
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

func TestKilledProcessRemovesServer(t *testing.T) {
	requireBinaries(t)
	binary, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(binary, "-test.run=^TestChild$")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() { _ = child.Process.Kill() }()

	var address, dir string
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "cluster" {
			address, dir = fields[1], fields[2]
		}
	}
	require.NotEmpty(t, dir, "the child did not print its cluster")
	pid := serverPID(t, dir)
	require.NoError(t, syscall.Kill(pid, 0))

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	requireGone(t, pid, address, dir)
}

func TestFailedStartReportsLog(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho " + name + " is broken >&2\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	for _, dir := range []string{bin, filepath.Dir(bin)} { // TempDir creates both
		require.NoError(t, os.Chmod(dir, 0o755)) // for the server's user
	}
	t.Setenv(cluster.BinDirEnv, bin)
	_, err := cluster.Start(t.Context())
	require.ErrorContains(t, err, "initdb is broken")
	require.NotErrorIs(t, err, cluster.ErrNoServer)
}

func TestStartFailsWithoutBinaries(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(cluster.BinDirEnv, dir)
	_, err := cluster.Start(t.Context())
	require.ErrorIs(t, err, cluster.ErrNoServer)
	require.ErrorContains(t, err, "in "+cluster.BinDirEnv+"="+dir)
}

func TestRestartKeepsAddress(t *testing.T) {
	c := start(t)
	defer func() { require.NoError(t, c.Stop()) }()
	for _, mode := range []cluster.ShutdownMode{cluster.Fast, cluster.Immediate} {
		before := serverPID(t, c.Dir)
		require.NoError(t, c.Shutdown(t.Context(), mode))
		require.ErrorIs(t, syscall.Kill(before, 0), syscall.ESRCH)
		require.NoError(t, c.Restart(t.Context()))
		require.NotEqual(t, before, serverPID(t, c.Dir))
		u, err := url.Parse(c.URL)
		require.NoError(t, err)
		conn, err := net.Dial("tcp", u.Host)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}

func TestStopRemovesServerAfterShutdown(t *testing.T) {
	c := start(t)
	pid := serverPID(t, c.Dir)
	require.NoError(t, c.Shutdown(t.Context(), cluster.Immediate))
	require.NoError(t, c.Stop())
	requireGone(t, pid, c.URL, c.Dir)
}
