// Package pooler_test runs hourbell behind PgBouncer, which hands out connections by transaction.
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

// requireEnv, set to 1, makes a missing PgBouncer a failure.
const requireEnv = "HOURBELL_REQUIRE_POOLER"

const skipped = "POOLER SKIPPED: no pgbouncer on this machine; 'make test' installs it and runs everything"

// settings are those of a pooler that has two connections for all its clients, and hands them out by transaction.
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

// guard runs a program until the other end of its input is closed, as it is when the test ends, however it does.
const guard = `"$@" & cat >/dev/null; kill $!; wait`

// pooled starts a PgBouncer before a database's server, and returns the database as it is reached by way of it.
func pooled(t *testing.T, db *dbtest.DB) *dbtest.DB {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/pgbouncer") // where Debian has it, outside the PATH of most
	}
	if err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), skipped)
		dbtest.Shout("hourbell tests: " + skipped)
		t.Skip(skipped)
	}
	server, err := url.Parse(db.DSN)
	require.NoError(t, err)
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
		args = append(args, "-u", "nobody") // it refuses to run as root
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
			t.Logf("pgbouncer said:\n%s", text)
		}
	})
	server.Host = fmt.Sprintf("127.0.0.1:%d", port)
	await(t, "the pooler takes connections", func() bool {
		conn, err := net.Dial("tcp", server.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return &dbtest.DB{DSN: server.String(), Dialect: db.Dialect}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// await waits until something has come about that others are at. It gives up long after it should have.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}
