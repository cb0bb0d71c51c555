package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCommentsWrap(t *testing.T) {
	var findings []string
	for _, f := range sources(t) {
		if strings.Contains("/"+f.name, "/testdata/") {
			continue
		}
		var marker string
		switch {
		case path.Ext(f.name) == ".go":
			marker = "//"
		case path.Ext(f.name) == ".sql":
			marker = "--"
		case slices.Contains([]string{".sh", ".yaml", ".yml"}, path.Ext(f.name)), f.name == "Makefile", f.name == ".ci/run":
			marker = "#"
		default:
			continue
		}
		exempt := map[int]bool{}
		if marker == "//" {
			exempt = exemptLines(t, f)
		}
		n := 0
		for line := range strings.Lines(f.text) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if width := columns(line); !exempt[n] && width > maxCommentWidth && canWrap(line, marker) {
				findings = append(findings, fmt.Sprintf("%s:%d: %d columns", f.name, n, width))
			}
		}
	}
	report(t, fmt.Sprintf("comment of more than %d columns", maxCommentWidth), findings)
}

// columns returns the width of a line.
func columns(line string) int {
	return utf8.RuneCountInString(strings.ReplaceAll(line, "\t", strings.Repeat(" ", tabWidth)))
}

// directive matches comments for the compiler, linters and the shell.
var directive = regexp.MustCompile(`^(//(go:|nolint|lint:|line )|#!)`)

// canWrap reports whether a line is a comment that can be broken so that it is
// shorter: it has a space after its first word. Code, directives, and code
// blocks within comments cannot.
func canWrap(line, marker string) bool {
	line = strings.TrimLeft(line, " \t")
	text, isComment := strings.CutPrefix(line, marker)
	if !isComment || directive.MatchString(line) || strings.HasPrefix(text, "\t") {
		return false
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "- ")
	return strings.Contains(text, " ")
}

// exemptLines returns the lines of a Go file that are not comments but look
// like them, which are those of raw strings, and the expected output of
// examples.
func exemptLines(t *testing.T, f sourceFile) map[int]bool {
	t.Helper()
	fset, parsed := parseFile(t, f)
	lines := map[int]bool{}
	exempt := func(node ast.Node) {
		for n := fset.Position(node.Pos()).Line; n <= fset.Position(node.End()).Line; n++ {
			lines[n] = true
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(literal.Value, "`") {
			exempt(literal)
		}
		return true
	})
	for _, group := range parsed.Comments {
		if text := strings.ToLower(group.Text()); strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:") {
			exempt(group)
		}
	}
	return lines
}

func TestCanWrap(t *testing.T) {
	for _, line := range []string{"// two words", "\t\t// two words", "// - two words"} {
		require.True(t, canWrap(line, "//"), line)
	}
	for _, line := range []string{"x := 1 // two words", "//go:build a && b", "//nolint:all // why", "//\tx := code()", "// https://example.com", "// - word"} {
		require.False(t, canWrap(line, "//"), line)
	}
	require.True(t, canWrap("# two words", "#"))
	require.False(t, canWrap("#!/usr/bin/env bash", "#"))
	require.True(t, canWrap("-- two words", "--"))
	require.Equal(t, 7, columns("\t//…"))
}
