package archtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// promises counts the rules of each letter: D1 to D8, and so on.
var promises = []struct {
	letter string
	count  int
}{{"D", 8}, {"T", 5}, {"L", 6}, {"M", 5}, {"E", 7}, {"O", 6}}

// open are the rules that may say "not yet" in place of a test.
var open = map[string]bool{"D7": true}

// row is a line of the table that begins with a rule's id.
var row = regexp.MustCompile(`(?m)^\|[ *]*([A-Z][0-9]+)[ *]*\|.*$`)

// TestEveryPromiseHasATest reads the table of docs/guarantees.md. A rule is
// kept by a test where a test file names its id.
func TestEveryPromiseHasATest(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("docs/guarantees.md is not written yet")
	}
	require.NoError(t, err)
	rows := rowsOf(string(doc))
	tests := testTexts(t)
	for _, group := range promises {
		for n := 1; n <= group.count; n++ {
			id := fmt.Sprintf("%s%d", group.letter, n)
			line, listed := rows[id]
			switch {
			case !listed:
				t.Errorf("docs/guarantees.md has no row for %s", id)
			case open[id] && strings.Contains(line, "not yet"):
			case !regexp.MustCompile(`\b` + id + `\b`).MatchString(tests):
				t.Errorf("no test names %s: %s", id, line)
			}
			delete(rows, id)
		}
	}
	require.Empty(t, rows, "docs/guarantees.md has rows for rules that do not exist")
}

func rowsOf(doc string) map[string]string {
	rows := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(doc, -1) {
		rows[match[1]] = match[0]
	}
	return rows
}

func TestRowsOf(t *testing.T) {
	rows := rowsOf("# D9\n| rule | test |\n|---|---|\n| D1 | a | `TestA` |\n| **T2** | not yet |\n| x | D3 |\n")
	require.Equal(t, map[string]string{"D1": "| D1 | a | `TestA` |", "T2": "| **T2** | not yet |"}, rows)
}

// testTexts is the text of all test files, of nested modules too, but not of
// these, which name rules only to speak of them.
func testTexts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	walk(t, func(file string, _ bool) {
		if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "internal/archtest/") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		all.Write(text)
	})
	return all.String()
}
