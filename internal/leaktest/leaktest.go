// Package leaktest fails the tests of a package that leak goroutines or
// connections.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// A goroutine has leaked if it is still running after the tests, and executes
// code of this module or was started by it. A connection pool, a transaction
// and a test server that were not closed are detected by their goroutines.
// Timers have no goroutine: internal/archtest checks that the library stops
// them.
package leaktest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// exitTimeout is how long goroutines may take to end after the tests. It is
// long, because other tests may keep the machine busy.
var exitTimeout = 30 * time.Second

// leakMarkers are parts of the stacks of goroutines that must end.
var leakMarkers = []string{
	"github.com/hourbell/hourbell",        // code of the module, also as "created by"
	"database/sql.(*DB).connectionOpener", // an open pool
	"database/sql.(*Tx).awaitDone",        // an open transaction
	"net/http/httptest.(*Server).goServe", // an open server
}

// testMarkers are parts of the stacks of goroutines that run tests.
var testMarkers = []string{"testing.tRunner(", "testing.(*M).Run("}

// Main implements TestMain: it calls Run and exits with its result. The closers
// close what the tests share.
func Main(m *testing.M, closers ...func()) { os.Exit(Run(m, closers...)) }

// Run runs the tests, calls the closers, looks for leaked goroutines, and
// returns the exit code. If there are leaks, it prints their stacks to standard
// error and returns 1. If a test failed, Run does not look for leaks, because
// the test may have stopped before its cleanup.
func Run(m *testing.M, closers ...func()) int {
	code := m.Run()
	for _, closeShared := range closers {
		closeShared()
	}
	if code != 0 {
		return code
	}
	if leaks := Find(exitTimeout); len(leaks) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: the tests leaked %d goroutines:\n\n%s\n", len(leaks), strings.Join(leaks, "\n\n"))
		return 1
	}
	return 0
}

// Find returns the stacks of leaked goroutines. It waits up to timeout for them
// to end, and returns as soon as there are none. It ignores goroutines that run
// tests, and those whose stack contains one of the strings in ignore.
func Find(timeout time.Duration, ignore ...string) []string {
	for deadline := time.Now().Add(timeout); ; time.Sleep(5 * time.Millisecond) {
		leaks := filterLeaks(stacks(), append(ignore, testMarkers...))
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks
		}
	}
}

// stacks returns the stacks of all goroutines except the caller's.
func stacks() []string {
	buffer := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buffer, true); n < len(buffer) {
			return strings.Split(string(buffer[:n]), "\n\n")[1:] // the caller's is first
		}
		buffer = make([]byte, 2*len(buffer))
	}
}

// filterLeaks returns the stacks that contain one of leakMarkers, and none of
// the strings in ignore.
func filterLeaks(stacks, ignore []string) []string {
	containsAny := func(stack string, parts []string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(stack, part) })
	}
	return slices.DeleteFunc(slices.Clone(stacks), func(stack string) bool {
		return !containsAny(stack, leakMarkers) || containsAny(stack, ignore)
	})
}
