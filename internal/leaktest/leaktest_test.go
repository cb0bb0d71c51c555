package leaktest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// leakEnv is set to 1 in a child process that leaks a goroutine.
const leakEnv = "HOURBELL_LEAKTEST_LEAK"

func TestMain(m *testing.M) {
	if os.Getenv(leakEnv) == "1" {
		exitTimeout = 100 * time.Millisecond // the goroutine never ends
	}
	Main(m)
}

func TestLeakedGoroutineFailsTests(t *testing.T) {
	if os.Getenv(leakEnv) == "1" {
		go func() { select {} }()
		return
	}
	executable, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), executable, "-test.run=^TestLeakedGoroutineFailsTests$")
	child.Env = append(os.Environ(), leakEnv+"=1")
	out, err := child.CombinedOutput()
	require.Error(t, err, string(out))
	require.Contains(t, string(out), "FAIL: the tests leaked 1 goroutines")
	require.Contains(t, string(out), "TestLeakedGoroutineFailsTests")
}

// Find waits for a goroutine that ends, reports one that does not, and ignores
// one on request.
func TestFindWaitsForEndingGoroutines(t *testing.T) {
	release := make(chan struct{})
	go func() { <-release }()
	require.Len(t, Find(10*time.Millisecond), 1)
	require.Empty(t, Find(10*time.Millisecond, "leaktest.TestFindWaits"))
	close(release)
	require.Empty(t, Find(exitTimeout))
}

func TestFindDetectsOpenResources(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db := sql.OpenDB(stubConnector{})
	requireLeak(t, "connectionOpener")
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	requireLeak(t, "(*Tx).awaitDone")
	require.NoError(t, tx.Rollback())
	require.NoError(t, db.Close())
	server := httptest.NewServer(http.NotFoundHandler())
	requireLeak(t, "goServe")
	server.Close()
	require.Empty(t, Find(exitTimeout))
}

// requireLeak waits until Find returns a stack that contains a part. A new
// goroutine may not have reached the function yet.
func requireLeak(t *testing.T, part string) {
	t.Helper()
	for deadline := time.Now().Add(exitTimeout); ; time.Sleep(time.Millisecond) {
		leaks := strings.Join(Find(0), "\n\n")
		if strings.Contains(leaks, part) {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s is not in:\n%s", part, leaks)
	}
}

// stubConnector connects to no database. The core module has no driver of an
// embedded database.
type stubConnector struct{}

func (stubConnector) Driver() driver.Driver                        { return nil }
func (stubConnector) Connect(context.Context) (driver.Conn, error) { return stubConn{}, nil }

// stubConn only begins and ends transactions.
type stubConn struct{}

func (stubConn) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }
func (stubConn) Close() error                        { return nil }
func (c stubConn) Begin() (driver.Tx, error)         { return c, nil }
func (stubConn) Commit() error                       { return nil }
func (stubConn) Rollback() error                     { return nil }
