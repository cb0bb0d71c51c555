package contract_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/internal/timing"
	"github.com/hourbell/hourbell/store"
)

// noon is the start time of tests that need no particular one. Hourly and
// minutely schedules have a slot then.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that a test sets. As Config.Now it replaces the database
// clock.
type clock = testclock.Clock

func newClock(at time.Time) *clock { return testclock.New(at) }

// setProcessClock replaces the process clock until restore is called, as if
// the machine's clock were wrong.
func setProcessClock(now func() time.Time) (restore func()) {
	previous := timing.Now
	timing.Now = now
	return func() { timing.Now = previous }
}

// testJobs are the default of newReplica's Config.Jobs. Two are in the group
// "feed".
var testJobs = []hourbell.Job{{Name: "import", Group: "feed"}, {Name: "publish", Group: "feed"}, {Name: "report"}}

// ann is the author of changes that need one.
var ann = hourbell.ChangeOptions{Actor: "ann", Note: "because"}

// hourly returns an enabled definition with one job, due at every full hour.
func hourly(id string) hourbell.Definition {
	return hourbell.Definition{ID: id, Cron: "0 * * * *", Target: hourbell.Jobs("import"), EnabledByDefault: true}
}

// hourlyAllJobs returns an hourly definition with all jobs.
func hourlyAllJobs(id string) hourbell.Definition {
	d := hourly(id)
	d.Target = hourbell.AllJobs()
	return d
}

// minutely returns an enabled definition with one job, due every minute.
func minutely(id string) hourbell.Definition {
	d := hourly(id)
	d.Cron = "* * * * *"
	return d
}

// everySecond returns an enabled definition with one job, due every second.
// Tests that use the database clock declare it.
func everySecond(id string) hourbell.Definition {
	d := hourly(id)
	d.Cron = "* * * * * *"
	return d
}

// manyHourly returns n hourly definitions with the ids s000000, s000001, ….
func manyHourly(n int) []hourbell.Definition {
	definitions := make([]hourbell.Definition, n)
	for i := range definitions {
		definitions[i] = hourly(fmt.Sprintf("s%06d", i))
	}
	return definitions
}

// newConfig returns a Config with the given definitions and clock.
func newConfig(clock *clock, definitions ...hourbell.Definition) hourbell.Config {
	return hourbell.Config{Definitions: definitions, Now: clock.Now}
}

// newReplica returns the Scheduler of one more replica on db. cfg.Jobs
// defaults to testJobs. Logs are discarded unless cfg has a logger.
func newReplica(t testing.TB, db *gorm.DB, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	return newReplicaWithStore(t, store.New(db), cfg)
}

// newReplicaWithStore is newReplica with the test's own store, such as a
// hookedStore.
func newReplicaWithStore(t testing.TB, st hourbell.Store, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	if cfg.Jobs == nil {
		cfg.Jobs = testJobs
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := hourbell.New(st, cfg)
	require.NoError(t, err)
	return s
}

// newSyncedReplica is newReplica followed by Sync.
func newSyncedReplica(t testing.TB, db *gorm.DB, cfg hourbell.Config) *hourbell.Scheduler {
	t.Helper()
	s := newReplica(t, db, cfg)
	require.NoError(t, s.Sync(t.Context()))
	return s
}

// bindStore returns a store for a test that acts as a replica itself, in the
// default namespace.
func bindStore(t testing.TB, db *gorm.DB, now func() time.Time) hourbell.Store {
	t.Helper()
	st, err := store.New(db).Bind("default", now)
	require.NoError(t, err)
	return st
}

// tick calls Tick, which must succeed.
func tick(t testing.TB, s *hourbell.Scheduler) hourbell.TickReport {
	t.Helper()
	report, err := s.Tick(t.Context())
	require.NoError(t, err)
	return report
}

// startLoop calls Run in a goroutine. stop cancels Run's context and returns
// its error. The end of the test stops it too.
func startLoop(t testing.TB, s *hourbell.Scheduler) (stop func() error) {
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

// await polls condition until it holds. After 30 seconds it fails the test.
func await(t testing.TB, description string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for: %s", description)
		}
	}
}

// shortContext returns a context for a call that must return at once, with an
// error other than the context's.
func shortContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// workerID returns the id under which s claims.
func workerID(t testing.TB, s *hourbell.Scheduler) string {
	t.Helper()
	health, err := s.Health(t.Context())
	require.NoError(t, err)
	return health.WorkerID
}

// readSchedule reads a stored schedule.
func readSchedule(t testing.TB, s *hourbell.Scheduler, id string) hourbell.Schedule {
	t.Helper()
	schedule, err := s.Schedule(t.Context(), id)
	require.NoError(t, err)
	return schedule
}

// readRuns reads the newest 1,000 runs of a schedule, newest first.
func readRuns(t testing.TB, s *hourbell.Scheduler, id string) []hourbell.JobRun {
	t.Helper()
	runs, err := s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: id, Limit: 1000})
	require.NoError(t, err)
	return runs
}

