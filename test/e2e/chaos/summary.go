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

// tally counts the faults of a run and what else the driver did.
type tally struct {
	faultTime time.Duration // from the first fault to the last

	mu          sync.Mutex // guards the fields below
	counts      map[string]int
	longestStop time.Duration // the slowest clean stop
}

func (t *tally) add(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[what] += n
}

func (t *tally) addStop(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.longestStop = max(t.longestStop, took)
}

// shownViolations limits how many violations the summary prints. The rest are
// usually of the same kinds.
const shownViolations = 40

func (d *driver) summary(out io.Writer, o options, r result) {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "  %-48s %s\n", name, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintf(out, "chaos: seed %d, %v of faults on %d processes and %d schedules\n", o.Seed, d.tally.faultTime.Round(time.Second), o.Hosts, o.Schedules)
	line("slots of enabled schedules", "%d", r.slots)
	line("slots fired", "%d (%d runs; lateness p50 %v, p99 %v)", r.fired, r.runs, r.p50.Round(time.Millisecond), r.p99.Round(time.Millisecond))
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		line("slots skipped, "+string(reason), "%d", r.skipped[reason])
	}
	line("runs executed more than once", "%d", r.repeated)
	line("locks taken over", "%d", r.takeovers)
	if r.skewed > 0 {
		line("processes with a wrong clock", "%d, by %v at most", r.skewed, r.skew.Round(time.Millisecond))
	}
	for _, what := range slices.Sorted(maps.Keys(d.tally.counts)) {
		line(what, "%d", d.tally.counts[what])
	}
	line("longest clean stop", "%v", d.tally.longestStop.Round(10*time.Millisecond))
	for _, what := range slices.Sorted(maps.Keys(r.actions)) {
		line("operator actions, "+what, "%d", r.actions[what])
	}
	if len(r.violations) == 0 {
		line("violations", "none")
		return
	}
	_, _ = fmt.Fprintf(out, "chaos: %d VIOLATIONS\n", len(r.violations))
	for _, v := range r.violations[:min(len(r.violations), shownViolations)] {
		_, _ = fmt.Fprintln(out, "  -", v)
	}
}

// printLogTails prints the end of each host's log, and the folder of the logs.
func (d *driver) printLogTails(out io.Writer) {
	for _, h := range d.hosts {
		_, _ = fmt.Fprintf(out, "end of the log of %s:\n%s", h.name, tail(filepath.Join(d.dir, h.name+".log"), 8))
	}
	_, _ = fmt.Fprintln(out, "chaos: the logs are in", d.dir)
}

// tail returns the last lines of a file, indented.
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
