package main

import (
	"fmt"
	"slices"
	"strings"
)

// table formats results as one Markdown table. Each figure has a line, and one
// more line for each further target.
func table(results []result) string {
	lines := [][]string{{"workload", "peer", "figure", "median (min – max)", "ratio", "target", "reached"}}
	for _, r := range results {
		lines = append(lines, r.lines()...)
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for i, line := range lines {
		for j, cell := range line {
			out.WriteString("| " + cell + strings.Repeat(" ", widths[j]-len([]rune(cell))) + " ")
		}
		out.WriteString("|\n")
		if i == 0 {
			for _, width := range widths {
				out.WriteString("|" + strings.Repeat("-", width+2))
			}
			out.WriteString("|\n")
		}
	}
	return out.String()
}

func (r result) lines() [][]string {
	var lines [][]string
	for _, peer := range r.peers {
		for i, m := range r.workload.metrics {
			figures := r.figures[peer][i]
			if len(figures) == 0 || slices.ContainsFunc(figures, isAbsent) {
				continue
			}
			line := []string{r.workload.name, peer, m.name, spread(m.unit, figures)}
			hasTarget := false
			for _, t := range r.targets {
				if t.peer == peer && t.metric == m.name {
					lines = append(lines, append(line, r.targetCells(t, i, m.unit)...))
					line, hasTarget = []string{"", "", "", ""}, true
				}
			}
			if !hasTarget {
				lines = append(lines, append(line, "", "", ""))
			}
		}
	}
	return lines
}

// spread formats the median with the smallest and the largest figure.
func spread(u unit, figures []float64) string {
	text := u.format(median(figures))
	if len(figures) == 1 {
		return text
	}
	bare := unit{decimals: u.decimals}
	return fmt.Sprintf("%s (%s – %s)", text, bare.format(slices.Min(figures)), bare.format(slices.Max(figures)))
}

// targetCells returns the cells of the columns ratio, target and reached.
func (r result) targetCells(t target, metric int, u unit) []string {
	value := r.targetValue(t, metric)
	if isAbsent(value) {
		return []string{"", "", ""} // the other peer has no figure
	}
	wanted, actual := "", ""
	if t.against != "" {
		actual = fmt.Sprintf("%.2f × %s", value, t.against)
	}
	if t.bound.sign == "" {
		return []string{actual, "", ""}
	}
	if t.against != "" {
		wanted = fmt.Sprintf("%s %.2f", t.bound.sign, t.bound.value)
	} else {
		wanted = t.bound.sign + " " + u.format(t.bound.value)
	}
	if t.bound.reached(value) {
		return []string{actual, wanted, "yes"}
	}
	return []string{actual, wanted, "**no**"}
}
