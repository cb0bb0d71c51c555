package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// A workload is one question asked of several peers.
type workload struct {
	name    string
	metrics []metric
	peers   func(options) []peer
	targets func(options) []target
	once    bool // it is long and steady in itself: one round, whatever was asked for
}

// metric is a figure that every peer of a workload gives. Peers for which it makes no sense give absent.
type metric struct {
	name string
	unit unit
}

// peer is one that takes part. measure gives a figure for each metric of the workload.
type peer struct {
	name    string
	measure func(ctx context.Context, s *server) ([]float64, error)
}

// result is what the rounds gave: figures[peer][metric][round].
type result struct {
	workload workload
	peers    []string
	targets  []target
	figures  map[string][][]float64
}

// workloads are all there are, in the order of the table.
func workloads() []workload {
	return []workload{fire, fanout, lateness, idle, scale, bloat, synchronise, onSQLite, memory, purge}
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return names
}

func chosen(opts options) []workload {
	return slices.DeleteFunc(workloads(), func(w workload) bool { return !slices.Contains(opts.workloads, w.name) })
}

// measure gives every peer its turn in every round. The result holds what was measured before an error, too.
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
			began := time.Now()
			figures, err := p.measure(ctx, s)
			if err != nil {
				return r, fmt.Errorf("%s, %s: %w", w.name, p.name, err)
			}
			if len(figures) != len(w.metrics) {
				return r, fmt.Errorf("%s, %s: %d figures for %d metrics", w.name, p.name, len(figures), len(w.metrics))
			}
			said := ""
			for i, m := range w.metrics {
				r.figures[p.name][i] = append(r.figures[p.name][i], figures[i])
				if !isAbsent(figures[i]) {
					said += fmt.Sprintf(" · %s %s", m.name, m.unit.format(figures[i]))
				}
			}
			_, _ = fmt.Fprintf(progress, "%s %d/%d %s%s (%.0f s)\n", w.name, round+1, rounds, p.name, said, time.Since(began).Seconds())
		}
	}
	return r, nil
}
