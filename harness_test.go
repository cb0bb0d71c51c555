package hourbell_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// What the tests of the contract share. They use real databases and the real store; time alone is theirs.

// noon is where tests begin that do not care when: a whole hour, so that every usual schedule has a slot there.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set. It stands in for the database's (Config.Now).
type clock = testclock.Clock

func newClock(at time.Time) *clock { return testclock.New(at) }

// jobs are three jobs, two of them in the group "feed".
var jobs = []hourbell.Job{{Name: "import", Group: "feed"}, {Name: "publish", Group: "feed"}, {Name: "report"}}

// hourly is an enabled schedule of one job, due at every full hour.
func hourly(id string) hourbell.Definition {
	return hourbell.Definition{ID: id, Cron: "0 * * * *", Target: hourbell.Jobs("import"), EnabledByDefault: true}
}

// replica makes a scheduler as one process of a host would, on a database that it shares with others. cfg.Jobs
// defaults to jobs, cfg.Logger to nowhere.
func replica(t testing.TB, db *gorm.DB, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	return replicaOn(t, store.New(db), cfg)
}

// replicaOn is replica on a store of the test's, such as one with faults.
func replicaOn(t testing.TB, st hourbell.Store, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	if cfg.Jobs == nil {
		cfg.Jobs = jobs
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := hourbell.New(st, cfg)
	require.NoError(t, err)
	return s
}

// synced is replica with its definitions stored.
func synced(t testing.TB, db *gorm.DB, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	s := replica(t, db, cfg)
	require.NoError(t, s.Sync(t.Context()))
	return s
}

// tick makes one pass that must not fail.
func tick(t testing.TB, s *hourbell.Scheduler) hourbell.TickReport {
	t.Helper()
	report, err := s.Tick(t.Context())
	require.NoError(t, err)
	return report
}

// bound is the store beneath the replicas, for a test that speaks to it as one of them.
func bound(t testing.TB, db *gorm.DB, now func() time.Time) hourbell.Store {
	t.Helper()
	st, err := store.New(db).Bind("default", now)
	require.NoError(t, err)
	return st
}

// wiped takes all rows out of a database, so that another test can have it.
func wiped(t testing.TB, db *dbtest.DB) {
	t.Helper()
	for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
		require.NoError(t, db.Exec("DELETE FROM hourbell_"+table).Error)
	}
}

// running runs the loop beside the test, as a host does. stop ends it and returns what Run returned; the end of the
// test stops it too.
func running(t testing.TB, s *hourbell.Scheduler) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { require.NoError(t, stop()) })
	return stop
}

// await waits until something has come about that others are at. It gives up long after it should have.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// row reads a stored schedule.
func row(t testing.TB, s *hourbell.Scheduler, id string) hourbell.Schedule {
	t.Helper()
	r, err := s.Schedule(t.Context(), id)
	require.NoError(t, err)
	return r
}

// runsOf reads the runs of a schedule, newest first.
func runsOf(t testing.TB, s *hourbell.Scheduler, id string) []hourbell.JobRun {
	t.Helper()
	list, err := s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: id, Limit: 1000})
	require.NoError(t, err)
	return list
}

// eventsOf reads the events of a schedule of one kind, or of all kinds with "", newest first.
func eventsOf(t testing.TB, s *hourbell.Scheduler, id, kind string) []hourbell.Event {
	t.Helper()
	list, err := s.Events(t.Context(), hourbell.EventQuery{ScheduleID: id, Kind: kind, Limit: 1000})
	require.NoError(t, err)
	return list
}

// slots lists the slots that fired, newest first, one for each fire.
func slots(runs []hourbell.JobRun) []time.Time {
	var list []time.Time
	for _, run := range runs {
		if run.Ordinal == 0 && run.Trigger == "CRON" {
			list = append(list, run.ScheduledFor)
		}
	}
	return list
}

// logs is a logger that tests read.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// stepped is the real store with a place to stand between the steps of the loop. Before and after each verb it calls
// at with "before <verb>" and "after <verb>", and an error of at takes the place of the verb's: before it, the verb
// does not happen; after it, its answer is lost. Verbs: fire-on-time claim advance insert-runs insert-events give-back hold revise
// insert begin (of a transaction; only before) commit (of a transaction, after fn) heartbeat.
type stepped struct {
	hourbell.Store
	at func(step string) error
}

