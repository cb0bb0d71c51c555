// Command benchmarks compares hourbell with what its database can do at most and with others, in one run:
//
//	make compare
//	make compare WORKLOADS=fire,lateness ROUNDS=5
//
// Each workload has peers, of which one is usually hand-written SQL sent straight through pgx. In every round each
// peer has its turn (A B C, A B C, …) on a database of its own, so that a machine that grows slower does so for all.
// The table shows the medians of the rounds, and ratios: the median of what the rounds' own ratios were.
// Absolute figures belong to the machine; ratios travel.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	opts, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, opts, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// run measures the chosen workloads and writes one table. What could be measured is shown even where something else
// failed.
func run(ctx context.Context, opts options, out, progress io.Writer) (err error) {
	s, err := connect(ctx, opts.server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	_, _ = fmt.Fprintln(progress, s.about)

	var results []result
	var failures []error
	for _, w := range chosen(opts) {
		r, err := w.measure(ctx, s, opts, progress)
		if err != nil {
			failures = append(failures, err)
		}
		results = append(results, r)
		if ctx.Err() != nil {
			break
		}
	}
	if _, err := fmt.Fprintf(out, "%s\n\n%s", s.about, table(results)); err != nil {
		return err
	}
	return errors.Join(failures...)
}
