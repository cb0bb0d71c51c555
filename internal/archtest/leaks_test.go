package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every package that has tests looks for what they have left running: a new one cannot forget it.
func TestEveryPackageLooksForLeaks(t *testing.T) {
	looks := map[string]bool{}
	walk(t, func(file string, _ bool) {
		if !strings.HasSuffix(file, "_test.go") || below(file, "benchmarks") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		folder := filepath.Dir(file)
		main := strings.Contains(string(text), "\nfunc TestMain(") && (strings.Contains(string(text), "leaktest.") || folder == "internal/leaktest")
		looks[folder] = looks[folder] || main
	})
	require.NotEmpty(t, looks)
	for folder, does := range looks {
		if !does {
			t.Errorf("%s has tests, and no TestMain that calls leaktest.Main", folder)
		}
	}
}

// A timer is no goroutine, so that no test sees one that is left. The library has none but those that its own waits stop.
func TestTheLibraryLeavesNoTimer(t *testing.T) {
	timers := 0
	for file, folder := range goFiles(t) {
		if below(folder, "examples") || below(folder, "internal") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, 0)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			made, stopped := timersOf(declaration)
			timers += made
			if made > stopped {
				t.Errorf("%s makes a timer that it does not stop with defer: only a wait like sleep may have one", file)
			}
		}
	}
	require.NotZero(t, timers, "sleep has one, so nothing was looked at")
}

// timersOf counts the timers that code makes, and the calls of Stop that are deferred.
func timersOf(code ast.Node) (made, stopped int) {
	ast.Inspect(code, func(n ast.Node) bool {
		if later, is := n.(*ast.DeferStmt); is {
			if call, is := later.Call.Fun.(*ast.SelectorExpr); is && call.Sel.Name == "Stop" {
				stopped++
			}
		}
		if call, is := n.(*ast.SelectorExpr); is {
			if from, is := call.X.(*ast.Ident); is && from.Name == "time" {
				switch call.Sel.Name {
				case "After", "AfterFunc", "NewTicker", "NewTimer", "Tick":
					made++
				}
			}
		}
		return true
	})
	return made, stopped
}

func TestTimersOf(t *testing.T) {
	for body, want := range map[string][2]int{
		"timer := time.NewTimer(d); defer timer.Stop(); <-timer.C": {1, 1},
		"time.AfterFunc(d, f)": {1, 0},
		"select { case <-time.After(d): case <-other.After(d): }": {1, 0},
		"t := time.NewTicker(d); t.Stop()":                        {1, 0},
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+body+"\n}", 0)
		require.NoError(t, err)
		made, stopped := timersOf(parsed)
		require.Equal(t, want, [2]int{made, stopped}, body)
	}
}
