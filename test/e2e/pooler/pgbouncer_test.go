// Package pooler_test runs hourbell behind a PgBouncer with transaction
// pooling.
package pooler_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// requireEnv makes a missing PgBouncer a failure if it is set to 1.
const requireEnv = "HOURBELL_REQUIRE_POOLER"

const skipped = "POOLER SKIPPED: no pgbouncer on this machine; 'make test' installs it and runs everything"

// settings configure transaction pooling with two server connections for all
// clients.
const settings = `[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
`

// guard runs a program until its own standard input is closed. That happens
// when the test ends, even if the test process is killed.
const guard = `"$@" & cat >/dev/null; kill $!; wait`

// startPooler starts a PgBouncer for the server of db, and returns the database
// as its clients see it.
func startPooler(t *testing.T, db *dbtest.DB) *dbtest.DB {
	t.Helper()
	server, err := url.Parse(db.DSN)
	require.NoError(t, err)
	binary := findPooler(t)
	port := freePort(t)
	dir, err := os.MkdirTemp("/tmp", "hourbell-pooler-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "pgbouncer.ini")
	password, _ := server.User.Password()
	text := fmt.Sprintf(settings, server.Hostname(), server.Port(), server.User.Username(), password, port)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))

	args := []string{"-c", guard, "guard", binary, "-q", file}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "nobody") // PgBouncer refuses to run as root
	}
	command := exec.Command("/bin/sh", args...)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	command.Stdout, command.Stderr = log, log
	lifeline, err := command.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = lifeline.Close()
		_ = command.Wait()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of pgbouncer:\n%s", text)
		}
	})
	server.Host = fmt.Sprintf("127.0.0.1:%d", port)
	await(t, "pgbouncer accepts connections", func() bool {
		conn, err := net.Dial("tcp", server.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return &dbtest.DB{DSN: server.String(), Dialect: db.Dialect}
}

// findPooler returns the path of pgbouncer. Without one it skips the test, or
// fails it if requireEnv is set.
func findPooler(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // Debian installs it outside the usual PATH
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.NotEqual(t, "1", os.Getenv(requireEnv), skipped)
	dbtest.Shout("hourbell tests: " + skipped)
	t.Skip(skipped)
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// await waits until a condition holds, and fails the test after 30 seconds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}
