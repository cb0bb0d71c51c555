package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableShowsRatiosAndTargets(t *testing.T) {
	r := result{
		workload: workload{name: "fire", metrics: []metric{{"fired", perSecond}, {"missing", count}}},
		peers:    []string{"limit", "ours"},
		figures: map[string][][]float64{
			"limit": {{100, 1000, 10000}, {absent, absent, absent}},
			"ours":  {{80, 700, 9000}, {0, 0, 0}},
		},
		targets: []target{
			{"ours", "fired", "limit", atLeast(0.75)},
			{"ours", "fired", "", atLeast(900)},
			{"ours", "fired", "limit", bound{}},
			{"ours", "missing", "", atMost(0)},
		},
	}
	require.Equal(t, `
| workload | peer  | figure  | median (min – max)      | ratio        | target   | reached |
|----------|-------|---------|-------------------------|--------------|----------|---------|
| fire     | limit | fired   | 1,000 /s (100 – 10,000) |              |          |         |
| fire     | ours  | fired   | 700 /s (80 – 9,000)     | 0.80 × limit | ≥ 0.75   | yes     |
|          |       |         |                         |              | ≥ 900 /s | **no**  |
|          |       |         |                         | 0.80 × limit |          |         |
| fire     | ours  | missing | 0 (0 – 0)               |              | ≤ 0      | yes     |
`, "\n"+table([]result{r}))
}

func TestTableLeavesOutUnknownRatio(t *testing.T) {
	r := result{
		workload: workload{name: "fire", metrics: []metric{{"fired", perSecond}}},
		peers:    []string{"limit", "ours"},
		figures:  map[string][][]float64{"limit": {nil}, "ours": {{80}}},
		targets:  []target{{"ours", "fired", "limit", atLeast(0.75)}},
	}
	require.Contains(t, table([]result{r}), "| fire     | ours | fired  | 80 /s              |       |        |         |\n")
}

func TestUnitFormatsFigure(t *testing.T) {
	for want, got := range map[string]string{
		"0 B":          bytes.format(0),
		"999 B":        bytes.format(999),
		"1,000 B":      bytes.format(1000),
		"1,234,567 /s": perSecond.format(1234567.4),
		"1,234.50 ms":  milliseconds.format(1234.5),
		"2 ms":         milliseconds.format(2),
		"-1,000.25 ms": milliseconds.format(-1000.25),
		"16.2":         count.format(16.2),
		"10,000":       thousands(10_000),
		"20":           thousands(20),
	} {
		require.Equal(t, want, got)
	}
}

func TestPercentileInterpolates(t *testing.T) {
	require.InDelta(t, 3, median([]float64{5, 1, 3}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
	require.InDelta(t, 99, percentile([]float64{0, 100}, 99), 1e-9)
	require.True(t, isAbsent(median(nil)))
}
