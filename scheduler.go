package hourbell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a host declares. It is read once, by [New].
type Config struct {
	Jobs        []Job
	Definitions []Definition
	// Enqueuer hands runs to whatever executes them. Defaults to none: a worker takes them with [Scheduler.TakeRuns].
	Enqueuer Enqueuer
	// Namespace keeps apart the services that share a database: 1 to 100 letters, digits and . _ - characters.
	// Defaults to "default".
	Namespace string
	// PollInterval is how long the loop sleeps at most. Defaults to 60 s.
	PollInterval time.Duration
	// LockTTL is how old a lock may grow before anybody may take it over; at least 1 s. Defaults to 5 min.
	LockTTL time.Duration
	// Grace is how late a slot may still be claimed; at least PollInterval and the smaller of 10 s and LockTTL/2
	// together. Defaults to 2 min.
	Grace time.Duration
	// BatchSize is how many schedules are claimed and fired together, at most 10,000. Defaults to 1,000.
	BatchSize int
	// Connections is how many connections of the host's pool a tick uses at once, at most 16, where more is due than one
	// batch. Defaults to 2. An Enqueuer is called from each of them. On SQLite it is one always.
	Connections int
	// Retention is how long finished runs and events are kept, at least 1 h. With an Enqueuer it counts from when a
	// run was enqueued, finished or not. Defaults to 30 days.
	Retention time.Duration
	// Version and BuildTime say which build of the host this is. The newest build that lives owns the definitions; where
	// build times are equal or unknown, the last process to start does. Default to what the toolchain left in the binary:
	// the main module's version, and the time of the commit it was built from, if that is known.
	Version   string
	BuildTime time.Time
	// OnTick is called after every tick with what it did, in the loop: the place to feed metrics. Defaults to none.
	OnTick func(TickReport)
	// Now replaces the database's clock everywhere. It is for tests. Defaults to the database's clock.
	Now func() time.Time
	// Logger gets what happens in the loop. Defaults to slog.Default().
	Logger *slog.Logger
}

// Scheduler keeps one process's part in the schedules of a namespace. Its methods are safe for concurrent use.
type Scheduler struct {
	cfg     Config
	store   Store
	log     *slog.Logger
	catalog *catalog
	worker  Worker
	contact contact
	ran     atomic.Bool

	ticking sync.Mutex // held for a tick; guards what follows, together with the mutex of its pass
	limit   int        // how many schedules the next claim takes
	behind  time.Time  // when the loop last found more due than it can fire; zero for not lately
	coming  timetable  // none where there is no second road

	mu       sync.Mutex        // guards what follows
	excepted map[string]string // rows left out of claims: id to definition hash
	lastTick time.Time         // by the database's clock
	tickedAt time.Time         // the same by this process's; when it began to run, before the first tick
	running  bool
	skew     time.Duration
	rivals   bool      // another build lived at the last heartbeat
	doubt    bool      // what is stored may not be what is declared here
	defended time.Time // when that was last looked into, by this process's clock
	judge    distant   // the clock that judges
}

// By says who asks for a change, and why. Both are recorded with it.
type By struct {
	Actor, Note string
	// Seen is the [Schedule.Fingerprint] of the schedule as the person saw it, and for Unlock the lock's holder. If that
	// is no longer so, the change is refused with [ErrChanged]. Defaults to no such condition.
	Seen string
}

// ErrUnknownSchedule says that no schedule of that id is stored.
var ErrUnknownSchedule = errors.New("unknown schedule")

// New checks the whole configuration. It makes no call to the database and starts nothing. Its error names every
// value that is wrong.
func New(store Store, cfg Config) (*Scheduler, error) {
	if store == nil || reflect.ValueOf(store).Kind() == reflect.Pointer && reflect.ValueOf(store).IsNil() {
		return nil, errors.New("hourbell: the store is nil: use store.New(db)")
	}
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Scheduler{cfg: cfg, log: cfg.Logger, limit: cfg.BatchSize, excepted: map[string]string{}}
	var err error
	if s.store, err = store.Bind(cfg.Namespace, cfg.Now); err != nil {
		return nil, fmt.Errorf("hourbell: %w", err)
	}
	if s.catalog, err = newCatalog(cfg.Jobs, cfg.Definitions, cfg.Grace, cfg.PollInterval+s.callDeadline()); err != nil {
		return nil, err
	}
	if cfg.Enqueuer == nil && !s.store.OneByOne() {
		s.coming = newTimetable(s.catalog.definitions)
	}
	s.worker = newWorker(cfg, s.catalog.hash)
	return s, nil
}

func (c Config) withDefaults() Config {
	or := func(value *time.Duration, standard time.Duration) {
		if *value == 0 {
			*value = standard
		}
	}
	or(&c.PollInterval, time.Minute)
	or(&c.LockTTL, 5*time.Minute)
	or(&c.Grace, 2*time.Minute)
	or(&c.Retention, 30*24*time.Hour)
	if c.Namespace == "" {
		c.Namespace = "default"
	}
	if c.BatchSize == 0 {
		c.BatchSize = 1000
	}
	if c.Connections == 0 {
		c.Connections = 2
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

var validNamespace = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (c Config) check() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("hourbell: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if !validNamespace.MatchString(c.Namespace) {
		wrong("Namespace", "%q is not 1 to 100 letters, digits and . _ - characters, beginning with a letter or digit", c.Namespace)
	}
	if c.PollInterval < 0 {
		wrong("PollInterval", "%v is negative", c.PollInterval)
	}
	if c.LockTTL < time.Second {
		wrong("LockTTL", "%v is shorter than 1s", c.LockTTL)
	}
	if least := c.PollInterval + callDeadline(c.LockTTL); c.Grace < least {
		wrong("Grace", "%v is shorter than PollInterval and a claim's deadline together, %v: slots would be skipped for no reason", c.Grace, least)
	}
	if c.BatchSize < 1 || c.BatchSize > 10_000 {
		wrong("BatchSize", "%d is not in 1-10000", c.BatchSize)
	}
	if c.Connections < 1 || c.Connections > 16 {
		wrong("Connections", "%d is not in 1-16", c.Connections)
	}
	if c.Retention < time.Hour {
		wrong("Retention", "%v is shorter than 1h", c.Retention)
	}
	return errors.Join(errs...)
}

// stopGrace is how long work under way may go on after the loop was told to stop.
const stopGrace = 3500 * time.Millisecond

// fireDeadline bounds a transaction that fires, in the client and in the server.
func (s *Scheduler) fireDeadline() time.Duration { return min(30*time.Second, s.cfg.LockTTL/2) }

// callDeadline bounds every other call to the database.
func (s *Scheduler) callDeadline() time.Duration { return callDeadline(s.cfg.LockTTL) }

func callDeadline(lockTTL time.Duration) time.Duration { return min(10*time.Second, lockTTL/2) }

// transaction runs a write that a person or a deploy asked for: bounded, so that it never hangs on somebody's lock.
func (s *Scheduler) transaction(ctx context.Context, fn func(context.Context, Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.callDeadline())
	defer cancel()
	return s.store.Transaction(ctx, s.callDeadline()/2, func(st Store, _ Tx) error { return fn(ctx, st) })
}

// Workers lists the processes that run the loop, or did within the last day, latest start first.
func (s *Scheduler) Workers(ctx context.Context) ([]Worker, error) { return s.store.Workers(ctx) }
