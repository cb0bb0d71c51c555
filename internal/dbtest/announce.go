package dbtest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// announceOnce limits Announce to one line per test process.
var announceOnce sync.Once

// Announce prints one line that reports skipped tests, with the name of the
// test binary. `go test ./...` hides what passing packages print and then
// caches the result. Announce therefore writes to the standard error of the go
// command, and keeps the result out of the cache. Only the first call in a
// process prints.
func Announce(line string) {
	announceOnce.Do(func() {
		preventCaching()
		line := strings.TrimSuffix(filepath.Base(os.Args[0]), ".test") + ": " + line
		_, _ = fmt.Fprintln(os.Stderr, line) // for go test -v, a single package, and failures
		if testing.Verbose() {
			return
		}
		if out := goCommandStderr(); out != nil {
			defer func() { _ = out.Close() }()
			_, _ = fmt.Fprintln(out, line)
		}
	})
}

// goCommandStderr opens the standard error of the go command where the system
// has /proc, and the terminal elsewhere. It returns nil if the standard error
// of this process already goes there, and if neither can be opened.
func goCommandStderr() *os.File {
	const mode = os.O_WRONLY | os.O_APPEND
	parent := fmt.Sprintf("/proc/%d", os.Getppid())
	if exe, err := os.Readlink(parent + "/exe"); err == nil && filepath.Base(exe) == "go" {
		if isOurStderr(parent+"/fd/1") || isOurStderr(parent+"/fd/2") {
			return nil
		}
		info, err := os.Stat(parent + "/fd/2")
		// A regular file is left out: the go command keeps its own offset in
		// it and would overwrite the line.
		if err == nil && !info.Mode().IsRegular() && !isNull(info) {
			if out, err := os.OpenFile(parent+"/fd/2", mode, 0); err == nil {
				return out
			}
		}
	}
	if isOurStderr("/dev/tty") {
		return nil
	}
	out, err := os.OpenFile("/dev/tty", mode, 0)
	if err != nil {
		return nil
	}
	return out
}

// isOurStderr reports whether path is the file that this process has as its
// standard error.
func isOurStderr(path string) bool {
	stderr, err := os.Stderr.Stat()
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && os.SameFile(stderr, info) && !isNull(info)
}

func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// preventCaching removes the log of inputs that `go test` needs to cache a
// result. The cache does not notice a server that is installed later, so it
// would repeat the result of a run without one.
func preventCaching() {
	if log := flag.Lookup("test.testlogfile"); log != nil && log.Value.String() != "" {
		_ = os.Remove(log.Value.String())
	}
}
