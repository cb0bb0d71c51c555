package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// workload is one task that is measured with several peers.
type workload struct {
	name    string
	metrics []metric
	peers   func(options) []peer
	targets func(options) []target
	once    bool // always one round, because it is long and its figures vary little
}

// metric is a figure that every peer of a workload reports. A peer reports
// absent if the metric does not apply to it.
type metric struct {
	name string
	unit unit
}

// peer is an implementation that is measured.
type peer struct {
	name    string
	measure measureFunc
}

// measureFunc returns a figure for each metric of the workload.
type measureFunc func(ctx context.Context, s *server) ([]float64, error)

// result holds the figures of a workload: figures[peer][metric][round].
type result struct {
	workload workload
	peers    []string
	targets  []target
	figures  map[string][][]float64
}

// workloads returns all workloads in the order of the table.
func workloads() []workload {
	return []workload{
		fireWorkload, fanoutWorkload, latenessWorkload, idleWorkload, scaleWorkload,
		bloatWorkload, syncWorkload, sqliteWorkload, memoryWorkload, retentionWorkload,
	}
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return names
}

func selected(opts options) []workload {
	return slices.DeleteFunc(workloads(), func(w workload) bool { return !slices.Contains(opts.workloads, w.name) })
}

// measure runs all rounds. After an error, the result holds the figures
// measured until then.
func (w workload) measure(ctx context.Context, s *server, opts options, progress io.Writer) (result, error) {
	rounds := opts.rounds
	if w.once {
		rounds = 1
	}
	r := result{workload: w, figures: map[string][][]float64{}}
	peers := slices.DeleteFunc(w.peers(opts), func(p peer) bool { return !opts.peers.MatchString(p.name) })
	if len(peers) == 0 {
		return r, fmt.Errorf("%s: no peer matches %q", w.name, opts.peers)
	}
	for _, p := range peers {
		r.peers = append(r.peers, p.name)
		r.figures[p.name] = make([][]float64, len(w.metrics))
	}
	if w.targets != nil {
		r.targets = slices.DeleteFunc(w.targets(opts), func(t target) bool { return t.against != "" && !slices.Contains(r.peers, t.against) })
	}
	for round := range rounds {
		for _, p := range peers {
			start := time.Now()
			figures, err := p.measure(ctx, s)
			if err != nil {
				return r, fmt.Errorf("%s, %s: %w", w.name, p.name, err)
			}
			if len(figures) != len(w.metrics) {
				return r, fmt.Errorf("%s, %s: %d figures for %d metrics", w.name, p.name, len(figures), len(w.metrics))
			}
			summary := ""
			for i, m := range w.metrics {
				r.figures[p.name][i] = append(r.figures[p.name][i], figures[i])
				if !isAbsent(figures[i]) {
					summary += fmt.Sprintf(" · %s %s", m.name, m.unit.format(figures[i]))
				}
			}
			_, _ = fmt.Fprintf(progress, "%s %d/%d %s%s (%.0f s)\n", w.name, round+1, rounds, p.name, summary, time.Since(start).Seconds())
		}
	}
	return r, nil
}
