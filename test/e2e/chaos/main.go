// Command chaos runs hosts of hourbell as separate processes on a Postgres
// server of its own. It kills, stops and pauses them, disturbs their networks
// and restarts the server. Then it proves from the tables that every slot fired
// once or is recorded as skipped:
//
//	make chaos                        # ten minutes
//	make chaos CHAOSTIME=1m SEED=7    # the plan of seed 7
//
// The seed determines the plan: which faults, and when. chaos prints the seed,
// and at the end a summary of the faults and violations. If there are
// violations, it keeps the logs of the processes and exits with code 1.
//
// With -soak it injects no faults. It watches memory, goroutines and
// connections of a process that fires constantly; see soak.go.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// roleEnv makes this program, or the test binary, run as a host.
const roleEnv = "HOURBELL_CHAOS_ROLE"

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(hostMain(role))
	}
	o := options{}
	flag.DurationVar(&o.Time, "time", 10*time.Minute, "how long to inject faults, or to run the soak")
	flag.Uint64Var(&o.Seed, "seed", 0, "the seed of the plan; 0 draws one")
	flag.IntVar(&o.Hosts, "hosts", 5, "number of processes")
	flag.IntVar(&o.Schedules, "schedules", 600, "number of schedules")
	soakOnly := flag.Bool("soak", false, "run the soak instead")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := chaos
	if *soakOnly {
		run = soak
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// options set the length and size of a run.
type options struct {
	Time      time.Duration
	Seed      uint64
	Hosts     int
	Schedules int
}
