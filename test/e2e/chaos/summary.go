package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts what was done.
type tally struct {
	faulty time.Duration // how long there were faults

	mu      sync.Mutex
	counts  map[string]int
	longest time.Duration // that a clean stop took
}

func (t *tally) add(what string) { t.many(what, 1) }

func (t *tally) many(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[what] += n
}

func (t *tally) stopped(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.longest = max(t.longest, took)
}

// shownViolations is how many are printed. The rest is of the same kinds.
const shownViolations = 40

func (d *driver) summary(out io.Writer, o options, r result) {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "  %-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintf(out, "chaos: seed %d, %v of faults on %d processes and %d schedules\n", o.Seed, d.tally.faulty.Round(time.Second), o.Hosts, o.Schedules)
	line("slots of enabled schedules", "%d", r.slots)
	line("slots fired", "%d (%d runs; p50 %v late, p99 %v)", r.fired, r.runs, r.p50.Round(time.Millisecond), r.p99.Round(time.Millisecond))
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		line("slots skipped, "+reason, "%d", r.skipped[reason])
	}
	line("executed more than once", "%d runs", r.again)
	line("locks taken over", "%d", r.takeovers)
	if r.skewed > 0 {
		line("processes whose clock is wrong", "%d, by %v at most", r.skewed, r.skew.Round(time.Millisecond))
	}
	for _, what := range slices.Sorted(maps.Keys(d.tally.counts)) {
		line(what, "%d", d.tally.counts[what])
	}
	line("the longest clean stop", "%v", d.tally.longest.Round(10*time.Millisecond))
	for _, what := range slices.Sorted(maps.Keys(r.clicks)) {
		line("clicks, "+what, "%d", r.clicks[what])
	}
	if len(r.violations) == 0 {
		line("lost, doubled, early or untrue", "nothing")
		return
	}
	_, _ = fmt.Fprintf(out, "chaos: %d VIOLATIONS\n", len(r.violations))
	for _, v := range r.violations[:min(len(r.violations), shownViolations)] {
		_, _ = fmt.Fprintln(out, "  -", v)
	}
}

// lastWords prints the end of each log, and says where all of it is.
func (d *driver) lastWords(out io.Writer) {
	for _, h := range d.hosts {
		_, _ = fmt.Fprintf(out, "the last words of %s:\n%s", h.name, tail(filepath.Join(d.dir, h.name+".log"), 8))
	}
	_, _ = fmt.Fprintln(out, "chaos: the logs are in", d.dir)
}

// tail is the last lines of a file.
func tail(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error() + "\n"
	}
	defer func() { _ = file.Close() }()
	var last []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if last = append(last, "  "+scanner.Text()+"\n"); len(last) > lines {
			last = last[1:]
		}
	}
	return strings.Join(last, "")
}
