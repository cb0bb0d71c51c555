package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one measurement of the process.
type sample struct {
	at         time.Duration // since the start of the soak
	heap, rss  uint64        // bytes, after a garbage collection
	goroutines int
	conns      int   // open connections of all pools
	runs       int64 // enqueued so far
}

func (s sample) String() string {
	return fmt.Sprintf("%6.0fs  heap %6.1f MB  rss %6.1f MB  %4d goroutines  %3d connections  %9d runs",
		s.at.Seconds(), megabytes(s.heap), megabytes(s.rss), s.goroutines, s.conns, s.runs)
}

func megabytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// sampleInterval is ten seconds, or less so that there are twenty samples.
func sampleInterval(length time.Duration) time.Duration { return min(10*time.Second, length/20) }

func takeSamples(ctx context.Context, length time.Duration, db *sql.DB, pools []*sql.DB, out io.Writer) (samples []sample) {
	began := time.Now()
	for next := sampleInterval(length); next <= length; next += sampleInterval(length) {
		sleep(ctx, time.Until(began.Add(next)))
		if ctx.Err() != nil {
			return samples
		}
		s := measure(pools)
		s.at = time.Since(began)
		// The greatest id stands for the number of runs: count(*) takes longer
		// with each sample.
		_ = db.QueryRowContext(ctx, "SELECT COALESCE(max(id), 0) FROM hourbell_job_runs").Scan(&s.runs)
		samples = append(samples, s)
		_, _ = fmt.Fprintln(out, s)
	}
	return samples
}

func measure(pools []*sql.DB) (s sample) {
	debug.FreeOSMemory() // includes a garbage collection
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.heap, s.rss, s.goroutines = memory.HeapAlloc, residentMemory(), runtime.NumGoroutine()
	for _, pool := range pools {
		s.conns += pool.Stats().OpenConnections
	}
	return s
}

// residentMemory returns the resident set size of the process in bytes, 0 where
// there is no /proc.
func residentMemory() uint64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// soakFactor limits each figure at the end, relative to the one after the
// warm-up. A slack for what is in progress comes on top. A leak of a hundred
// bytes per fire exceeds the limit within minutes.
const soakFactor = 1.25

// checkSamples compares the median of the last fifth of the samples with that
// of the second fifth. The first fifth is the warm-up.
func checkSamples(samples []sample, out io.Writer) error {
	fifth := len(samples) / 5
	if fifth == 0 {
		return errors.New("soak: too short")
	}
	warm, end := samples[fifth:2*fifth], samples[len(samples)-fifth:]
	if warm[0].runs == 0 || end[0].runs == warm[0].runs {
		return errors.New("soak: nothing fires")
	}
	var errs []error
	for _, m := range []struct {
		name  string
		slack float64
		value func(sample) float64
	}{
		{"heap, MB", 4, func(s sample) float64 { return megabytes(s.heap) }},
		{"resident memory, MB", 16, func(s sample) float64 { return megabytes(s.rss) }},
		{"goroutines", 12, func(s sample) float64 { return float64(s.goroutines) }},
		{"connections", 6, func(s sample) float64 { return float64(s.conns) }},
	} {
		before, after := median(warm, m.value), median(end, m.value)
		_, _ = fmt.Fprintf(out, "soak: %-20s %7.1f after the warm-up, %7.1f at the end\n", m.name, before, after)
		if after > before*soakFactor+m.slack {
			errs = append(errs, fmt.Errorf("soak: %s rose from %.1f to %.1f", m.name, before, after))
		}
	}
	return errors.Join(errs...)
}

func median(samples []sample, value func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = value(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
