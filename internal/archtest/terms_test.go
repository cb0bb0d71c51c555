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

// TestForbiddenTermsAreAbsent reads code, SQL, JSON, templates, scripts, prose
// and file names. It also finds entries of allowedTerms that are out of date.
func TestForbiddenTermsAreAbsent(t *testing.T) {
	var findings []string
	used := map[allowedTerm]bool{}
	for _, f := range sources(t) {
		if f.name == "internal/archtest/limits.go" {
			continue
		}
		// Line 0 is the file's name.
		for _, hit := range matchTerms(flatten(f.name+"\n"+f.text), forbiddenTerms) {
			i := slices.IndexFunc(allowedTerms, func(a allowedTerm) bool { return a.allows(f.name, hit.match) })
			if i >= 0 {
				used[allowedTerms[i]] = true
				continue
			}
			findings = append(findings, fmt.Sprintf("%s:%d: %s: use %s", f.name, hit.line-1, hit.match, hit.instead))
		}
	}
	report(t, "forbidden term", findings)
	for _, allowed := range allowedTerms {
		require.True(t, used[allowed], "%s does not contain %q", allowed.file, allowed.match)
	}
}

func (a allowedTerm) allows(file, match string) bool {
	fits, err := path.Match(a.file, file)
	return fits && err == nil && strings.EqualFold(a.match, match)
}

// flatText is the text of a file in one line: one space replaces each line
// break and the indentation and comment marks that follow it. So a phrase is
// found even if a comment wraps within it.
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

// words splits text into lower-case words: nextRun, next_run and "next run"
// have the same words.
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
		word("apple", "pear", "pears"),
		pattern("plums", `\bpeach stone\b`),
		pattern("ripe_at", `ripe_?until`),
	}
	found := func(text string) (matches []string) {
		for _, hit := range matchTerms(flatten(text), terms) {
			matches = append(matches, fmt.Sprintf("%d %s", hit.line, hit.match))
		}
		return matches
	}
	require.Equal(t, []string{"1 Pear", "2 pear"}, found("var freePearCount = 1\nx.pear_count = PEARX\n"))
	require.Equal(t, []string{"2 peach stone"}, found("package p\n\t// eaten peach\n\t// stone\n"))
	require.Equal(t, []string{"1 ripeUntil", "3 ripe_until"}, found("ripeUntil\n\nripe_until\nis ripe until noon"))
	require.Empty(t, found("pearl appear peachstone speared\n"))
	require.Equal(t, []string{"http", "server", "a", "run", "is", "x"}, words("HTTPServerARun_is 2x"))
}
