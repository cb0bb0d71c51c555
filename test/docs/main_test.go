// Package docs_test checks the documentation: it runs the queries, compiles the
// Go code, and follows the links.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

// root is the folder of the repository.
const root = "../.."

// TestMain fails if the tests leave a goroutine, pool or transaction behind.
func TestMain(m *testing.M) { leaktest.Main(m) }

// documents returns the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"docs/*.md", "*.md", ".github/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.Greater(t, len(files), 6)
	return files
}

// block is a fenced code block of a document.
type block struct{ info, code string }

// codeBlocks returns the code blocks of a document in one language. Their info
// is the text after the language.
func codeBlocks(t *testing.T, file, language string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?ms)^```"+language+" ?([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, block{match[1], match[2]})
	}
	require.NotEmpty(t, blocks)
	return blocks
}