func step[V any](s *stepped, verb string, call func() (V, error)) (V, error) {
	var none V
	if err := s.at("before " + verb); err != nil {
		return none, err
	}
	v, err := call()
	if err != nil {
		return v, err
	}
	if err := s.at("after " + verb); err != nil {
		return none, err
	}
	return v, nil
}

func (s *stepped) Bind(namespace string, now func() time.Time) (hourbell.Store, error) {
	inner, err := s.Store.Bind(namespace, now)
	return &stepped{inner, s.at}, err
}

func (s *stepped) Within(tx hourbell.Tx) hourbell.Store { return &stepped{s.Store.Within(tx), s.at} }

func (s *stepped) Transaction(ctx context.Context, limit time.Duration, fn func(hourbell.Store, hourbell.Tx) error) error {
	if err := s.at("before begin"); err != nil {
		return err
	}
	err := s.Store.Transaction(ctx, limit, func(inner hourbell.Store, tx hourbell.Tx) error {
		if err := fn(&stepped{inner, s.at}, tx); err != nil {
			return err
		}
		return s.at("before commit")
	})
	if err != nil {
		return err
	}
	return s.at("after commit")
}

func (s *stepped) Now(ctx context.Context) (time.Time, error) {
	return step(s, "now", func() (time.Time, error) { return s.Store.Now(ctx) })
}

func (s *stepped) Claim(ctx context.Context, r hourbell.ClaimRequest) (hourbell.Claims, error) {
	return step(s, "claim", func() (hourbell.Claims, error) { return s.Store.Claim(ctx, r) })
}

func (s *stepped) FireOnTime(ctx context.Context, r hourbell.FireRequest) (hourbell.Fired, error) {
	return step(s, "fire-on-time", func() (hourbell.Fired, error) { return s.Store.FireOnTime(ctx, r) })
}

func (s *stepped) Advance(ctx context.Context, worker string, list []hourbell.Settlement) ([]string, error) {
	return step(s, "advance", func() ([]string, error) { return s.Store.Advance(ctx, worker, list) })
}

func (s *stepped) InsertRuns(ctx context.Context, runs []hourbell.JobRun) ([]hourbell.JobRun, error) {
	return step(s, "insert-runs", func() ([]hourbell.JobRun, error) { return s.Store.InsertRuns(ctx, runs) })
}

func (s *stepped) InsertEvents(ctx context.Context, events []hourbell.Event) error {
	_, err := step(s, "insert-events", func() (any, error) { return nil, s.Store.InsertEvents(ctx, events) })
	return err
}

func (s *stepped) GiveBack(ctx context.Context, worker string, claims []hourbell.Claim) error {
	_, err := step(s, "give-back", func() (any, error) { return nil, s.Store.GiveBack(ctx, worker, claims) })
	return err
}

func (s *stepped) Hold(ctx context.Context, worker string, failures []hourbell.Failure) ([]string, error) {
	return step(s, "hold", func() ([]string, error) { return s.Store.Hold(ctx, worker, failures) })
}

func (s *stepped) Revise(ctx context.Context, list []hourbell.Revision) ([]string, error) {
	return step(s, "revise", func() ([]string, error) { return s.Store.Revise(ctx, list) })
}

func (s *stepped) Insert(ctx context.Context, rows []hourbell.Revision) ([]string, error) {
	return step(s, "insert", func() ([]string, error) { return s.Store.Insert(ctx, rows) })
}

func (s *stepped) Heartbeat(ctx context.Context, w hourbell.Worker, dead time.Duration) (hourbell.Beat, error) {
	return step(s, "heartbeat", func() (hourbell.Beat, error) { return s.Store.Heartbeat(ctx, w, dead) })
}

// firstAt is a hook for stepped that acts the first time a step is reached.
func firstAt(step string, do func() error) func(string) error {
	var done atomic.Bool
	return func(reached string) error {
		if reached != step || done.Swap(true) {
			return nil
		}
		return do()
	}
}

// enqueuer is an Enqueuer made of a function.
type enqueuer func(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error

// idle is an Enqueuer that takes what it gets and does nothing.
var idle = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return nil })

func (f enqueuer) Enqueue(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
	return f(ctx, tx, runs)
}
