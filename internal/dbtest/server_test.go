package dbtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

// helperEnv makes TestHelper do something; else it is nobody's test.
const helperEnv = "HOURBELL_DBTEST_HELPER"

// TestHelper is what the tests below run in a process of its own.
func TestHelper(t *testing.T) {
	if os.Getenv(helperEnv) != "1" {
		t.Skip("run by other tests")
	}
	t.Run("one", func(t *testing.T) { dbtest.Postgres(t) })
	t.Run("two", func(t *testing.T) { dbtest.Postgres(t) })
}

// withoutPostgres is the environment of a machine that has no server, plus
// what is given.
func withoutPostgres(t *testing.T, extra ...string) []string {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, dbtest.URLEnv+"=") || strings.HasPrefix(v, dbtest.RequireEnv+"=")
	})
	return append(env, append(extra, cluster.BinDirEnv+"="+t.TempDir(), helperEnv+"=1")...)
}

func helper(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, append([]string{"-test.run=^TestHelper$"}, args...)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const loud = "hourbell tests: POSTGRES HALF SKIPPED: no TEST_DATABASE_URL and no local server binaries; " +
	"'make test' installs them and runs everything\n"

func TestWithoutAServerTestsAreSkippedLoudlyAndOnce(t *testing.T) {
	out, err := helper(t, withoutPostgres(t), "-test.v")
	require.NoError(t, err, out)
	require.Equal(t, 1, strings.Count(out, loud), out)
	for _, name := range []string{"one", "two"} {
		require.Contains(t, out, "--- SKIP: TestHelper/"+name)
	}
}

func TestWithoutAServerTestsFailWhereItIsRequired(t *testing.T) {
	out, err := helper(t, withoutPostgres(t, dbtest.RequireEnv+"=1"))
	require.Error(t, err)
	require.Contains(t, out, "make setup")
	require.NotContains(t, out, "SKIP")
}

func TestAWrongURLFailsAndIsNotRepeated(t *testing.T) {
	for _, address := range []string{"host=localhost password=secret", "postgres://u:secret@127.0.0.1:1/postgres"} {
		out, err := helper(t, append(withoutPostgres(t), dbtest.URLEnv+"="+address))
		require.Error(t, err)
		require.Contains(t, out, dbtest.URLEnv)
		require.NotContains(t, out, "secret")
	}
}

// TestASkippedHalfIsSeenAndNotRemembered runs the go command as people do: it
// hides what a passing package prints, and caches that it passed.
func TestASkippedHalfIsSeenAndNotRemembered(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd/2"); err != nil {
		t.Skip("without /proc the line goes to the terminal, and a test has none")
	}
	env := withoutPostgres(t)
	for range 2 {
		cmd := exec.Command("go", "test", "-run=^TestHelper$", "./internal/dbtest")
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, 1, strings.Count(string(out), loud), string(out))
		require.NotContains(t, string(out), "(cached)")
	}
}
