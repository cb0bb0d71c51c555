// Command chaos runs hosts of hourbell as real processes on a real Postgres, does to them what the world does to
// servers, and then proves from the tables that every slot has fired once or is recorded as skipped:
//
//	make chaos                        # ten minutes
//	make chaos CHAOSTIME=1m SEED=7    # the same faults at the same times, as far as the world allows
//
// The plan of the faults is derived from the seed, which is printed. Afterwards one summary tells what was done and
// what was lost. If anything was, the command names it, says where it keeps the processes' logs, and ends with code 1.
//
// With -soak it runs no faults but watches what a process that fires all the time takes of memory, goroutines and
// connections; see soak.go.
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

// roleEnv makes this program, or the test binary, one of the hosts.
const roleEnv = "HOURBELL_CHAOS_ROLE"

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(hostMain(role))
	}
	o := options{}
	flag.DurationVar(&o.Time, "time", 10*time.Minute, "how long there are faults, or how long the soak takes")
	flag.Uint64Var(&o.Seed, "seed", 0, "the seed of the plan; 0 draws one")
	flag.IntVar(&o.Hosts, "hosts", 5, "how many processes")
	flag.IntVar(&o.Schedules, "schedules", 600, "how many schedules")
	soaks := flag.Bool("soak", false, "run the soak instead")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := chaos
	if *soaks {
		run = soak
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// options say how large a run is.
type options struct {
	Time      time.Duration
	Seed      uint64
	Hosts     int
	Schedules int
}
