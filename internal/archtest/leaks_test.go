package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each package with tests checks for leaked goroutines and connections.
func TestPackagesCheckForLeaks(t *testing.T) {
	checks := map[string]bool{}
	for _, f := range goSources(t) {
		if !f.isTest() || isBelow(f.name, "test/benchmarks") {
			continue
		}
		main := strings.Contains(f.text, "\nfunc TestMain(") && (strings.Contains(f.text, "leaktest.") || f.folder == "internal/leaktest")
		checks[f.folder] = checks[f.folder] || main
	}
	require.NotEmpty(t, checks)
	for folder, has := range checks {
		if !has {
			t.Errorf("%s has tests, but no TestMain that calls leaktest.Main", folder)
		}
	}
}

// A timer has no goroutine, so leaktest cannot detect a timer that is left. The
// library may only create timers in functions that defer their Stop.
func TestTimersAreStopped(t *testing.T) {
	timers := 0
	for _, f := range goSources(t) {
		if unit, layer := layerOf(f.folder); f.isTest() || layer < 0 || unit == "examples" {
			continue
		}
		_, parsed := parseFile(t, f)
		for _, decl := range parsed.Decls {
			created, stopped := countTimers(decl)
			timers += created
			if created > stopped {
				t.Errorf("%s creates a timer without a deferred Stop", f.name)
			}
		}
	}
	require.NotZero(t, timers, "package internal/timing creates one")
}

// countTimers counts the timers that code creates, and its deferred calls of
// Stop.
func countTimers(code ast.Node) (created, stopped int) {
	ast.Inspect(code, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt:
			if call, ok := n.Call.Fun.(*ast.SelectorExpr); ok && call.Sel.Name == "Stop" {
				stopped++
			}
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" {
				switch n.Sel.Name {
				case "After", "AfterFunc", "NewTicker", "NewTimer", "Tick":
					created++
				}
			}
		}
		return true
	})
	return created, stopped
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
		created, stopped := countTimers(parsed)
		require.Equal(t, want, [2]int{created, stopped}, body)
	}
}
