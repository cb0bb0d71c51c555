//go:build !unix

package cluster

import (
	"fmt"
	"runtime"
	"syscall"
)

// home refuses: the watchdog is a shell script. Tests on such a machine
// bring their server in TEST_DATABASE_URL.
func home() (string, *syscall.SysProcAttr, error) {
	return "", nil, fmt.Errorf("%w that could be started on %s", ErrNoServer, runtime.GOOS)
}

func own(*syscall.SysProcAttr, string, ...string) error { return nil }
