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

// childEnv, set to 1, enables TestChild.
const childEnv = "HOURBELL_DBTEST_CHILD"

// TestChild is the test that the other tests run in a child process.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) != "1" {
		t.Skip("run by other tests in a child process")
	}
	t.Run("first", func(t *testing.T) { dbtest.Postgres(t) })
	t.Run("second", func(t *testing.T) { dbtest.Postgres(t) })
}

// environWithoutPostgres returns the environment of a machine without a server,
// for a child process.
func environWithoutPostgres(t *testing.T, extra ...string) []string {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, dbtest.URLEnv+"=") || strings.HasPrefix(v, dbtest.RequireEnv+"=")
	})
	return append(env, append(extra, cluster.BinDirEnv+"="+t.TempDir(), childEnv+"=1")...)
}

// runChild runs TestChild in a child process and returns its output.
func runChild(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary, append([]string{"-test.run=^TestChild$"}, args...)...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const announcement = "dbtest: TESTS ON POSTGRES SKIPPED: no TEST_DATABASE_URL and no local server binaries; " +
	"'make test' installs them and runs all tests\n"

func TestMissingServerSkipsAndAnnouncesOnce(t *testing.T) {
	out, err := runChild(t, environWithoutPostgres(t), "-test.v")
	require.NoError(t, err, out)
	require.Equal(t, 1, strings.Count(out, announcement), out)
	for _, name := range []string{"first", "second"} {
		require.Contains(t, out, "--- SKIP: TestChild/"+name)
	}
}

func TestMissingServerFailsIfRequired(t *testing.T) {
	out, err := runChild(t, environWithoutPostgres(t, dbtest.RequireEnv+"=1"))
	require.Error(t, err)
	require.Contains(t, out, "make setup")
	require.NotContains(t, out, "SKIP")
}

func TestInvalidURLFailsWithoutPassword(t *testing.T) {
	for _, address := range []string{"host=localhost password=secret", "postgres://u:secret@127.0.0.1:1/postgres"} {
		out, err := runChild(t, append(environWithoutPostgres(t), dbtest.URLEnv+"="+address))
		require.Error(t, err)
		require.Contains(t, out, dbtest.URLEnv)
		require.NotContains(t, out, "secret")
	}
}

// TestAnnouncementIsShownAndNotCached runs the go command, which hides the
// output of packages that pass and caches their results.
func TestAnnouncementIsShownAndNotCached(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd/2"); err != nil {
		t.Skip("without /proc the line goes to the terminal, and tests have none")
	}
	env := environWithoutPostgres(t)
	for range 2 {
		cmd := exec.Command("go", "test", "-run=^TestChild$", "./internal/dbtest")
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, 1, strings.Count(string(out), announcement), string(out))
		require.NotContains(t, string(out), "(cached)")
	}
}
