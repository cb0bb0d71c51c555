package contract_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// restoredRows are statements that insert rows with the ids 1 to 1000, as a
// restore of the data alone does. The sequence does not advance.
var restoredRows = map[string]string{
	"hourbell_job_runs": `INSERT INTO hourbell_job_runs (id, namespace, job, trigger, ordinal, status, queued_at)
		SELECT n, 'default', 'old', 'API', 0, 'SUCCEEDED', '2020-01-01' FROM generate_series(1, 1000) n`,
	"hourbell_events": `INSERT INTO hourbell_events (id, namespace, kind, at)
		SELECT n, 'default', 'ENABLED', '2020-01-01' FROM generate_series(1, 1000) n`,
}

// restoreRows deletes the rows of a table, and restores other rows without the
// sequence.
func restoreRows(t testing.TB, db *gorm.DB, table string) {
	t.Helper()
	for _, statement := range []string{
		"DELETE FROM " + table, "ALTER TABLE " + table + " ALTER COLUMN id RESTART WITH 1", restoredRows[table],
	} {
		require.NoError(t, db.Exec(statement).Error)
	}
}

var repairStatement = regexp.MustCompile(`SELECT setval[^;]*`)

// requireSequenceError requires that a text names a table whose sequence is
// behind, and returns the statement that it contains.
func requireSequenceError(t testing.TB, text, table string) (repair string) {
	t.Helper()
	require.Contains(t, text, "the sequence of the ids of "+table+" is behind its rows")
	repair = repairStatement.FindString(text)
	require.Contains(t, repair, table)
	return repair
}

// requireRepairs executes the statement of an error, which operations.md has
// too.
func requireRepairs(t testing.TB, db *gorm.DB, err error, table string) {
	t.Helper()
	require.Error(t, err)
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	repair := requireSequenceError(t, err.Error(), table)
	require.NoError(t, db.Exec(repair).Error)
	if !strings.Contains(repair, `"`) { // without a schema
		document, err := os.ReadFile("../../docs/operations.md")
		require.NoError(t, err)
		require.Contains(t, string(document), repair+";\n")
	}
}

// acceptAll is an Enqueuer that accepts all runs.
type acceptAll struct{}

func (acceptAll) Enqueue(context.Context, *gorm.DB, []hourbell.JobRun) error { return nil }

// O1, E4: A sequence that is behind concerns no single schedule. The slots stay
// due and unlocked, and fire or are skipped after the repair.
func TestLaggingSequenceLosesNoSlot(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for name, c := range map[string]struct {
		table    string
		enqueuer hourbell.Enqueuer
		late     time.Duration
		options  []store.Option
	}{
		"fast path":  {table: "hourbell_job_runs"},
		"claim path": {table: "hourbell_job_runs", enqueuer: acceptAll{}},
		"skip":       {table: "hourbell_events", late: 30 * time.Minute},
		"schema":     {table: "hourbell_job_runs", options: []store.Option{store.Schema(`of "cron"`)}},
	} {
		t.Run(name, func(t *testing.T) {
			db := dbtest.Postgres(t)
			if c.options != nil {
				require.NoError(t, db.Exec(`CREATE SCHEMA "of ""cron"""`).Error)
				require.NoError(t, store.Migrate(t.Context(), db.DB, c.options...))
			}
			now := newClock(noon.Add(-time.Minute))
			log := &logBuffer{}
			cfg := newConfig(now, hourly("a"), hourly("b"), hourly("c"))
			cfg.Enqueuer, cfg.Logger = c.enqueuer, log.logger()
			s := newReplicaWithStore(t, store.New(db.DB, c.options...), cfg)
			require.NoError(t, s.Sync(t.Context()))
			tables := db.DB
			if c.options != nil {
				tables = (&dbtest.DB{DSN: db.DSN + `&search_path=%22of%20%22%22cron%22%22%22`, Dialect: db.Dialect}).Open(t, nil)
			}
			restoreRows(t, tables, c.table)
			now.Set(noon.Add(c.late))
			var err error
			for range 2 {
				var report hourbell.TickReport
				report, err = s.Tick(t.Context())
				require.ErrorContains(t, err, "fire 3 schedules", "the batch is not halved")
				require.Zero(t, report.Fired+report.Skipped+report.Failed)
			}
			for _, id := range ids {
				row := readSchedule(t, s, id)
				require.Equal(t, noon, row.NextRunAt)
				require.Zero(t, row.ConsecutiveFailures)
				require.Empty(t, row.LockedBy)
				require.Empty(t, row.LastError)
			}
			require.NotContains(t, log.String(), "enqueue failed")
			require.NotContains(t, log.String(), "already fired")

			requireRepairs(t, db.DB, err, c.table) // in a session without the search_path
			report := tick(t, s)
			for _, id := range ids {
				if c.late == 0 {
					require.Equal(t, []string{noon.Format(time.RFC3339)}, firedSlotTexts(t, s, id))
				} else {
					require.Equal(t, []string{"LATE 12:00:00-12:00:00 1"}, skipTexts(t, s, id))
				}
			}
			require.Equal(t, len(ids), report.Fired+report.Skipped)
		})
	}
}

