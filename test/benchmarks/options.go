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

// options are the settings of a run. The figures of docs/performance.md were
// measured with the defaults.
type options struct {
	server    string // the URL of a Postgres server, with a user who may create databases
	workloads []string
	peers     *regexp.Regexp // selects peers by name
	rounds    int

	schedules int           // schedules that are due at once, are synced, or idle
	slots     int           // slots that each peer fires in a round
	seconds   int           // measuring time of workloads in real time
	idle      time.Duration // measuring time of the idle replica
	stored    int           // schedules stored, of which ten are due
	ticks     int           // ticks of the bloat workload, of one second each
	pace      time.Duration // minimum real time for each of them
	retained  int           // finished runs to purge
}

func parse(args []string, output io.Writer) (options, error) {
	opts := options{server: os.Getenv(dbtest.URLEnv)}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(output)
	names := flags.String("workloads", "", "comma-separated list; default all: "+strings.Join(workloadNames(), ","))
	peers := flags.String("peers", "", "regular expression that selects peers by name")
	flags.IntVar(&opts.rounds, "rounds", 3, "number of rounds; in each, every peer takes its turn")
	flags.IntVar(&opts.schedules, "schedules", 10_000, "number of schedules due at once, synced, or idle; number of jobs of the large fan-out")
	flags.IntVar(&opts.slots, "slots", 5, "number of slots that each peer fires in a round")
	flags.IntVar(&opts.seconds, "seconds", 20, "measuring time in seconds of the lateness and of each half of the retention")
	flags.DurationVar(&opts.idle, "idle", time.Minute, "measuring time of the idle replica")
	flags.IntVar(&opts.stored, "stored", 1_000_000, "number of stored schedules, of which ten are due")
	flags.IntVar(&opts.ticks, "ticks", 3600, "number of ticks for the bloat, one second each")
	flags.DurationVar(&opts.pace, "pace", 20*time.Millisecond, "minimum real time for each of those ticks; autovacuum runs as many times faster")
	flags.IntVar(&opts.retained, "retained", 10_000_000, "number of finished runs to purge")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q: only flags are accepted", flags.Arg(0))
	}
	var err error
	if opts.peers, err = regexp.Compile(*peers); err != nil {
		return opts, fmt.Errorf("-peers: %w", err)
	}
	opts.workloads = workloadNames()
	if *names != "" {
		opts.workloads = strings.Split(*names, ",")
	}
	return opts, opts.validate()
}

func (o options) validate() error {
	var errs []error
	for _, name := range o.workloads {
		if !slices.Contains(workloadNames(), name) {
			errs = append(errs, fmt.Errorf("unknown workload %q; the workloads are %s", name, strings.Join(workloadNames(), ", ")))
		}
	}
	for _, number := range []struct {
		flag           string
		value, minimum int
	}{
		{"rounds", o.rounds, 1},
		{"schedules", o.schedules, 1},
		{"slots", o.slots, 1},
		{"seconds", o.seconds, 2},
		{"stored", o.stored, 10},
		{"ticks", o.ticks, 2},
		{"retained", o.retained, 1},
	} {
		if number.value < number.minimum {
			errs = append(errs, fmt.Errorf("-%s=%d is less than %d", number.flag, number.value, number.minimum))
		}
	}
	if o.idle < time.Second {
		errs = append(errs, fmt.Errorf("-idle=%v is shorter than 1s", o.idle))
	}
	if o.pace < 0 || o.pace > time.Second {
		errs = append(errs, fmt.Errorf("-pace=%v is not in 0s-1s", o.pace))
	}
	if o.server == "" {
		errs = append(errs, fmt.Errorf("%s is not set; 'make compare' starts a server and sets it", dbtest.URLEnv))
	}
	return errors.Join(errs...)
}
