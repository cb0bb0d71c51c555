package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

// startServer starts a server as 'make compare' does. The server of other tests
// does not record commit times, and these tests change its autovacuum.
var startServer = sync.OnceValues(func() (*cluster.Cluster, error) {
	if err := os.Setenv(cluster.FsyncEnv, "1"); err != nil {
		return nil, err
	}
	return cluster.Start(context.Background())
})

// smallOptions returns options with which every workload is short.
func smallOptions(t *testing.T) options {
	t.Helper()
	own, err := startServer()
	if errors.Is(err, cluster.ErrNoServer) && os.Getenv(dbtest.RequireEnv) != "1" {
		dbtest.Announce("benchmarks: TESTS SKIPPED: they start a Postgres server and found no binaries; 'make setup' installs them")
		t.Skip(err)
	}
	require.NoError(t, err)
	return options{
		server: own.URL, workloads: workloadNames(), peers: regexp.MustCompile(""), rounds: 1, schedules: 50, slots: 2, seconds: 2,
		idle: time.Second, stored: 200, ticks: 20, retained: 12_000,
	}
}

// inRealTime lists the workloads whose peers mostly wait. The tests run those
// peers in parallel.
var inRealTime = map[string]bool{"fire": true, "lateness": true, "idle": true, "retention": true}

// TestPeersOnManualClockMeasure runs each peer of workloads on a manual clock
// once. Each peer checks by itself that every slot fires exactly once.
func TestPeersOnManualClockMeasure(t *testing.T) {
	opts := smallOptions(t)
	for _, w := range workloads() {
		for _, p := range w.peers(opts) {
			if !inRealTime[w.name] {
				require.NoError(t, measureOnce(t.Context(), opts, w, p))
			}
		}
	}
}

// TestPeersInRealTimeMeasure runs each peer of the other workloads once.
func TestPeersInRealTimeMeasure(t *testing.T) {
	opts := smallOptions(t)
	var measurements []func() error
	for _, w := range workloads() {
		for _, p := range w.peers(opts) {
			if inRealTime[w.name] {
				measurements = append(measurements, func() error { return measureOnce(t.Context(), opts, w, p) })
			}
		}
	}
	require.NoError(t, inParallel(len(measurements), func(i int) error { return measurements[i]() }))
}

func measureOnce(ctx context.Context, opts options, w workload, p peer) error {
	s, err := connect(ctx, opts.server)
	if err != nil {
		return err
	}
	figures, err := p.measure(ctx, s)
	if err == nil {
		err = errorUnless(len(figures) == len(w.metrics), "%d figures for %d metrics", len(figures), len(w.metrics))
	}
	if err = errors.Join(err, s.close()); err != nil {
		return fmt.Errorf("%s, %s: %w", w.name, p.name, err)
	}
	return nil
}

func TestTargetsNamePeersAndMetrics(t *testing.T) {
	opts := options{schedules: 10_000, stored: 1_000_000, ticks: 3600, retained: 10_000_000}
	for _, w := range workloads() {
		if w.targets == nil {
			continue
		}
		names, metrics := []string{""}, []string{}
		for _, p := range w.peers(opts) {
			names = append(names, p.name)
		}
		for _, m := range w.metrics {
			metrics = append(metrics, m.name)
		}
		for _, target := range w.targets(opts) {
			require.Contains(t, names, target.peer)
			require.Contains(t, names, target.against)
			require.Contains(t, metrics, target.metric)
		}
	}
}

func TestRunWritesOneTable(t *testing.T) {
	opts := smallOptions(t)
	opts.workloads = []string{"fanout"}
	var out, progress strings.Builder
	require.NoError(t, run(t.Context(), opts, &out, &progress))
	require.Contains(t, out.String(), "fsync on")
	require.Equal(t, 1, strings.Count(out.String(), "| workload"), out.String())
	require.Contains(t, out.String(), "× hand-written, 20 jobs")
	require.Contains(t, progress.String(), "fanout 1/1 hourbell, 50 jobs · time per fire")
}

func TestRunSelectsPeers(t *testing.T) {
	opts := smallOptions(t)
	opts.workloads, opts.peers = []string{"fanout"}, regexp.MustCompile("^hourbell, 20")
	var out, progress strings.Builder
	require.NoError(t, run(t.Context(), opts, &out, &progress))
	require.Contains(t, out.String(), "| hourbell, 20 jobs |")
	require.NotContains(t, out.String(), "50 jobs")
	require.NotContains(t, out.String(), "hand-written")
	opts.peers = regexp.MustCompile("unknown")
	require.ErrorContains(t, run(t.Context(), opts, &out, &progress), `fanout: no peer matches "unknown"`)
}

func TestConnectErrorHidesPassword(t *testing.T) {
	for _, address := range []string{"host=localhost password=secret", "postgres://u:secret@127.0.0.1:1/postgres"} {
		err := run(t.Context(), options{server: address}, &strings.Builder{}, &strings.Builder{})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}
