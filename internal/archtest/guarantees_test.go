package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ruleRow matches a row of a table that begins with the id of a rule.
var ruleRow = regexp.MustCompile(`(?m)^\|[ *]*([A-Z][0-9]+)[ *]*\|.*$`)

// testMention matches the name of a test in prose.
var testMention = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z0-9][A-Za-z0-9]*)`")

func readGuarantees(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	require.NoError(t, err)
	return string(text)
}

// A test file that names the id of a rule in a comment tests the rule.
func TestEveryRuleIsTested(t *testing.T) {
	rows := ruleRows(readGuarantees(t))
	tests := testTexts(t)
	for _, group := range ruleCounts {
		for n := 1; n <= group.count; n++ {
			id := fmt.Sprintf("%s%d", group.letter, n)
			row, listed := rows[id]
			switch {
			case !listed:
				t.Errorf("docs/guarantees.md has no row for %s", id)
			case !testMention.MatchString(row):
				t.Errorf("docs/guarantees.md names no test for %s", id)
			case !regexp.MustCompile(`\b` + id + `\b`).MatchString(tests):
				t.Errorf("no test has the id %s in a comment", id)
			}
			delete(rows, id)
		}
	}
	require.Empty(t, rows, "docs/guarantees.md has rows for unknown rules")
}

func TestDocumentedTestsExist(t *testing.T) {
	exists := map[string]bool{}
	for _, f := range goSources(t) {
		if f.isTest() {
			_, parsed := parseFile(t, f)
			for _, name := range testFuncs(parsed) {
				exists[name.Name] = true
			}
		}
	}
	var findings []string
	for _, f := range sources(t) {
		if filepath.Ext(f.name) != ".md" {
			continue
		}
		n := 0
		for line := range strings.Lines(f.text) {
			n++
			for _, mention := range testMention.FindAllStringSubmatch(line, -1) {
				if !exists[mention[1]] {
					findings = append(findings, fmt.Sprintf("%s:%d: %s", f.name, n, mention[1]))
				}
			}
		}
	}
	report(t, "test named in a document that does not exist", findings)
}

// ruleRows returns the rows of the tables by the id of their rule.
func ruleRows(doc string) map[string]string {
	rows := map[string]string{}
	for _, match := range ruleRow.FindAllStringSubmatch(doc, -1) {
		rows[match[1]] = match[0]
	}
	return rows
}

func TestRuleRows(t *testing.T) {
	rows := ruleRows("# D9\n| rule | test |\n|---|---|\n| D1 | a | `TestA` |\n| **T2** | b |\n| x | D3 |\n")
	require.Equal(t, map[string]string{"D1": "| D1 | a | `TestA` |", "T2": "| **T2** | b |"}, rows)
}

// testTexts returns the text of all test files, except those of this package,
// which name rules as examples.
func testTexts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, f := range goSources(t) {
		if f.isTest() && f.folder != "internal/archtest" {
			all.WriteString(f.text)
		}
	}
	return all.String()
}
