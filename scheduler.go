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

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/lookahead"
	"github.com/hourbell/hourbell/internal/timing"
)

// Config is the configuration of a [Scheduler]. [New] reads it once.
type Config struct {
	// Jobs are the jobs that the host can run. Defaults to none.
	Jobs []Job
	// Definitions are the schedules that code declares. Defaults to none.
	Definitions []Definition
	// Enqueuer passes runs to an engine. Defaults to none: a job worker takes
	// the runs with [Scheduler.TakeRuns].
	Enqueuer Enqueuer
	// Namespace separates services that share a database: 1 to 100 ASCII
	// letters, digits and . _ - characters, starting with a letter or digit.
	// Defaults to "default".
	Namespace string
	// PollInterval is the longest time that the loop sleeps. It must not be
	// negative. Defaults to 60 s.
	PollInterval time.Duration
	// LockTTL is the age at which any replica may take over a lock; at least
	// 1 s. Defaults to 5 min.
	LockTTL time.Duration
	// Grace is how late a slot may be claimed and still fire. It must be at
	// least PollInterval plus the deadline of a claim, which is 10 s or half of
	// LockTTL, whichever is smaller. Defaults to 2 min.
	Grace time.Duration
	// BatchSize is the number of schedules that are claimed and fired together
	// at most, 1 to 10,000. Defaults to 1,000.
	BatchSize int
	// Connections is the number of connections of the host's pool that a tick
	// uses when more than one batch is due, 1 to 16. Each of them may call the
	// Enqueuer at the same time. SQLite uses one. Defaults to 2.
	Connections int
	// Retention is how long runs are kept after they have finished, and how
	// long events are kept; at least 1 h. With an Enqueuer, unfinished runs are
	// also deleted, this long after they were enqueued. Defaults to 30 days.
	Retention time.Duration
	// Version and BuildTime identify this build of the host. The newest active
	// build owns the definitions: see [Scheduler.Sync]. If build times are
	// equal or unknown, the last process to start owns them. Default to what
	// the toolchain recorded in the binary: the version of the main module, and
	// the time of its commit.
	Version   string
	BuildTime time.Time
	// OnTick is called after every tick, for example to update metrics. The
	// next tick waits until it returns, so it must not call Tick. Defaults to
	// none.
	OnTick func(TickReport)
	// Now replaces the database clock in every statement. It is for tests.
	// Defaults to the database clock.
	Now func() time.Time
	// Logger logs what this process does. Defaults to slog.Default().
	Logger *slog.Logger
}

// Scheduler is one process's access to the schedules of a namespace: it runs
// the loop, enqueues jobs, and shows and changes schedules. Its methods are
// safe for concurrent use.
type Scheduler struct {
	cfg     Config
	store   Store
	log     *slog.Logger
	catalog *catalog
	worker  Worker      // this process's row, without the columns that change
	started atomic.Bool // Run is running
	loop    loopState
	process processState
	contact dbContact
}

// loopState is what the loop keeps from one tick to the next.
type loopState struct {
	ticking sync.Mutex // held during a tick, so that ticks do not overlap

	mu        sync.Mutex // guards the fields below
	batchSize int        // how many schedules a batch has at most
	// behindSince is when the loop was last found behind, by the database
	// clock. The zero time means that it keeps up.
	behindSince time.Time
	lookahead   lookahead.Table // nil if there is no fast path
}

// processState is the state of this process, and what it has read about other
// builds.
type processState struct {
	mu        sync.Mutex           // guards the fields below
	running   bool                 // Run was called and has not returned
	synced    bool                 // running, and the first sync has succeeded
	runError  string               // why the last call of Run failed; empty if it did not
	startedAt time.Time            // database time of the first heartbeat
	lastTick  time.Time            // database time of the last claim or fast path
	tickedAt  time.Time            // the same, or the first sync if later, by this process's clock
	skew      time.Duration        // how far this process's clock is ahead of the database clock
	clock     timing.ClockEstimate // estimates the database clock
	excluded  map[string]string    // rows left out of claims: id to definition hash

	missing      []string // declared schedules that the last comparison found missing
	missingError string   // why they could not be restored; empty if they were
	wasComplete  bool     // every declared schedule was stored at some time

	otherBuildActive bool      // as of the last heartbeat
	needsResync      bool      // the stored definitions may differ from those here
	resyncedAt       time.Time // last resync, by this process's clock
}

