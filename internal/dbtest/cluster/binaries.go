package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BinDirEnv names the one directory to take the server's binaries from, to
// test with a certain version of Postgres.
const BinDirEnv = "HOURBELL_TEST_POSTGRES_BIN"

// ErrNoServer says that this machine has no Postgres server to start.
var ErrNoServer = errors.New("no local server binaries")

// usual is where packagers put the binaries. Most put them outside PATH,
// since several versions may live side by side.
var usual = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/libexec/postgresql*",           // Alpine
	"/usr/pgsql-*/bin",                   // the project's own RPMs
	"/opt/homebrew/opt/postgresql*/bin",  // Homebrew on ARM
	"/usr/local/opt/postgresql*/bin",     // Homebrew on Intel
	"/Applications/Postgres.app/*/*/bin", // Postgres.app
}

// Binaries returns the directory that holds initdb and postgres.
func Binaries() (string, error) {
	if dir := os.Getenv(BinDirEnv); dir != "" {
		if complete(dir) {
			return dir, nil
		}
		return "", fmt.Errorf("%w in %s=%s", ErrNoServer, BinDirEnv, dir)
	}
	for _, dir := range candidates() {
		if complete(dir) {
			return dir, nil
		}
	}
	return "", ErrNoServer
}

func candidates() []string {
	var dirs []string
	// pg_config may come with the client's headers alone, hence complete.
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// Through the link: the binaries find their share by their own path.
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range usual {
		found, _ := filepath.Glob(pattern)
		for i := len(found) - 1; i >= 0; i-- { // the newest last, so backwards
			dirs = append(dirs, found[i])
		}
	}
	return dirs
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}
