package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImportsFollowLayers(t *testing.T) {
	var findings []string
	for _, f := range goSources(t) {
		if f.isTest() {
			continue
		}
		_, parsed := parseFile(t, f)
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if reason := deniedImport(f.folder, path); reason != "" {
				findings = append(findings, fmt.Sprintf("%s: %s: %s", f.name, path, reason))
			}
		}
	}
	report(t, "denied import", findings)
}

func TestEveryFolderHasLayer(t *testing.T) {
	for _, f := range goSources(t) {
		_, layer := layerOf(f.folder)
		if !f.nested && !f.isTest() && layer < 0 && !matches(f.folder, helpers) {
			t.Errorf("%s is neither in layers nor in helpers", f.name)
		}
	}
}

// deniedImport returns the reason why a file in folder may not import path, or
// "".
func deniedImport(folder, path string) string {
	if path == "github.com/adhocore/gronx" && folder != "cron" {
		return "only package cron uses gronx, which computes wrong slots for zoned times"
	}
	unit, layer := layerOf(folder)
	if layer < 0 {
		return "" // a helper, or a module of tests
	}
	if unit == "examples" && isBelow(path, module+"/internal") {
		return "a host cannot import it"
	}
	switch {
	case path == module || isBelow(path, module):
		imported := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if imported == "" {
			imported = "."
		}
		importedUnit, importedLayer := layerOf(imported)
		if importedUnit == unit || importedLayer >= 0 && importedLayer < layer {
			return ""
		}
		return "it is not in a lower layer"
	case !strings.Contains(strings.Split(path, "/")[0], "."):
		if matches(path, deniedStandard[unit]) {
			return "the package is denied here"
		}
	default:
		if allowed, limited := external[unit]; limited && !matches(path, allowed) {
			return "it is not an allowed module"
		}
	}
	return ""
}

// layerOf returns the entry of layers that covers a folder, and the number of
// its layer, or -1.
func layerOf(folder string) (unit string, layer int) {
	for n, units := range layers {
		for _, unit := range units {
			if folder == unit || unit != "." && isBelow(folder, unit) {
				return unit, n
			}
		}
	}
	return "", -1
}

// matches reports whether path is one of the paths, or below one.
func matches(path string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return path == p || isBelow(path, p) })
}

func TestDeniedImport(t *testing.T) {
	for _, c := range []struct {
		folder, path string
		allowed      bool
	}{
		{".", module + "/cron", true},
		{".", module + "/internal/lookahead", true},
		{".", "gorm.io/gorm", true},
		{".", "gorm.io/gorm/clause", true},
		{".", module + "/store", false},
		{".", module + "/admin/page", false},
		{".", module + "/internal/dbtest", false},
		{".", "net/http", false},
		{".", "net/http/httptest", false},
		{".", "gorm.io/driver/postgres", false},
		{".", "github.com/adhocore/gronx", false},
		{"cron", "github.com/adhocore/gronx", true},
		{"cron", module + "/internal/zoneinfo", true},
		{"internal/zoneinfo", module + "/cron", false},
		{"cron", module, false},
		{"cron", module + "/store", false},
		{"cron", "database/sql", false},
		{"internal/storage", "encoding/json", true},
		{"internal/storage", "gorm.io/gorm", false},
		{"internal/storage", module, false},
		{"internal/timing", module + "/cron", false},
		{"internal/lookahead", module + "/cron", true},
		{"store", module, true},
		{"store", module + "/internal/storage", true},
		{"store", module + "/admin", false},
		{"store/sub", module + "/admin", false},
		{"store/sub", module + "/store", true},
		{"admin", module + "/store", false},
		{"admin", module + "/admin/page", true},
		{"admin", "net/http", true},
		{"admin", "gorm.io/gorm", false},
		{"examples/demo", module + "/store", true},
		{"examples/demo", "github.com/glebarez/sqlite", true},
		{"examples/demo", module + "/internal/dbtest", false},
		{"examples/demo", module + "/internal/timing", false},
		{"internal/dbtest", module + "/store", true},
		{"test/e2e/chaos", "github.com/adhocore/gronx", false},
	} {
		require.Equal(t, c.allowed, deniedImport(c.folder, c.path) == "", "%s imports %s", c.folder, c.path)
	}
}

func TestOnlyStoreContainsSQL(t *testing.T) {
	var findings []string
	for _, f := range goSources(t) {
		unit, layer := layerOf(f.folder)
		if f.isTest() || layer < 0 || unit == "store" || unit == "examples" {
			continue
		}
		fset, parsed := parseFile(t, f)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && isSQL(literal.Value) {
				findings = append(findings, fmt.Sprintf("%s: %s", fset.Position(literal.Pos()), literal.Value))
			}
			return true
		})
	}
	report(t, "SQL outside package store", findings)
}

// isSQL reports whether a quoted string of Go source is a SQL statement. It
// assumes that statements begin with a word in capital letters.
func isSQL(literal string) bool {
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

func TestIsSQL(t *testing.T) {
	for _, literal := range []string{`"SELECT 1"`, "`\n\tWITH due AS (`", `"UPDATE x SET y = 1"`, "`DELETE\nFROM x`"} {
		require.True(t, isSQL(literal), literal)
	}
	for _, literal := range []string{`"select a target"`, `"UPDATE"`, `"with"`, `""`, `"INSERTED 3"`} {
		require.False(t, isSQL(literal), literal)
	}
}