// readAllRuns reads the newest 1,000 runs of all schedules and calls, oldest
// first.
func readAllRuns(t testing.TB, s *hourbell.Scheduler) []hourbell.JobRun {
	t.Helper()
	runs := readRuns(t, s, "")
	slices.Reverse(runs)
	return runs
}

// readEvents reads the newest 1,000 events of a schedule, newest first. An
// empty kind means all kinds.
func readEvents(t testing.TB, s *hourbell.Scheduler, id string, kind hourbell.EventKind) []hourbell.Event {
	t.Helper()
	events, err := s.Events(t.Context(), hourbell.EventQuery{ScheduleID: id, Kind: kind, Limit: 1000})
	require.NoError(t, err)
	return events
}

// readWorkers reads the workers, latest start first.
func readWorkers(t testing.TB, s *hourbell.Scheduler) []hourbell.Worker {
	t.Helper()
	workers, err := s.Workers(t.Context())
	require.NoError(t, err)
	return workers
}

// firedSlots returns the slot of each cron fire among runs, in their order.
func firedSlots(runs []hourbell.JobRun) []time.Time {
	var slots []time.Time
	for _, run := range runs {
		if run.Ordinal == 0 && run.Trigger == hourbell.TriggerCron {
			slots = append(slots, run.ScheduledFor)
		}
	}
	return slots
}

// firedSlotTexts returns the fired slots of a schedule in RFC 3339, oldest
// first.
func firedSlotTexts(t testing.TB, s *hourbell.Scheduler, id string) []string {
	t.Helper()
	var texts []string
	for _, slot := range firedSlots(readRuns(t, s, id)) {
		texts = append(texts, slot.Format(time.RFC3339))
	}
	slices.Reverse(texts)
	return texts
}

// eventKinds returns the kinds of a schedule's events, oldest first.
func eventKinds(t testing.TB, s *hourbell.Scheduler, id string) []hourbell.EventKind {
	t.Helper()
	var kinds []hourbell.EventKind
	for _, e := range readEvents(t, s, id, "") {
		kinds = append(kinds, e.Kind)
	}
	slices.Reverse(kinds)
	return kinds
}

// skipTexts returns the skips of a schedule, newest first. Each reads
// "REASON from-to count", for example "LATE 13:00:00-14:00:00 2".
func skipTexts(t testing.TB, s *hourbell.Scheduler, id string) []string {
	t.Helper()
	var texts []string
	for _, e := range readEvents(t, s, id, hourbell.EventSkipped) {
		texts = append(texts, fmt.Sprintf("%s %s-%s %d", e.Reason, e.SlotFrom.Format(time.TimeOnly), e.SlotTo.Format(time.TimeOnly), e.SlotCount))
	}
	return texts
}

// tables lists hourbell's tables. The last one holds migrations and has no
// namespace.
var tables = []string{"hourbell_schedules", "hourbell_job_runs", "hourbell_events", "hourbell_workers", "hourbell_migrations"}

// clearTables deletes all rows but the migrations, so that the next case can
// use the same database.
func clearTables(t testing.TB, db *dbtest.DB) {
	t.Helper()
	for _, table := range tables[:4] {
		require.NoError(t, db.Exec("DELETE FROM "+table).Error)
	}
}

// runCases runs a subtest for each case on each kind of database. The cases
// share the database; it is cleared before each.
func runCases[Case any](t *testing.T, cases map[string]Case, test func(t *testing.T, db *dbtest.DB, c Case)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				clearTables(t, db)
				test(t, db, c)
			})
		}
	})
}

// dumpRows reads all rows of a namespace as stored, by table.
func dumpRows(t testing.TB, db *dbtest.DB, namespace string) map[string][]map[string]any {
	t.Helper()
	dump := map[string][]map[string]any{}
	for _, table := range tables[:4] {
		var rows []map[string]any
		require.NoError(t, db.Table(table).Where("namespace = ?", namespace).Order("id").Find(&rows).Error)
		dump[table] = rows
	}
	return dump
}

// requireNoWrites calls action, which must not write to the database. A write
// that leaves all values the same fails the test too.
func requireNoWrites(t testing.TB, db *dbtest.DB, action func()) {
	t.Helper()
	conn, err := db.SQL().Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	readVersions := func() string {
		var versions string
		for _, table := range tables {
			query := "SELECT coalesce(string_agg(concat_ws(' ', t.ctid, t.xmin, t.xmax, t.*), E'\n' ORDER BY t.ctid), '') FROM " + table + " t"
			if db.Dialect == "sqlite" {
				query = "PRAGMA data_version" // changes with each writing commit of another connection
			}
			var version string
			require.NoError(t, conn.QueryRowContext(t.Context(), query).Scan(&version))
			versions += table + ": " + version + "\n"
		}
		return versions
	}
	before := readVersions()
	action()
	require.Equal(t, before, readVersions(), "the database was written to")
}

// logBuffer collects log output for tests to read.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// logger returns a logger that writes text to the buffer.
func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
