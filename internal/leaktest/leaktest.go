// Package leaktest fails a package's tests where they leave something of ours running: a goroutine that is in code of this
// module or was started by it, or a pool of connections that nobody has closed.
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// A pool counts by its goroutine, which opens connections and lives until the pool is closed. Timers are no goroutines:
// a test of archtest sees that the library makes none that it does not stop.
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

// settling is how long goroutines that were told to end may take for it, on a machine that is busy with other tests.
var settling = 30 * time.Second

// ours is what the stack of a goroutine says that is to be gone when the tests are.
var ours = []string{
	"github.com/hourbell/hourbell",        // in our code, or "created by" it
	"database/sql.(*DB).connectionOpener", // of a pool that was not closed
	"database/sql.(*Tx).awaitDone",        // of a transaction that was not ended
	"net/http/httptest.(*Server).goServe", // of a server that was not closed
}

// tests are goroutines of the tests themselves, of which those wait that run others.
var tests = []string{"testing.tRunner(", "testing.(*M).Run("}

// Main is a TestMain. Closers close what the tests share, before it looks.
func Main(m *testing.M, closers ...func()) { os.Exit(Run(m, closers...)) }

// Run runs the tests and looks for what they have left behind, for a TestMain that has more to do. It returns the exit code.
// Tests that have failed are not looked into: what broke off has left something behind.
func Run(m *testing.M, closers ...func()) int {
	code := m.Run()
	for _, closeIt := range closers {
		closeIt()
	}
	if code != 0 {
		return code
	}
	if left := Left(settling); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: the tests have left %d goroutines behind:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		return 1
	}
	return 0
}

// Left are the stacks of goroutines of ours that are still there after patience, those of tests excepted. It returns as
// soon as there are none. Parts of a stack name more that is let pass.
func Left(patience time.Duration, pass ...string) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := found(stacks(), append(pass, tests...))
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// stacks are those of all goroutines but the caller's, which comes first.
func stacks() []string {
	buffer := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buffer, true); n < len(buffer) {
			return strings.Split(string(buffer[:n]), "\n\n")[1:]
		}
		buffer = make([]byte, 2*len(buffer))
	}
}

// found are the stacks that say something of ours, and nothing of what is let pass.
func found(stacks, pass []string) []string {
	says := func(stack string) func(string) bool {
		return func(part string) bool { return strings.Contains(stack, part) }
	}
	return slices.DeleteFunc(slices.Clone(stacks), func(stack string) bool {
		return !slices.ContainsFunc(ours, says(stack)) || slices.ContainsFunc(pass, says(stack))
	})
}
