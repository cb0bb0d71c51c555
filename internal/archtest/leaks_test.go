package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each package with tests has a TestMain that uses leaktest. The benchmarks do
// not: their other engines leave goroutines behind.
func TestEveryPackageTestsForLeaks(t *testing.T) {
	uses := map[string]bool{}
	for _, f := range goSources(t) {
		if f.isTest() && f.folder != "test/benchmarks" {
			callsLeaktest := strings.Contains(f.text, "leaktest.") || f.folder == "internal/leaktest"
			uses[f.folder] = uses[f.folder] || callsLeaktest && strings.Contains(f.text, "\nfunc TestMain(")
		}
	}
	require.NotEmpty(t, uses)
	for folder, used := range uses {
		if !used {
			t.Errorf("%s has tests, but no TestMain that calls leaktest.Main", folder)
		}
	}
}

// leaktest does not find timers, because a timer has no goroutine. So the
// library may use one only if it stops it with defer.
func TestLibraryLeavesNoTimer(t *testing.T) {
	timers := 0
	for _, f := range goSources(t) {
		unit, layer := layerOf(f.folder)
		if f.isTest() || layer < 0 || unit == "examples" {
			continue
		}
		_, parsed := parseFile(t, f)
		for _, decl := range parsed.Decls {
			started, stopped := countTimers(decl)
			timers += started
			if started > stopped {
				t.Errorf("%s starts a timer that it does not stop with defer: use timing.Sleep", f.name)
			}
		}
	}
	require.NotZero(t, timers, "timing.Sleep has a timer")
}

// countTimers counts the timers that code starts, and the deferred calls of
// Stop.
func countTimers(code ast.Node) (started, stopped int) {
	ast.Inspect(code, func(n ast.Node) bool {
		if deferred, ok := n.(*ast.DeferStmt); ok {
			if call, ok := deferred.Call.Fun.(*ast.SelectorExpr); ok && call.Sel.Name == "Stop" {
				stopped++
			}
		}
		if call, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := call.X.(*ast.Ident); ok && pkg.Name == "time" {
				switch call.Sel.Name {
				case "After", "AfterFunc", "NewTicker", "NewTimer", "Tick":
					started++
				}
			}
		}
		return true
	})
	return started, stopped
}

func TestCountTimers(t *testing.T) {
	for body, want := range map[string][2]int{
		"timer := time.NewTimer(d); defer timer.Stop(); <-timer.C": {1, 1},
		"time.AfterFunc(d, f)": {1, 0},
		"select { case <-time.After(d): case <-other.After(d): }": {1, 0},
		"t := time.NewTicker(d); t.Stop()":                        {1, 0},
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+body+"\n}", 0)
		require.NoError(t, err)
		started, stopped := countTimers(parsed)
		require.Equal(t, want, [2]int{started, stopped}, body)
	}
}
