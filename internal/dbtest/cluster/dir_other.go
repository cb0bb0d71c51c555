//go:build !unix

package cluster

import (
	"fmt"
	"runtime"
	"syscall"
)

// createDir fails: the watchdog is a shell script. On such a machine, tests use
// the server of TEST_DATABASE_URL.
func createDir() (string, *syscall.SysProcAttr, error) {
	return "", nil, fmt.Errorf("%w that can be started on %s", ErrNoServer, runtime.GOOS)
}

func chown(*syscall.SysProcAttr, string, ...string) error { return nil }
