package archtest

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForbiddenTermsAreAbsent reads code, SQL, JSON, templates, scripts and
// prose.
func TestForbiddenTermsAreAbsent(t *testing.T) {
	report(t, "forbidden term", findTerms(t, forbiddenTerms))
}

// findTerms lists where the repository uses a term.
func findTerms(t *testing.T, terms []term) (findings []string) {
	t.Helper()
	for _, f := range sources(t) {
		if isBelow(f.name, "internal/archtest") || strings.Contains("/"+f.name, "/testdata/") {
			continue
		}
		for _, hit := range matchTerms(flatten(f.text), terms) {
			if !isAllowed(f.name, hit.match) {
				findings = append(findings, strings.TrimSuffix(fmt.Sprintf("%s:%d: %s: use %s", f.name, hit.line, hit.match, hit.instead), ": use "))
			}
		}
	}
	return findings
}

func isAllowed(file, match string) bool {
	return slices.ContainsFunc(allowedTerms, func(a allowedTerm) bool {
		fits, err := path.Match(a.file, file)
		return fits && err == nil && strings.EqualFold(a.match, match)
	})
}

// TestAllowedTermsAreUsed finds entries of allowedTerms that are out of date.
func TestAllowedTermsAreUsed(t *testing.T) {
	used := make([]bool, len(allowedTerms))
	for _, f := range sources(t) {
		for _, hit := range matchTerms(flatten(f.text), forbiddenTerms) {
			for i, a := range allowedTerms {
				if fits, err := path.Match(a.file, f.name); fits && err == nil && strings.EqualFold(a.match, hit.match) {
					used[i] = true
				}
			}
		}
	}
	for i, a := range allowedTerms {
		require.True(t, used[i], "%s does not contain %q", a.file, a.match)
	}
}

// flatText is the text of a file in which one space replaces each line break,
// with the indentation and comment marks of the next line. It contains a phrase
// in one piece even if a comment wraps within the phrase.
type flatText struct {
	text   string
	starts []int // of each line in text
}

// lineStart matches the indentation and comment marks of a line.
var lineStart = regexp.MustCompile(`^\s*(//+|--|#+|\*+)?\s*`)

func flatten(text string) (flat flatText) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		flat.starts = append(flat.starts, b.Len())
		b.WriteString(strings.TrimRight(line[len(lineStart.FindString(line)):], " \t\r\n"))
		b.WriteByte(' ')
	}
	flat.text = b.String()
	return flat
}

// lineOf returns the number of the line at an offset.
func (f flatText) lineOf(offset int) int {
	n, begins := slices.BinarySearch(f.starts, offset)
	if begins {
		return n + 1
	}
	return n
}

// hit is a place at which a term is used.
type hit struct {
	line    int
	match   string
	instead string
}

// wordPattern matches a word of prose, or of an identifier in camel case or
// snake case.
var wordPattern = regexp.MustCompile(`[A-Z]+[a-z]+|[A-Z]+|[a-z]+`)

// words splits text into lower-case words: heldUntil, held_until and "held
// until" have the same words.
func words(text string) (result []string) {
	for _, span := range wordSpans(text) {
		result = append(result, strings.ToLower(text[span[0]:span[1]]))
	}
	return result
}

// wordSpans returns the start and end of each word.
func wordSpans(text string) (spans [][2]int) {
	for _, span := range wordPattern.FindAllStringIndex(text, -1) {
		start, end := span[0], span[1]
		// HTTPServer is matched as a whole: the last capital letter begins
		// the second word.
		upper := start
		for upper < end && text[upper] >= 'A' && text[upper] <= 'Z' {
			upper++
		}
		if upper-start > 1 && upper < end {
			spans = append(spans, [2]int{start, upper - 1})
			start = upper - 1
		}
		spans = append(spans, [2]int{start, end})
	}
	return spans
}

// matchTerms finds the terms in a text, in order.
func matchTerms(flat flatText, terms []term) (hits []hit) {
	byWord := map[string]string{}
	for _, term := range terms {
		for _, word := range term.words {
			byWord[word] = term.instead
		}
		if term.pattern != nil {
			for _, span := range term.pattern.FindAllStringIndex(flat.text, -1) {
				hits = append(hits, hit{flat.lineOf(span[0]), flat.text[span[0]:span[1]], term.instead})
			}
		}
	}
	for _, span := range wordSpans(flat.text) {
		word := flat.text[span[0]:span[1]]
		if instead, found := byWord[strings.ToLower(word)]; found {
			hits = append(hits, hit{flat.lineOf(span[0]), word, instead})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return a.line - b.line })
	return hits
}

func TestMatchTerms(t *testing.T) {
	terms := []term{
		word("connection", "lane", "lanes"),
		pattern("permanently", `\bfor ever\b`),
		pattern("retry_at", `held_?until`),
	}
	found := func(text string) (matches []string) {
		for _, hit := range matchTerms(flatten(text), terms) {
			matches = append(matches, fmt.Sprintf("%d %s", hit.line, hit.match))
		}
		return matches
	}
	require.Equal(t, []string{"1 Lane", "2 lane"}, found("var freeLaneCount = 1\nx.lane_count = LANEX\n"))
	require.Equal(t, []string{"2 for ever"}, found("package p\n\t// locked for\n\t// ever\n"))
	require.Equal(t, []string{"1 heldUntil", "3 held_until"}, found("heldUntil\n\nheld_until\nis held until noon"))
	require.Empty(t, found("planet airplane forever laned\n"))
	require.Equal(t, []string{"http", "server", "a", "run", "is", "x"}, words("HTTPServerARun_is 2x"))
}
