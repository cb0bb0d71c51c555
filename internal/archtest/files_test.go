package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/hourbell/hourbell"
)

// sourceFile is a file of the repository, of any module in it.
type sourceFile struct {
	name   string // relative to the root, with slashes
	folder string
	nested bool // of a module other than the core module
	text   string
}

// isTest reports whether the file is a Go test.
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// readSources reads the text files of the repository once.
var readSources = sync.OnceValues(func() (files []sourceFile, err error) {
	ignored, err := ignorePatterns()
	if err != nil {
		return nil, err
	}
	var modules []string // folders of nested modules
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case name == ".":
			return nil
		case entry.IsDir():
			if isIgnored(ignored, name) || name == ".git" {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
				modules = append(modules, name)
			}
			return nil
		case !entry.Type().IsRegular() || isIgnored(ignored, name) || !isText(name):
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{
			name:   name,
			folder: path.Dir(name),
			nested: slices.ContainsFunc(modules, func(dir string) bool { return isBelow(name, dir) }),
			text:   string(text),
		})
		return nil
	})
	return files, err
})

// isText reports whether a file is code or prose that the project wrote.
func isText(name string) bool {
	switch path.Base(name) {
	case "Makefile", ".gitignore", ".editorconfig":
		return true
	case "package-lock.json":
		return false // generated
	}
	if isBelow(name, "cron/testdata") {
		return false // vectors of cron
	}
	switch path.Ext(name) {
	case ".go", ".mod", ".md", ".sql", ".sh", ".html", ".css", ".js", ".json", ".yaml", ".yml", ".svg":
		return true
	}
	return name == ".ci/run"
}

// sources returns the text files of the repository.
func sources(t *testing.T) []sourceFile {
	t.Helper()
	files, err := readSources()
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// goSources returns the Go files, except test data.
func goSources(t *testing.T) []sourceFile {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(sources(t)), func(f sourceFile) bool {
		return path.Ext(f.name) != ".go" || strings.Contains("/"+f.name, "/testdata/")
	})
}

// parseFile parses a Go file with its comments.
func parseFile(t *testing.T, f sourceFile) (*token.FileSet, *ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, f.name, f.text, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return fset, parsed
}

func isBelow(name, folder string) bool { return strings.HasPrefix(name, folder+"/") }

// ignorePatterns reads the patterns of .gitignore. It supports what that file
// uses: comments, names, wildcards, and slashes at the beginning and the end.
func ignorePatterns() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(strings.TrimSpace(line), "/")
		if line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	return patterns, nil
}

func isIgnored(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		target := path.Base(name)
		if anchored, found := strings.CutPrefix(pattern, "/"); found {
			pattern, target = anchored, name
		}
		match, err := path.Match(pattern, target)
		return match && err == nil
	})
}

func TestIsIgnored(t *testing.T) {
	patterns := []string{"/.bin", "*.test", "node_modules"}
	for _, name := range []string{".bin", "a.test", "admin/b.test", "node_modules", "test/node_modules"} {
		require.True(t, isIgnored(patterns, name), name)
	}
	for _, name := range []string{"test", "x/.bin", "a.test.go"} {
		require.False(t, isIgnored(patterns, name), name)
	}
}

// report fails the test with a list of findings, shortened to maxFindings.
func report(t *testing.T, rule string, findings []string) {
	t.Helper()
	if len(findings) == 0 {
		return
	}
	shown, more := findings, ""
	if len(findings) > maxFindings {
		shown, more = findings[:maxFindings], "\n…"
	}
	t.Errorf("%d × %s\n%s%s", len(findings), rule, strings.Join(shown, "\n"), more)
}
