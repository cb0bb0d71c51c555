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

// leakEnv makes the tests of this binary, run again, leave something behind.
const leakEnv = "HOURBELL_LEAKTEST_LEAK"

func TestMain(m *testing.M) {
	if os.Getenv(leakEnv) == "1" {
		settling = 100 * time.Millisecond // it waits in vain
	}
	Main(m)
}

// Tests that leave a goroutine behind fail, with its stack; others pass.
func TestALeftGoroutineFailsTheTests(t *testing.T) {
	if os.Getenv(leakEnv) == "1" {
		go func() { select {} }()
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	again := exec.CommandContext(t.Context(), self, "-test.run=^TestALeftGoroutineFailsTheTests$")
	again.Env = append(os.Environ(), leakEnv+"=1")
	out, err := again.CombinedOutput()
	require.Error(t, err, string(out))
	require.Contains(t, string(out), "FAIL: the tests have left 1 goroutines behind")
	require.Contains(t, string(out), "TestALeftGoroutineFailsTheTests")
}

// What is about to end is waited for; what does not end is named; what is let pass is not.
func TestLeftWaitsForWhatIsAboutToEnd(t *testing.T) {
	release := make(chan struct{})
	go func() { <-release }()
	require.Len(t, Left(10*time.Millisecond), 1)
	require.Empty(t, Left(10*time.Millisecond, "leaktest.TestLeftWaits"))
	close(release)
	require.Empty(t, Left(settling))
}

// A pool is told to be open by its goroutine, a transaction by its own, a server too.
func TestLeftSeesWhatIsNotClosed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, err)
	sees(t, "connectionOpener")
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	sees(t, "(*Tx).awaitDone")
	require.NoError(t, tx.Rollback())
	require.NoError(t, db.Close())
	server := httptest.NewServer(http.NotFoundHandler())
	sees(t, "goServe")
	server.Close()
	require.Empty(t, Left(settling))
}

// sees waits until a part of a stack is seen: a goroutine that has only just been made is not yet where it will be.
func sees(t *testing.T, part string) {
	t.Helper()
	for deadline := time.Now().Add(settling); ; time.Sleep(time.Millisecond) {
		left := strings.Join(Left(0), "\n\n")
		if strings.Contains(left, part) {
			return
		}
		require.True(t, time.Now().Before(deadline), "%s is not in:\n%s", part, left)
	}
}
