// Package archtest keeps the module's shape: who may import whom, what the
// core requires, where SQL lives, and that each promise has a test.
//
// The linter's configuration says the same of imports. This says it without a
// linter, in a second, wherever the tests run.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/hourbell/hourbell"
)

// drivers are what a host chooses. The library takes the host's gorm handle.
var drivers = []string{
	"gorm.io/driver", "github.com/glebarez", "modernc.org", "github.com/mattn/go-sqlite3",
	"github.com/jackc/pgx", "github.com/lib/pq",
}

// A rule says what the packages in a folder do not import, tests excepted. A
// denied path denies what is below it too.
type rule struct {
	folder string // "." is the root package alone; others include what is below
	deny   []string
	why    string
}

// rules: imports run cron ← root ← store, admin, adapters ← examples.
var rules = []rule{
	{"cron", []string{module, "database/sql", "net/http", "gorm.io"}, "cron is pure: an expression and a zone in, slots out"},
	{".", ours("store", "admin", "adapters", "examples", "internal/dbtest"), "the root is what others build on"},
	{".", []string{"net/http"}, "the root holds no HTTP: that is admin's"},
	{".", drivers, "the host brings its driver"},
	{"store", ours("admin", "adapters", "examples", "internal/dbtest"), "store knows the root and nobody else"},
	{"store", []string{"net/http"}, "store holds no HTTP: that is admin's"},
	{"store", drivers, "the host brings its driver"},
	{"admin", ours("store", "adapters", "examples", "internal/dbtest"), "admin sees the root's Scheduler, never the tables"},
	{"admin", drivers, "the host brings its driver"},
}

func ours(folders ...string) []string {
	for i, folder := range folders {
		folders[i] = module + "/" + folder
	}
	return folders
}

// forbidden says why a file in folder may not import path, or "".
func forbidden(folder, path string) string {
	for _, r := range rules {
		if r.folder != folder && (r.folder == "." || !below(folder, r.folder)) {
			continue
		}
		for _, denied := range r.deny {
			// Folders below import one another, as in admin and admin/internal.
			own := r.folder != "." && (path == module+"/"+r.folder || below(path, module+"/"+r.folder))
			if !own && (path == denied || below(path, denied)) {
				return r.why
			}
		}
	}
	if path == "github.com/adhocore/gronx" && folder != "cron" {
		return "gronx has traps that only cron knows"
	}
	return ""
}

func below(path, parent string) bool { return strings.HasPrefix(path, parent+"/") }

func TestImportsRunOneWay(t *testing.T) {
	for file, folder := range goFiles(t) {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if why := forbidden(folder, path); why != "" {
				t.Errorf("%s imports %s: %s", file, path, why)
			}
		}
	}
}

func TestTheRulesForbidAndAllow(t *testing.T) {
	for _, c := range []struct {
		folder, path string
		ok           bool
	}{
		{".", module + "/cron", true},
		{".", "gorm.io/gorm", true},
		{".", module + "/store", false},
		{".", module + "/admin/page", false},
		{".", "net/http", false},
		{".", "net/http/httptest", false},
		{".", "gorm.io/driver/postgres", false},
		{".", "github.com/adhocore/gronx", false},
		{"cron", "github.com/adhocore/gronx", true},
		{"cron", module, false},
		{"cron", module + "/store", false},
		{"store", module, true},
		{"store", module + "/admin", false},
		{"store/sub", module + "/admin", false},
		{"store/sub", module + "/store", true},
		{"admin", module + "/store", false},
		{"admin", module + "/admin/page", true},
		{"admin", "net/http", true},
		{"examples/demo", module + "/store", true},
		{"examples/demo", "github.com/glebarez/sqlite", true},
		{"internal/dbtest", module + "/store", true},
	} {
		require.Equal(t, c.ok, forbidden(c.folder, c.path) == "", "%s imports %s", c.folder, c.path)
	}
}

func TestOnlyStoreHoldsSQL(t *testing.T) {
	for file, folder := range goFiles(t) {
		if folder != "." && folder != "cron" && folder != "admin" && !below(folder, "admin") {
			continue
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, filepath.Join(root, file), nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && looksLikeSQL(literal.Value) {
				t.Errorf("%s:%d: SQL belongs in store: %s", file, files.Position(literal.Pos()).Line, literal.Value)
			}
			return true
		})
	}
}

// looksLikeSQL takes a literal as it stands in the source, quoted. It is a
// rule of thumb: our statements begin in capital letters.
func looksLikeSQL(literal string) bool {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return false
	}
	first, _, more := strings.Cut(strings.TrimSpace(strings.ReplaceAll(text, "\n", " ")), " ")
	switch first {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return more
	}
	return false
}

func TestLooksLikeSQL(t *testing.T) {
	for _, literal := range []string{`"SELECT 1"`, "`\n\tWITH due AS (`", `"UPDATE x SET y = 1"`, "`DELETE\nFROM x`"} {
		require.True(t, looksLikeSQL(literal), literal)
	}
	for _, literal := range []string{`"select a target"`, `"UPDATE"`, `"with"`, `""`, `"INSERTED 3"`} {
		require.False(t, looksLikeSQL(literal), literal)
	}
}

// goFiles lists the files of the core module that are no tests, each with the
// folder it is in, both relative to the root.
func goFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	walk(t, func(file string, nested bool) {
		if !nested && !strings.HasSuffix(file, "_test.go") {
			files[file] = filepath.ToSlash(filepath.Dir(file))
		}
	})
	require.NotEmpty(t, files)
	return files
}

// walk visits the Go files of the tree. Those of nested modules, which have
// requirements of their own, are flagged.
func walk(t *testing.T, visit func(file string, nested bool)) {
	t.Helper()
	var modules []string // nested ones
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			// The go command leaves these out too.
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || strings.HasPrefix(entry.Name(), "_") || entry.Name() == "testdata") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && name != "." {
				modules = append(modules, filepath.ToSlash(name))
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			file := filepath.ToSlash(name)
			visit(file, slices.ContainsFunc(modules, func(dir string) bool { return below(file, dir) }))
		}
		return nil
	}))
}
