package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ruleRow matches a row of a table that begins with the id of a rule.
var ruleRow = regexp.MustCompile(`(?m)^\|[ *]*([A-Z][0-9]+)[ *]*\|.*$`)

// namedTest matches the name of a test in a document.
var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)[`/]")

// TestGuaranteesAreTested checks that docs/guarantees.md lists every rule, and
// that the comment of each test in a rule's row has the rule's id.
func TestGuaranteesAreTested(t *testing.T) {
	rows := ruleRows(guaranteesText(t))
	comments := testComments(t)
	var findings []string
	for _, id := range ruleIDs() {
		row, listed := rows[id]
		delete(rows, id)
		names := namedTest.FindAllStringSubmatch(row, -1)
		if !listed || len(names) == 0 {
			findings = append(findings, id+" has no row or no test")
		}
		for _, name := range names {
			comment, exists := comments[name[1]]
			if exists && !regexp.MustCompile(`\b`+id+`\b`).MatchString(comment) {
				findings = append(findings, fmt.Sprintf("%s is not in the comment of %s", id, name[1]))
			}
		}
	}
	report(t, "rule without a test", findings)
	require.Empty(t, rows, "rows of unknown rules")
}

// ruleIDs returns the ids of all rules.
func ruleIDs() []string {
	ids := slices.Clone(furtherRules)
	for _, group := range ruleCounts {
		for n := 1; n <= group.count; n++ {
			ids = append(ids, fmt.Sprintf("%s%d", group.letter, n))
		}
	}
	return ids
}

// TestGuaranteesNameExistingTests checks every test named in
// docs/guarantees.md.
func TestGuaranteesNameExistingTests(t *testing.T) {
	comments := testComments(t)
	var findings []string
	names := namedTest.FindAllStringSubmatch(guaranteesText(t), -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		if _, exists := comments[name[1]]; !exists {
			findings = append(findings, name[1])
		}
	}
	report(t, "unknown test in docs/guarantees.md", findings)
}

func guaranteesText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	require.NoError(t, err)
	return string(text)
}

// ruleRows returns the row of each rule.
func ruleRows(document string) map[string]string {
	rows := map[string]string{}
	for _, match := range ruleRow.FindAllStringSubmatch(document, -1) {
		rows[match[1]] = match[0]
	}
	return rows
}

// testComments returns the comments of each test of all modules: the one before
// it and those in it.
func testComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, f := range goSources(t) {
		if !f.isTest() {
			continue
		}
		_, parsed := parseFile(t, f)
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !testPrefix.MatchString(fn.Name.Name) {
				continue
			}
			var text strings.Builder
			for _, group := range parsed.Comments {
				if group == fn.Doc || fn.Pos() <= group.Pos() && group.End() <= fn.End() {
					text.WriteString(group.Text())
				}
			}
			comments[fn.Name.Name] += text.String()
		}
	}
	return comments
}

func TestRuleRows(t *testing.T) {
	rows := ruleRows("# D9\n| rule | test |\n|---|---|\n| D1 | a | `TestA` |\n| **T2** | b |\n| x | D3 |\n")
	require.Equal(t, map[string]string{"D1": "| D1 | a | `TestA` |", "T2": "| **T2** | b |"}, rows)
}
