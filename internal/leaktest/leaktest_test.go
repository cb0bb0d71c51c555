package leaktest

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/glebarez/sqlite" // registers the driver
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
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, err)
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
