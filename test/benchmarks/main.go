// Command benchmarks compares hourbell with hand-written SQL and with other
// schedulers:
//
//	make compare
//	make compare WORKLOADS=fire,lateness ROUNDS=5
//
// Each workload has several peers; one of them is usually hand-written SQL sent
// directly through pgx. In every round each peer takes its turn (A B C, A B C,
// …) on a database of its own, so a machine that becomes slower affects all
// peers alike. The table shows the median over the rounds. A ratio is the
// median of the ratios within each round. Absolute figures depend on the
// machine; ratios can be compared across machines.
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

// run measures the selected workloads and writes one table. After an error it
// still writes the figures it has.
func run(ctx context.Context, opts options, out, progress io.Writer) (err error) {
	s, err := connect(ctx, opts.server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	_, _ = fmt.Fprintln(progress, s.description)

	var results []result
	var failures []error
	for _, w := range selected(opts) {
		r, err := w.measure(ctx, s, opts, progress)
		if err != nil {
			failures = append(failures, err)
		}
		results = append(results, r)
		if ctx.Err() != nil {
			break
		}
	}
	if _, err := fmt.Fprintf(out, "%s\n\n%s", s.description, table(results)); err != nil {
		return err
	}
	return errors.Join(failures...)
}
