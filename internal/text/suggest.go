package text

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that is most similar to a name, or "" if none
// is similar. It ignores case.
func Nearest(name string, candidates []string) string {
	slices.Sort(candidates)
	limit, nearest := len(name)/3+1, ""
	for _, candidate := range candidates {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d <= limit {
			limit, nearest = d-1, candidate
		}
	}
	return nearest
}

// editDistance returns how many bytes must be inserted, deleted or replaced to
// turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
