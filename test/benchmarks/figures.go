package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// absent is the figure of a metric that does not apply to a peer.
var absent = math.NaN()

func isAbsent(figure float64) bool { return math.IsNaN(figure) }

// unit is the unit of a figure with the number of decimals to show.
type unit struct {
	name     string
	decimals int
}

var (
	perSecond    = unit{"/s", 0}
	milliseconds = unit{"ms", 2}
	seconds      = unit{"s", 1}
	count        = unit{"", 1}
	kilobytes    = unit{"kB", 0}
	bytes        = unit{"B", 0}
	percent      = unit{"%", 1}
)

// format formats a figure with thousands separators.
func (u unit) format(figure float64) string {
	text := strconv.FormatFloat(math.Abs(figure), 'f', u.decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if strings.Trim(fraction, "0") != "" {
		whole += "." + fraction
	}
	if figure < 0 {
		whole = "-" + whole
	}
	return strings.TrimSuffix(whole+" "+u.name, " ")
}

// target is a goal for a figure: for its ratio to another peer's figure, or for
// the figure itself if against is empty. Without a bound, the table shows only
// the ratio.
type target struct {
	peer, metric string
	against      string
	bound        bound
}

type bound struct {
	sign  string // "≥", "≤", or "" for none
	value float64
}

func atLeast(value float64) bound { return bound{"≥", value} }
func atMost(value float64) bound  { return bound{"≤", value} }

func (b bound) reached(value float64) bool {
	return b.sign == "≥" && value >= b.value || b.sign == "≤" && value <= b.value
}

// targetValue returns the value that a target bounds: the median of the figure,
// or the median of the ratios of each round. Ratios within a round cancel out
// what makes a whole round slow.
func (r result) targetValue(t target, metric int) float64 {
	figures := r.figures[t.peer][metric]
	if t.against == "" {
		return median(figures)
	}
	var ratios []float64
	for i, other := range r.figures[t.against][metric] {
		if i < len(figures) {
			ratios = append(ratios, ratio(figures[i], other))
		}
	}
	return median(ratios)
}

// ratio returns a / b, and 1 if both are 0.
func ratio(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 1
	}
	return a / b
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile interpolates between the two nearest values.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return absent
	}
	sorted := slices.Sorted(slices.Values(values))
	position := p / 100 * float64(len(sorted)-1)
	below := int(position)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (position-float64(below))*(sorted[above]-sorted[below])
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// thousands formats a number with thousands separators.
func thousands(n int) string { return fmt.Sprint(count.format(float64(n))) }
