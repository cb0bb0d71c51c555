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

// sample is what the process takes at an instant.
type sample struct {
	at         time.Duration
	heap, rss  uint64 // bytes, after a collection
	goroutines int
	conns      int   // open connections of all pools
	runs       int64 // enqueued so far
}

func (s sample) String() string {
	return fmt.Sprintf("%6.0fs  heap %6.1f MB  rss %6.1f MB  %4d goroutines  %3d connections  %9d runs",
		s.at.Seconds(), mega(s.heap), mega(s.rss), s.goroutines, s.conns, s.runs)
}

func mega(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// sampleEvery is how long it is from one sample to the next: one every ten seconds, and twenty at least in all.
func sampleEvery(length time.Duration) time.Duration { return min(10*time.Second, length/20) }

// watch samples until the time is over.
func watch(ctx context.Context, length time.Duration, db *sql.DB, pools []*sql.DB, out io.Writer) (samples []sample) {
	began := time.Now()
	for next := sampleEvery(length); next <= length; next += sampleEvery(length) {
		sleep(ctx, time.Until(began.Add(next)))
		if ctx.Err() != nil {
			return samples
		}
		s := measure(pools)
		s.at = time.Since(began)
		// Without a count of all rows, which takes longer each time.
		_ = db.QueryRowContext(ctx, "SELECT COALESCE(max(id), 0) FROM hourbell_job_runs").Scan(&s.runs)
		samples = append(samples, s)
		_, _ = fmt.Fprintln(out, s)
	}
	return samples
}

func measure(pools []*sql.DB) (s sample) {
	debug.FreeOSMemory() // collects first
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s.heap, s.rss, s.goroutines = memory.HeapAlloc, resident(), runtime.NumGoroutine()
	for _, pool := range pools {
		s.conns += pool.Stats().OpenConnections
	}
	return s
}

// resident is the memory that the process takes of the machine, 0 where the system does not say.
func resident() uint64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// soakFactor is how much higher than after the warm-up anything may be at the end, with a slack for what happens to be
// under way just then. A leak of a hundred bytes a fire is beyond it within minutes.
const soakFactor = 1.25

// judge compares the last fifth of the samples with the second: the first is the warm-up. Of each it takes the median.
func judge(samples []sample, out io.Writer) error {
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
		what  string
		slack float64
		of    func(sample) float64
	}{
		{"heap, MB", 4, func(s sample) float64 { return mega(s.heap) }},
		{"resident memory, MB", 16, func(s sample) float64 { return mega(s.rss) }},
		{"goroutines", 12, func(s sample) float64 { return float64(s.goroutines) }},
		{"connections", 6, func(s sample) float64 { return float64(s.conns) }},
	} {
		before, after := median(warm, m.of), median(end, m.of)
		_, _ = fmt.Fprintf(out, "soak: %-20s %7.1f after the warm-up, %7.1f at the end\n", m.what, before, after)
		if after > before*soakFactor+m.slack {
			errs = append(errs, fmt.Errorf("soak: %s rose from %.1f to %.1f", m.what, before, after))
		}
	}
	return errors.Join(errs...)
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
