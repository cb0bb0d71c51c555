package docs_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// snippetHeader declares what the Go code in the documents uses and does not
// define.
const snippetHeader = `package snippets

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/store"
)

type user struct {
	Name  string
	Admin bool
}

type queue struct{}

var (
	currentUser func(r *http.Request) user
	authorize   func(r *http.Request, action admin.Action) (string, error)
	execute     func(ctx context.Context, run hourbell.JobRun) error
	mux         *http.ServeMux
	serve       func(ctx context.Context) error
	requestID   string
	revision    string
	builtAt     time.Time
)

func (queue) insert(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error { return nil }
`

// imports matches an import declaration at the beginning of a snippet.
var imports = regexp.MustCompile(`(?s)^import \(\n.*?\n\)\n`)

// Every Go snippet of README.md and operations.md compiles.
func TestGoSnippetsCompile(t *testing.T) {
	files := token.NewFileSet()
	config := types.Config{Importer: importer.ForCompiler(files, "gc", openExportData(t))}
	for _, document := range []string{"README.md", "docs/operations.md"} {
		for i, snippet := range codeBlocks(t, document, "go") {
			name := fmt.Sprintf("%s, Go block %d", document, i+1)
			code := imports.ReplaceAllString(snippet.code, "")
			if !strings.HasPrefix(code, "func ") {
				code = "func _(ctx context.Context, db *gorm.DB, scheduler *hourbell.Scheduler) error {\n" + code + "\nreturn nil\n}\n"
			}
			parsed, err := parser.ParseFile(files, name, snippetHeader+code, 0)
			require.NoError(t, err, name)
			config.Error = func(err error) {
				var problem types.Error
				if !errors.As(err, &problem) || !problem.Soft { // unused variables and imports are soft errors
					t.Errorf("%s: %v", name, err)
				}
			}
			_, _ = config.Check("snippets", files, []*ast.File{parsed}, nil)
		}
	}
}

// openExportData compiles the packages that snippets import, and returns a
// function that opens their export data.
func openExportData(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}",
		"github.com/hourbell/hourbell/admin", "github.com/hourbell/hourbell/store", "net/http")
	list.Dir = filepath.Join(root, "test")
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	require.NoError(t, err, stderr.String())
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
}
