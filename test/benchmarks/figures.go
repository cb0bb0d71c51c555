package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// absent is the figure of a peer for which a metric makes no sense.
var absent = math.NaN()

func isAbsent(figure float64) bool { return math.IsNaN(figure) }

// unit is what a figure counts, and how many digits of it say something.
type unit struct {
	name   string
	digits int
}

var (
	perSecond    = unit{"/s", 0}
	milliseconds = unit{"ms", 2}
	seconds      = unit{"s", 1}
	count        = unit{"", 1}
	kilobytes    = unit{"kB", 0}
	bytes        = unit{"B", 0}
	share        = unit{"%", 1}
)

func (u unit) format(figure float64) string {
	text := strconv.FormatFloat(math.Abs(figure), 'f', u.digits, 64)
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

// target is what a figure should reach: as a ratio to another peer's figure of the same metric, or by itself where
// against is empty. A target without a bound only shows the ratio.
type target struct {
	peer, metric string
	against      string
	bound        bound
}

type bound struct {
	sign  string // ≥ or ≤, or "" for none
	value float64
}

func atLeast(value float64) bound { return bound{"≥", value} }
func atMost(value float64) bound  { return bound{"≤", value} }

func (b bound) reached(value float64) bool {
	return b.sign == "≥" && value >= b.value || b.sign == "≤" && value <= b.value
}

// judged is the value that a target judges: the figure's median, or the median of the ratios of each round. Both
// peers had their turn within minutes of each other there, so that it hides what made a whole round slow.
func (r result) judged(t target, metric int) float64 {
	own := r.figures[t.peer][metric]
	if t.against == "" {
		return median(own)
	}
	var ratios []float64
	for i, other := range r.figures[t.against][metric] {
		if i < len(own) {
			ratios = append(ratios, ratio(own[i], other))
		}
	}
	return median(ratios)
}

// ratio takes nothing against nothing for the same.
func ratio(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 1
	}
	return a / b
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile interpolates between the two figures next to it.
func percentile(values []float64, percent float64) float64 {
	if len(values) == 0 {
		return absent
	}
	sorted := slices.Sorted(slices.Values(values))
	place := percent / 100 * float64(len(sorted)-1)
	below := int(place)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (place-float64(below))*(sorted[above]-sorted[below])
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func thousands(n int) string { return fmt.Sprint(count.format(float64(n))) }
