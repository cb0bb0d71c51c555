package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// options are what a run can be told. The defaults are those of the record.
type options struct {
	server    string // a Postgres URL, of a user who may create databases
	workloads []string
	peers     *regexp.Regexp // of whose names one part is enough
	rounds    int

	schedules int           // how many are due at one instant, are synced, or idle
	slots     int           // how many slots each peer fires in a round
	seconds   int           // how long what runs by the real clock is watched
	idle      time.Duration // how long the idle replica is watched
	stored    int           // among how many schedules ten are due
	ticks     int           // of one second each, for the bloat
	pace      time.Duration // at least so long for each of those
	retained  int           // finished runs to purge
}

func parse(args []string, complaints io.Writer) (options, error) {
	opts := options{server: os.Getenv(dbtest.URLEnv)}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(complaints)
	names := flags.String("workloads", "", "comma-separated; all of them by default: "+strings.Join(workloadNames(), ","))
	peers := flags.String("peers", "", "a regular expression: only peers whose names match")
	flags.IntVar(&opts.rounds, "rounds", 3, "how often every peer has its turn")
	flags.IntVar(&opts.schedules, "schedules", 10_000, "schedules due at one instant, synced, or idle; jobs of the wide fan-out")
	flags.IntVar(&opts.slots, "slots", 5, "slots that each peer fires in a round")
	flags.IntVar(&opts.seconds, "seconds", 20, "seconds of the lateness and of each half of the retention")
	flags.DurationVar(&opts.idle, "idle", time.Minute, "how long the idle replica is watched")
	flags.IntVar(&opts.stored, "stored", 1_000_000, "schedules among which ten are due")
	flags.IntVar(&opts.ticks, "ticks", 3600, "ticks of one second each for the bloat")
	flags.DurationVar(&opts.pace, "pace", 20*time.Millisecond, "least time for each of those ticks; autovacuum is hurried as much as the clock is")
	flags.IntVar(&opts.retained, "retained", 10_000_000, "finished runs to purge")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q: everything is a flag", flags.Arg(0))
	}
	var err error
	if opts.peers, err = regexp.Compile(*peers); err != nil {
		return opts, fmt.Errorf("-peers: %w", err)
	}
	opts.workloads = workloadNames()
	if *names != "" {
		opts.workloads = strings.Split(*names, ",")
	}
	return opts, opts.check()
}

func (o options) check() error {
	var errs []error
	for _, name := range o.workloads {
		if !slices.Contains(workloadNames(), name) {
			errs = append(errs, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(workloadNames(), ", ")))
		}
	}
	for _, number := range []struct {
		flag         string
		value, least int
	}{
		{"rounds", o.rounds, 1},
		{"schedules", o.schedules, 1},
		{"slots", o.slots, 1},
		{"seconds", o.seconds, 2},
		{"stored", o.stored, 10},
		{"ticks", o.ticks, 2},
		{"retained", o.retained, 1},
	} {
		if number.value < number.least {
			errs = append(errs, fmt.Errorf("-%s=%d is less than %d", number.flag, number.value, number.least))
		}
	}
	if o.idle < time.Second {
		errs = append(errs, fmt.Errorf("-idle=%v is shorter than 1s", o.idle))
	}
	if o.pace < 0 || o.pace > time.Second {
		errs = append(errs, fmt.Errorf("-pace=%v is not in 0s-1s", o.pace))
	}
	if o.server == "" {
		errs = append(errs, fmt.Errorf("%s names no server; 'make compare' starts one", dbtest.URLEnv))
	}
	return errors.Join(errs...)
}