// ChangeOptions says who asks for a change, why, and on what condition.
type ChangeOptions struct {
	// Actor is who asks for the change, and Note is why. The event of the
	// change records both. Default to none.
	Actor, Note string
	// IfMatch is the [Schedule].ETag that the caller has read, or for Unlock
	// its LockedBy. If it has changed since, the call fails with [ErrChanged].
	// Defaults to no condition.
	IfMatch string
}

var (
	// ErrUnknownSchedule reports that no schedule with the ID is stored.
	ErrUnknownSchedule = errors.New("unknown schedule")
	// ErrRemoved reports that code no longer declares a schedule, so that it
	// can only be shown.
	ErrRemoved = errors.New("the schedule is removed: code no longer declares it")
	// ErrChanged reports that a schedule no longer matches the IfMatch of a
	// call.
	ErrChanged = errors.New("the schedule has changed in the meantime")
)

// New checks the whole configuration. It sends no statement and starts no
// goroutine. Its error names every invalid value.
func New(store Store, cfg Config) (*Scheduler, error) {
	if store == nil || reflect.ValueOf(store).Kind() == reflect.Pointer && reflect.ValueOf(store).IsNil() {
		return nil, errors.New("hourbell: the store is nil: use store.New(db)")
	}
	cfg = cfg.withDefaults()
	s := &Scheduler{cfg: cfg, log: cfg.Logger}
	s.loop.batchSize = cfg.BatchSize
	s.process.excluded = map[string]string{}
	errs := []error{cfg.validate()}
	var err error
	if s.store, err = store.Bind(cfg.Namespace, cfg.Now); err != nil {
		errs = append(errs, fmt.Errorf("hourbell: %w", err))
	}
	s.catalog, err = newCatalog(cfg.Jobs, cfg.Definitions, cfg.Grace, cfg.minGrace())
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if cfg.Enqueuer == nil && !s.store.SingleWriter() {
		s.loop.lookahead = s.catalog.lookahead()
	}
	s.worker = newWorker(cfg, s.catalog.hash)
	s.warnOfDefaultZone(cfg.Definitions)
	return s, nil
}

func (c Config) withDefaults() Config {
	setDefault := func(value *time.Duration, standard time.Duration) {
		if *value == 0 {
			*value = standard
		}
	}
	setDefault(&c.PollInterval, time.Minute)
	setDefault(&c.LockTTL, 5*time.Minute)
	setDefault(&c.Grace, 2*time.Minute)
	setDefault(&c.Retention, 30*24*time.Hour)
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

func (c Config) validate() error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("hourbell: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if !validNamespace.MatchString(c.Namespace) {
		invalid("Namespace", "%q is not 1 to 100 letters, digits and . _ - characters, starting with a letter or digit", c.Namespace)
	}
	if c.PollInterval < 0 {
		invalid("PollInterval", "%v is negative", c.PollInterval)
	}
	if c.LockTTL < time.Second {
		invalid("LockTTL", "%v is shorter than 1s", c.LockTTL)
	}
	if c.Grace < c.minGrace() {
		invalid("Grace", "%v is %s, %v", c.Grace, graceTooShort, c.minGrace())
	}
	if c.BatchSize < 1 || c.BatchSize > 10_000 {
		invalid("BatchSize", "%d is not in 1-10000", c.BatchSize)
	}
	if c.Connections < 1 || c.Connections > 16 {
		invalid("Connections", "%d is not in 1-16", c.Connections)
	}
	if c.Retention < time.Hour {
		invalid("Retention", "%v is shorter than 1h", c.Retention)
	}
	return errors.Join(errs...)
}

// minGrace is the shortest grace with which one running loop claims every slot
// in time. It may sleep for PollInterval, and a claim may take its whole
// deadline.
func (c Config) minGrace() time.Duration { return c.PollInterval + c.callTimeout() }

// callTimeout limits a claim, and most other calls to the database except for
// fires.
func (c Config) callTimeout() time.Duration { return min(10*time.Second, c.LockTTL/2) }

// fireTimeout limits a transaction that inserts runs, in the client and in the
// server.
func (c Config) fireTimeout() time.Duration { return min(30*time.Second, c.LockTTL/2) }

// stopTimeout is how long work in progress may continue after the loop's
// context has ended.
const stopTimeout = 3500 * time.Millisecond

// transaction runs writes that insert no runs. The server's limit is half of
// the client's, so that the server ends a wait for a lock first: the error is
// then ErrBusy.
func (s *Scheduler) transaction(ctx context.Context, fn func(context.Context, Store) error) error {
	timeout := s.cfg.callTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.store.Transaction(ctx, timeout/2, func(st Store, _ *gorm.DB) error { return fn(ctx, st) })
}
