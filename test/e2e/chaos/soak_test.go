package main

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A soak of a few seconds fires while it is sampled, and ends.
func TestSoak(t *testing.T) {
	needServer(t)
	if testing.Short() {
		t.Skip("takes seconds, and a short soak shows little")
	}
	samples, err := soakSamples(t.Context(), options{Time: 5 * time.Second, Schedules: 30}, testWriter{t})
	require.NoError(t, err)
	first, last := samples[0], samples[len(samples)-1]
	require.Greater(t, last.runs, first.runs)
	require.Positive(t, last.heap)
	require.Positive(t, last.conns)
}

func TestSoakReportsRisingFigures(t *testing.T) {
	samplesWith := func(change func(i int, s *sample)) []sample {
		samples := make([]sample, 20)
		for i := range samples {
			samples[i] = sample{heap: 20 << 20, rss: 60 << 20, goroutines: 40, conns: 12, runs: int64(1 + 100*i)}
			change(i, &samples[i])
		}
		return samples
	}
	require.NoError(t, checkSamples(samplesWith(func(i int, s *sample) {
		if i < 4 {
			s.heap, s.goroutines = 5<<20, 10 // the warm-up
		}
		if i == 17 {
			s.heap *= 4 // an outlier
		}
	}), io.Discard))
	for want, change := range map[string]func(i int, s *sample){
		"heap":            func(i int, s *sample) { s.heap += uint64(i) << 20 },
		"resident memory": func(i int, s *sample) { s.rss += uint64(4*i) << 20 },
		"goroutines":      func(i int, s *sample) { s.goroutines += 4 * i },
		"connections":     func(i int, s *sample) { s.conns += i },
		"nothing fires":   func(_ int, s *sample) { s.runs = 1 },
	} {
		require.ErrorContains(t, checkSamples(samplesWith(change), io.Discard), want)
	}
}
