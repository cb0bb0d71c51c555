package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BinDirEnv is the variable that names the directory of the server binaries. It
// selects one version of Postgres.
const BinDirEnv = "HOURBELL_TEST_POSTGRES_BIN"

// ErrNoServer means that this machine has no Postgres server binaries.
var ErrNoServer = errors.New("no local server binaries")

// packageDirs are the directories into which packages install the binaries.
// Most are outside PATH, because several versions may be installed.
var packageDirs = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/libexec/postgresql*",           // Alpine
	"/usr/pgsql-*/bin",                   // RPMs of the Postgres project
	"/opt/homebrew/opt/postgresql*/bin",  // Homebrew on ARM
	"/usr/local/opt/postgresql*/bin",     // Homebrew on Intel
	"/Applications/Postgres.app/*/*/bin", // Postgres.app
}

// Binaries returns the directory that contains initdb and postgres.
func Binaries() (string, error) {
	if dir := os.Getenv(BinDirEnv); dir != "" {
		if hasBinaries(dir) {
			return dir, nil
		}
		return "", fmt.Errorf("%w in %s=%s", ErrNoServer, BinDirEnv, dir)
	}
	for _, dir := range candidates() {
		if hasBinaries(dir) {
			return dir, nil
		}
	}
	return "", ErrNoServer
}

// candidates returns directories that may contain the binaries, best first.
func candidates() []string {
	var dirs []string
	// pg_config may belong to a client package, without the server.
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// The binaries find their data files relative to their real path.
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range packageDirs {
		found, _ := filepath.Glob(pattern)
		for i := len(found) - 1; i >= 0; i-- { // the newest version is last
			dirs = append(dirs, found[i])
		}
	}
	return dirs
}

// hasBinaries reports whether dir contains initdb and postgres.
func hasBinaries(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}
