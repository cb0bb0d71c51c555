package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExportedNamesAreLimited(t *testing.T) {
	var names []string
	for _, f := range goSources(t) {
		if f.folder == "." && !f.isTest() {
			_, parsed := parseFile(t, f)
			names = append(names, exportedNames(parsed)...)
		}
	}
	slices.Sort(names)
	require.NotEmpty(t, names)
	if len(names) > maxExportedNames {
		t.Errorf("package hourbell exports %d names, and the limit is %d: %s", len(names), maxExportedNames, strings.Join(names, " "))
	}
}

// exportedNames returns the exported types, functions, variables and methods of
// exported types.
func exportedNames(file *ast.File) (names []string) {
	add := func(name string) {
		if !slices.ContainsFunc(strings.Split(name, "."), func(part string) bool { return !ast.IsExported(part) }) {
			names = append(names, name)
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name.Name)
			} else {
				add(receiver(decl.Recv.List[0].Type) + "." + decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if decl.Tok == token.VAR {
							add(name.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// receiver returns the name of a receiver's type.
func receiver(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return receiver(expr.X)
	case *ast.IndexExpr:
		return receiver(expr.X)
	case *ast.Ident:
		return expr.Name
	}
	return "?"
}

func TestExportedNames(t *testing.T) {
	_, parsed := parseFile(t, sourceFile{text: `package p
const C = 1
var V, v = 1, 2
type T struct{ Field int }
type I interface{ Method() }
type a = T
func F() {}
func f() {}
func (*T) M() {}
func (T) m() {}
func (a) N() {}
`})
	require.Equal(t, []string{"V", "T", "I", "F", "T.M"}, exportedNames(parsed))
}

func TestRootEntriesAreLimited(t *testing.T) {
	ignored, err := ignorePatterns()
	require.NoError(t, err)
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !isIgnored(ignored, name) {
			names = append(names, name)
		}
	}
	if len(names) > maxRootEntries {
		t.Errorf("the root has %d entries, and the limit is %d: %s", len(names), maxRootEntries, strings.Join(names, " "))
	}
}

func TestTestNamesAreShort(t *testing.T) {
	var long, withArticle []string
	for _, f := range goSources(t) {
		if !f.isTest() {
			continue
		}
		fset, parsed := parseFile(t, f)
		for _, name := range testFuncs(parsed) {
			position := fset.Position(name.Pos())
			if len(name.Name) > maxTestName {
				long = append(long, fmt.Sprintf("%s: %s (%d)", position, name.Name, len(name.Name)))
			}
			if slices.ContainsFunc(words(name.Name), func(word string) bool { return slices.Contains(articles, word) }) {
				withArticle = append(withArticle, fmt.Sprintf("%s: %s", position, name.Name))
			}
		}
	}
	report(t, fmt.Sprintf("test name of more than %d characters", maxTestName), long)
	report(t, "test name with an article", withArticle)
}

// testFuncs returns the names of the tests, fuzz tests and benchmarks of file.
func testFuncs(file *ast.File) (names []*ast.Ident) {
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && testPrefix.MatchString(fn.Name.Name) {
			names = append(names, fn.Name)
		}
	}
	return names
}

var testPrefix = regexp.MustCompile(`^(Test|Fuzz|Benchmark)([^a-z]|$)`)