// O1: Every call that inserts runs or events says how to repair the sequence,
// and succeeds afterwards.
func TestCallsNameLaggingSequence(t *testing.T) {
	db := dbtest.Postgres(t)
	now := newClock(noon.Add(-time.Minute))
	s := newSyncedReplica(t, db.DB, newConfig(now, hourly("a")))
	runs, events := "hourbell_job_runs", "hourbell_events"
	for _, c := range []struct {
		table, name string
		call        func() error
	}{
		{runs, "run now", func() error { return errOf(s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{})) }},
		{runs, "enqueue", func() error { return errOf(s.EnqueueJob(t.Context(), "import", hourbell.EnqueueOptions{})) }},
		{runs, "enqueue with key", func() error {
			list, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{IdempotencyKey: "key"})
			require.True(t, err != nil || len(list) == len(testJobs) && !list[0].Duplicate)
			return err
		}},
		{runs, "host transaction", func() error {
			return db.Transaction(func(tx *gorm.DB) error {
				return errOf(s.EnqueueGroup(t.Context(), "feed", hourbell.EnqueueOptions{Tx: tx}))
			})
		}},
		{events, "run now", func() error { return errOf(s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{})) }},
		{events, "enqueue", func() error { return errOf(s.EnqueueJob(t.Context(), "import", hourbell.EnqueueOptions{Actor: "ann"})) }},
		{events, "disable", func() error { return s.Disable(t.Context(), "a", ann) }},
		{events, "enable", func() error { return s.Enable(t.Context(), "a", ann) }},
		{events, "sync", func() error { return newReplica(t, db.DB, newConfig(now, hourly("a"), hourly("b"))).Sync(t.Context()) }},
	} {
		t.Run(c.table+" "+c.name, func(t *testing.T) {
			restoreRows(t, db.DB, c.table)
			requireRepairs(t, db.DB, c.call(), c.table)
			require.NoError(t, c.call())
		})
	}
}

func errOf[V any](_ V, err error) error { return err }

// O1: Run waits for the repair at its start, and in its loop.
func TestRunWaitsForSequenceRepair(t *testing.T) {
	db := dbtest.Postgres(t)
	log := &logBuffer{}
	cfg := newLoopConfig(log)
	cfg.Definitions = []hourbell.Definition{everySecond("a")}
	s := newReplica(t, db.DB, cfg)
	awaitRepair := func(table, message, then string) {
		t.Helper()
		await(t, message, func() bool {
			return strings.Contains(log.String(), message) && repairStatement.MatchString(log.String())
		})
		logged := log.String()
		require.NoError(t, db.Exec(requireSequenceError(t, logged[strings.Index(logged, message):], table)).Error)
		await(t, then, func() bool { return strings.Contains(log.String()[len(logged):], then) })
		require.NotContains(t, log.String(), "fast path failed")
		require.NotContains(t, log.String(), "enqueue failed")
	}
	restoreRows(t, db.DB, "hourbell_events")
	stop := startLoop(t, s)
	awaitRepair("hourbell_events", "hourbell: waiting for the database", "hourbell: running")
	restoreRows(t, db.DB, "hourbell_job_runs")
	awaitRepair("hourbell_job_runs", "hourbell: tick failed", "hourbell: fired")
	require.NoError(t, stop())
}

// O1, L2: A claim that is taken over fires even if its event cannot be
// inserted. The log has the statement for the repair.
func TestTakeoverFiresDespiteLaggingSequence(t *testing.T) {
	db := dbtest.Postgres(t)
	now := newClock(noon.Add(-time.Minute))
	log := &logBuffer{}
	cfg := newConfig(now, hourly("a"))
	cfg.Logger = log.logger()
	s := newSyncedReplica(t, db.DB, cfg)
	now.Set(noon)
	claim, err := bindStore(t, db.DB, now.Now).Claim(t.Context(), storage.ClaimRequest{
		Worker: "dead", Limit: 10, LockTTL: time.Minute, MaxBackoff: time.Minute, DeadAfter: 30 * time.Second, Exclude: []string{},
	})
	require.NoError(t, err)
	require.Len(t, claim.Claims, 1)
	restoreRows(t, db.DB, "hourbell_events")
	now.Advance(6 * time.Minute) // past LockTTL
	require.Equal(t, 1, tick(t, s).Fired)
	require.Contains(t, log.String(), "hourbell: recording takeovers failed")
	requireSequenceError(t, log.String(), "hourbell_events")
}
