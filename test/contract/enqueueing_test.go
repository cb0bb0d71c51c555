package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// E1: all triggers insert runs in one way. The Enqueuer gets the runs as they
// are stored.
func TestAllTriggersInsertSameRuns(t *testing.T) {
	jobsWithArgs := slices.Clone(testJobs)
	jobsWithArgs[0].Args = map[string]any{"depth": 2}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newTableEnqueuer(t, db)
		var steps []string
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.Jobs, cfg.Enqueuer = jobsWithArgs, e
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(step string) error {
			if step == "after insert-runs" {
				steps = append(steps, step)
			}
			return nil
		}}, cfg)
		require.NoError(t, s.Sync(t.Context()))
		c.Set(noon.Add(time.Hour))

		triggers := map[string]func() []hourbell.JobRun{
			"cron": func() []hourbell.JobRun {
				require.Equal(t, 3, tick(t, s).Enqueued)
				return e.calls[len(e.calls)-1]
			},
		}
		for name, enqueue := range enqueueCalls {
			triggers[name] = func() []hourbell.JobRun {
				runs, err := enqueue.call(t.Context(), s, hourbell.EnqueueOptions{})
				require.NoError(t, err)
				return runs
			}
		}
		var cronRuns []hourbell.JobRun
		for _, name := range []string{"cron", "RunNow", "EnqueueAll", "EnqueueGroup", "EnqueueJob"} {
			steps = nil
			returned := triggers[name]()
			require.NotEmpty(t, steps, name)
			require.Equal(t, e.calls[len(e.calls)-1], returned, "%s: the Enqueuer gets the returned runs", name)
			stored := readAllRuns(t, s)
			stored = stored[len(stored)-len(returned):]
			for i := range stored {
				require.NotZero(t, stored[i].ID)
				if len(returned[i].Args) > 0 {
					require.JSONEq(t, string(returned[i].Args), string(stored[i].Args))
					stored[i].Args = returned[i].Args // Postgres may store other whitespace
				}
				require.Equal(t, returned[i], stored[i], "%s: the stored runs are the returned ones", name)
				// These fields differ between triggers. All others must be
				// equal.
				stored[i].ID, stored[i].Trigger, stored[i].ScheduleID, stored[i].ScheduledFor = 0, "", "", time.Time{}
			}
			switch name {
			case "cron":
				cronRuns = stored
				require.Equal(t, hourbell.JobRun{
					Namespace: "default", Job: "import", Group: "feed", Status: hourbell.RunQueued, QueuedAt: noon.Add(time.Hour), Args: []byte(`{"depth":2}`),
				}, stored[0])
			case "EnqueueGroup":
				require.Equal(t, cronRuns[:2], stored)
			case "EnqueueJob":
				cronRuns[2].Ordinal = 0
				require.Equal(t, cronRuns[2:], stored)
			default:
				require.Equal(t, cronRuns, stored)
			}
		}
		count := func(trigger hourbell.Trigger, id string) int {
			runs, err := s.Runs(t.Context(), hourbell.RunQuery{Trigger: trigger, ScheduleID: id})
			require.NoError(t, err)
			return len(runs)
		}
		require.Equal(t, []int{3, 3, 6, 0}, []int{count(hourbell.TriggerCron, "a"), count(hourbell.TriggerManual, "a"), count(hourbell.TriggerAPI, ""), count(hourbell.TriggerAPI, "a")})
	})
}

// E2: a cron fire inserts all jobs of the target or none, whichever step fails.
func TestFireIsAtomic(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newTableEnqueuer(t, db)
		for i, step := range []string{
			"before advance", "after advance", "first after insert-runs", "second before insert-runs", "second after insert-runs",
			"Enqueuer", "before commit",
		} {
			c := newClock(noon)
			inserts, armed, failed := 0, false, false
			e.fail = func([]hourbell.JobRun) error {
				if armed && step == "Enqueuer" {
					failed = true
					return errEnqueuer
				}
				return nil
			}
			cfg := newConfig(c, hourlyAllJobs("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("case-%d", i)
			s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(reached string) error {
				if reached == "before insert-runs" {
					inserts++
				}
				numbered := map[int]string{1: "first ", 2: "second "}[inserts] + reached
				if armed && !failed && (reached == step || numbered == step) {
					failed = true
					return errEnqueuer
				}
				return nil
			}}, cfg)
			require.NoError(t, s.Sync(t.Context()))
			c.Set(noon.Add(time.Hour))
			before := readEnqueuedKeys(t, db)

			armed = true
			report := tick(t, s)
			armed = false
			require.True(t, failed, step)
			require.Equal(t, []int{0, 0, 1}, []int{report.Fired, report.Enqueued, report.Failed}, step)
			require.Empty(t, readRuns(t, s, "a"), step)
			require.Equal(t, before, readEnqueuedKeys(t, db), "%s: the Enqueuer's writes are in the same transaction", step)
			require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").NextRunAt, step)
			require.Zero(t, readSchedule(t, s, "a").LastScheduledFor, step)

			c.Advance(time.Second)
			require.Equal(t, 3, tick(t, s).Enqueued, step)
			require.Len(t, readRuns(t, s, "a"), 3, step)
			require.Equal(t, []time.Time{noon.Add(time.Hour)}, firedSlots(readRuns(t, s, "a")), step)
			require.Len(t, readEnqueuedKeys(t, db), len(before)+3)
		}
	})
}

// E3: the host's transaction commits or rolls back the runs of a call. That
// holds with and without prepared statements.
func TestHostTransactionDecidesEnqueue(t *testing.T) {
	errHost := errors.New("the host rolls back")
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newTableEnqueuer(t, db)
		for _, prepared := range []bool{false, true} {
			host := db.Open(t, &gorm.Config{PrepareStmt: prepared})
			cfg := newConfig(newClock(noon), hourlyAllJobs("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("prepared-%v", prepared)
			s := newSyncedReplica(t, host, cfg)
			for name, enqueue := range enqueueCalls {
				before := dumpRows(t, db, cfg.Namespace)
				keysBefore := len(readEnqueuedKeys(t, db))
				require.ErrorIs(t, host.Transaction(func(tx *gorm.DB) error {
					runs, err := enqueue.call(t.Context(), s, hourbell.EnqueueOptions{Tx: tx, Actor: ann.Actor, Note: ann.Note})
					require.NoError(t, err)
					require.Len(t, runs, len(enqueue.jobs))
					return errHost
				}), errHost)
				require.Equal(t, before, dumpRows(t, db, cfg.Namespace), "%s: the rollback removed all rows", name)
				require.Len(t, readEnqueuedKeys(t, db), keysBefore)

				var runs []hourbell.JobRun
				require.NoError(t, host.Transaction(func(tx *gorm.DB) (err error) {
					runs, err = enqueue.call(t.Context(), s, hourbell.EnqueueOptions{Tx: tx, Actor: ann.Actor, Note: ann.Note})
					return err
				}))
				stored := readAllRuns(t, s)
				require.Equal(t, sortedKeys(runs), sortedKeys(stored[len(stored)-len(enqueue.jobs):]), name)
				require.Subset(t, readEnqueuedKeys(t, db), sortedKeys(runs), name)
				require.Len(t, readEnqueuedKeys(t, db), keysBefore+len(enqueue.jobs))
			}
		}
	})
}

// E3: a failed call leaves the host's transaction usable and writes nothing.
func TestFailedCallKeepsHostTransactionUsable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.NoError(t, db.Exec("CREATE TABLE host_orders (n integer)").Error)
		e := newTableEnqueuer(t, db)
		for i, gormConfig := range []*gorm.Config{{}, {PrepareStmt: true}, {DisableNestedTransaction: true}} {
			host := db.Open(t, gormConfig)
			cfg := newConfig(newClock(noon), hourlyAllJobs("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("case-%d", i)
			s := newSyncedReplica(t, host, cfg)
			_, err := s.EnqueueJob(t.Context(), "import", hourbell.EnqueueOptions{IdempotencyKey: "used"})
			require.NoError(t, err)
			before := dumpRows(t, db, cfg.Namespace)

			e.fail = func(runs []hourbell.JobRun) error {
				if runs[0].Job == "report" {
					return errEnqueuer
				}
				return nil
			}
			require.NoError(t, host.Transaction(func(tx *gorm.DB) error {
				options := hourbell.EnqueueOptions{Tx: tx}
				require.NoError(t, tx.Exec("INSERT INTO host_orders VALUES (1)").Error)
				_, err := s.EnqueueJob(t.Context(), "report", options)
				require.ErrorIs(t, err, errEnqueuer)
				_, err = s.EnqueueJob(t.Context(), "nap", options)
				require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
				_, err = s.RunNow(t.Context(), "none", options)
				require.ErrorIs(t, err, hourbell.ErrUnknownSchedule)
				options.IdempotencyKey = "used"
				_, err = s.RunNow(t.Context(), "a", options)
				require.ErrorIs(t, err, hourbell.ErrKeyReused)
				return tx.Exec("INSERT INTO host_orders VALUES (2)").Error
			}))
			e.fail = nil
			require.Equal(t, before, dumpRows(t, db, cfg.Namespace))
			var orders int64
			require.NoError(t, db.Table("host_orders").Count(&orders).Error)
			require.EqualValues(t, 2*(i+1), orders)
		}
	})
}

// E3: a Tx outside a transaction is rejected, because the host could not roll
// back what is enqueued through it.
func TestEnqueueRejectsTxWithoutTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a")))
		requireNoWrites(t, db, func() {
			for name, enqueue := range enqueueCalls {
				_, err := enqueue.call(t.Context(), s, hourbell.EnqueueOptions{Tx: db.DB})
				require.ErrorContains(t, err, "not an open transaction", name)
			}
		})
	})
}

// E4: a failed fire is recorded on the row, as an event, in the report and in
// the log. The unfinished claim stays, and the next attempt fires the same
// slot.
func TestFailedFireIsRecordedAndRetried(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c, log := newClock(noon), &logBuffer{}
		e := newTableEnqueuer(t, db)
		e.fail = func([]hourbell.JobRun) error { return errEnqueuer }
		var reports []hourbell.TickReport
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.Enqueuer, cfg.Logger = e, log.logger()
		cfg.OnTick = func(r hourbell.TickReport) { reports = append(reports, r) }
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)

		a := readSchedule(t, s, "a")
		require.Equal(t, noon.Add(time.Hour), a.NextRunAt)
		require.Equal(t, noon.Add(time.Hour), a.UnfinishedSince)
		require.Equal(t, noon.Add(time.Hour+time.Second), a.RetryAt)
		require.Equal(t, 1, a.ConsecutiveFailures)
		require.Equal(t, "engine unavailable", a.LastError)
		require.Empty(t, a.LockedBy)
		require.Zero(t, a.LastRunAt)
		require.Zero(t, a.LastScheduledFor)
		require.Equal(t, a.CreatedAt, a.SettledThrough)
		require.Empty(t, readRuns(t, s, "a"))
		require.Empty(t, readEnqueuedKeys(t, db))
		failed := readEvents(t, s, "a", hourbell.EventEnqueueFailed)
		require.Len(t, failed, 1)
		require.Equal(t, "engine unavailable", failed[0].Detail)
		require.Len(t, reports, 1)
		require.Equal(t, []int{1, 0, 0}, []int{reports[0].Failed, reports[0].Fired, reports[0].Enqueued})
		require.Equal(t, a.RetryAt, reports[0].WakeAt)
		require.Contains(t, log.String(), `level=ERROR msg="hourbell: enqueue failed" schedule=a attempt=1 retry=1s error="engine unavailable"`)

		e.fail = nil
		require.Zero(t, tick(t, s).Claimed, "no retry during the backoff")
		c.Set(a.RetryAt)
		require.Equal(t, 1, tick(t, s).Fired)
		a = readSchedule(t, s, "a")
		require.Equal(t, []time.Time{noon.Add(time.Hour)}, firedSlots(readRuns(t, s, "a")))
		require.Zero(t, a.ConsecutiveFailures)
		require.Empty(t, a.LastError)
		require.Zero(t, a.UnfinishedSince)
		require.Zero(t, a.RetryAt)
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// E4: a slot whose attempts fail until it is out of grace still fires once the
// Enqueuer works.
func TestUnfinishedSlotFiresOutOfGrace(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newTableEnqueuer(t, db)
		e.fail = func([]hourbell.JobRun) error { return errEnqueuer }
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.Enqueuer = e
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		for c.Now().Before(noon.Add(time.Hour + 20*time.Minute)) {
			require.Equal(t, 1, tick(t, s).Failed)
			c.Set(readSchedule(t, s, "a").RetryAt)
		}
		e.fail = nil
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{noon.Add(time.Hour)}, firedSlots(readRuns(t, s, "a")))
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// E4: the backoff doubles from a second to the poll interval. It ends at the
// next slot at the latest.
func TestBackoffDoublesAndEndsAtNextSlot(t *testing.T) {
	often := hourly("a")
	often.Cron = "*/5 * * * * *"
	type backoffCase struct {
		definition hourbell.Definition
		seconds    []time.Duration
	}
	runCases(t, map[string]backoffCase{
		"rare schedule":     {hourly("a"), []time.Duration{1, 2, 4, 8, 10, 10}},
		"frequent schedule": {often, []time.Duration{1, 2, 2, 5, 5}},
	}, func(t *testing.T, db *dbtest.DB, test backoffCase) {
		c := newClock(noon)
		cfg := newConfig(c, test.definition)
		cfg.PollInterval = 10 * time.Second
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return errEnqueuer })
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(readSchedule(t, s, "a").NextRunAt)
		var seconds []time.Duration
		for range test.seconds {
			require.Equal(t, 1, tick(t, s).Failed)
			retryAt := readSchedule(t, s, "a").RetryAt
			seconds = append(seconds, retryAt.Sub(c.Now())/time.Second)
			c.Set(retryAt.Add(-time.Millisecond))
			require.Zero(t, tick(t, s).Claimed)
			c.Set(retryAt)
		}
		require.Equal(t, test.seconds, seconds)
	})
}

// E4: a failing schedule does not stop the others of its batch. It gets its own
// transaction until it succeeds.
func TestFailingScheduleDoesNotBlockBatch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newTableEnqueuer(t, db)
		isFailing := func(run hourbell.JobRun) bool { return run.ScheduleID == "s17" }
		e.fail = func(runs []hourbell.JobRun) error {
			if slices.ContainsFunc(runs, isFailing) {
				return errEnqueuer
			}
			return nil
		}
		var definitions []hourbell.Definition
		for i := range 50 {
			definitions = append(definitions, hourly(fmt.Sprintf("s%02d", i)))
		}
		cfg := newConfig(c, definitions...)
		cfg.Enqueuer = e
		s := newSyncedReplica(t, db.DB, cfg)
		takeBatchSizes := func() (sizes []int) {
			for _, call := range e.calls {
				sizes = append(sizes, len(call))
			}
			e.calls = nil
			return sizes
		}

		c.Set(noon.Add(time.Hour))
		report := tick(t, s)
		require.Equal(t, []int{49, 1}, []int{report.Fired, report.Failed})
		require.Empty(t, readRuns(t, s, "s17"))
		require.LessOrEqual(t, len(takeBatchSizes()), 13, "halving isolates it in few attempts")

		c.Set(noon.Add(2 * time.Hour))
		report = tick(t, s)
		require.Equal(t, []int{49, 1}, []int{report.Fired, report.Failed})
		require.Equal(t, []int{49, 1}, takeBatchSizes(), "the others in one batch, then it alone")

		e.fail = nil
		c.Set(noon.Add(3 * time.Hour))
		require.Equal(t, 50, tick(t, s).Fired)
		require.Equal(t, []int{49, 1}, takeBatchSizes())
		c.Set(noon.Add(4 * time.Hour))
		require.Equal(t, 50, tick(t, s).Fired)
		require.Equal(t, []int{50}, takeBatchSizes(), "after its success it is in the common batch again")
		require.Len(t, readRuns(t, s, "s00"), 4)
		require.Equal(t, []time.Time{noon.Add(4 * time.Hour), noon.Add(3 * time.Hour)}, firedSlots(readRuns(t, s, "s17")))
	})
}

// E4: a panic of the Enqueuer is a failure, in the loop and in calls.
func TestEnqueuerPanicIsFailure(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { panic("boom") })
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Failed)
		require.Contains(t, readSchedule(t, s, "a").LastError, "boom")
		for name, enqueue := range enqueueCalls {
			_, err := enqueue.call(t.Context(), s, hourbell.EnqueueOptions{})
			require.ErrorContains(t, err, "panicked: boom", name)
		}
		require.Empty(t, readAllRuns(t, s))
	})
}

// E4, O2: the loop stops waiting for an Enqueuer that exceeds its deadline. The
// Enqueuer can no longer write.
func TestEnqueuerIsAbandonedAfterDeadline(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		require.NoError(t, db.Exec("CREATE TABLE engine_jobs (key text)").Error)
		release, lateWrite := make(chan struct{}), make(chan error, 1)
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.LockTTL = 2 * time.Second // the deadline is half of it
		cfg.Enqueuer = enqueuerFunc(func(_ context.Context, tx *gorm.DB, _ []hourbell.JobRun) error {
			<-release // ignores its context
			lateWrite <- tx.Exec("INSERT INTO engine_jobs (key) VALUES ('late')").Error
			return nil
		})
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		start := time.Now()
		require.Equal(t, 1, tick(t, s).Failed)
		require.Less(t, time.Since(start), 5*time.Second)
		require.Contains(t, readSchedule(t, s, "a").LastError, "deadline")
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").UnfinishedSince)
		require.NotZero(t, readSchedule(t, s, "a").RetryAt)

		close(release)
		require.Error(t, <-lateWrite)
		require.Empty(t, readEnqueuedKeys(t, db))
		require.Empty(t, readAllRuns(t, s))
	})
}

// E5: a run stores its slot, which differs from the time at which it is
// enqueued. Its key contains the slot in UTC.
func TestRunStoresSlotAndKey(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourlyAllJobs("billing/sweep")
		d.Cron, d.TimeZone = "30 15 * * *", "Europe/Berlin"
		cfg := newConfig(c, d)
		cfg.Namespace = "shop"
		s := newSyncedReplica(t, db.DB, cfg)
		slot := time.Date(2026, 6, 1, 13, 30, 0, 0, time.UTC)
		c.Set(slot.Add(42*time.Second + 123*time.Millisecond).In(berlin))
		tick(t, s)

		runs := readRuns(t, s, "billing/sweep")
		require.Equal(t, []string{
			"shop/billing/sweep@2026-06-01T13:30:00Z/import", "shop/billing/sweep@2026-06-01T13:30:00Z/publish",
			"shop/billing/sweep@2026-06-01T13:30:00Z/report",
		}, sortedKeys(runs))
		for _, run := range runs {
			require.Equal(t, slot, run.ScheduledFor)
			require.Equal(t, slot.Add(42*time.Second+123*time.Millisecond), run.QueuedAt)
			local := run
			local.ScheduledFor = run.ScheduledFor.In(berlin)
			require.Equal(t, run.Key(), local.Key())
		}
		require.Equal(t, slot, readSchedule(t, s, "billing/sweep").LastScheduledFor)
		require.Equal(t, runs[0].QueuedAt, readSchedule(t, s, "billing/sweep").LastRunAt)
	})
}

// E5: a run has the same key in every attempt, by any replica. No two runs
// share a key.
func TestKeysAreStableAcrossAttempts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newTableEnqueuer(t, db)
		e.fail = func([]hourbell.JobRun) error { return errEnqueuer }
		cfg := newConfig(c, hourlyAllJobs("a"))
		cfg.Enqueuer = e
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)
		c.Advance(time.Minute)
		tick(t, newReplica(t, db.DB, cfg))
		e.fail = nil
		c.Advance(time.Minute)
		tick(t, s)
		require.Len(t, e.calls, 3)
		require.Equal(t, sortedKeys(e.calls[0]), sortedKeys(e.calls[1]))
		require.Equal(t, sortedKeys(e.calls[0]), sortedKeys(e.calls[2]))
		require.Equal(t, sortedKeys(e.calls[0]), readEnqueuedKeys(t, db))

		for range 2 {
			for name, enqueue := range enqueueCalls {
				_, err := enqueue.call(t.Context(), s, hourbell.EnqueueOptions{})
				require.NoError(t, err, name)
			}
		}
		c.Set(noon.Add(2 * time.Hour))
		tick(t, s)
		keys := sortedKeys(readAllRuns(t, s))
		require.Len(t, slices.Compact(slices.Clone(keys)), len(keys))
	})
}

// E6: RunNow works on a disabled schedule, does not write its row, and leaves
// an event with actor and note.
func TestRunNowWorksOnDisabledAndKeepsRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		off := hourlyAllJobs("off")
		off.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, hourlyAllJobs("on"), off))
		c.Set(noon.Add(90 * time.Minute)) // a slot of "on" is due
		readVersions := func() string {
			query := "SELECT string_agg(concat_ws(' ', t.ctid, t.xmin, t.xmax, t.*), E'\n' ORDER BY id) FROM hourbell_schedules t"
			if db.Dialect == "sqlite" {
				query = "SELECT group_concat(quote(next_run_at) || quote(version) || quote(updated_at) || quote(last_run_at) || quote(settled_through) || quote(enabled)) FROM hourbell_schedules"
			}
			var text string
			require.NoError(t, db.Raw(query).Scan(&text).Error)
			return text
		}
		versions, rows := readVersions(), dumpRows(t, db, "default")["hourbell_schedules"]
		for _, id := range []string{"on", "off"} {
			runs, err := s.RunNow(t.Context(), id, hourbell.EnqueueOptions{Actor: ann.Actor, Note: ann.Note})
			require.NoError(t, err)
			require.Len(t, runs, 3)
			for i, run := range runs {
				require.Equal(t, []any{hourbell.TriggerManual, id, "ann", i, true}, []any{run.Trigger, run.ScheduleID, run.Actor, run.Ordinal, run.ScheduledFor.IsZero()})
			}
			events := readEvents(t, s, id, hourbell.EventRunNow)
			require.Len(t, events, 1)
			require.Equal(t, []string{"ann", "because", "3 runs of all jobs"}, []string{events[0].Actor, events[0].Note, events[0].Detail})
		}
		require.Equal(t, versions, readVersions())
		require.Equal(t, rows, dumpRows(t, db, "default")["hourbell_schedules"])
	})
}

// E6: arguments of a call replace the default arguments of all jobs. Without
// them the defaults stay.
func TestArgsOfCallReplaceDefaults(t *testing.T) {
	jobsWithArgs := []hourbell.Job{{Name: "import", Args: map[string]any{"depth": 2}}, {Name: "report"}}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := newConfig(newClock(noon), hourlyAllJobs("a"))
		cfg.Jobs = jobsWithArgs
		s := newSyncedReplica(t, db.DB, cfg)
		runNowArgs := func(options hourbell.EnqueueOptions) (args []string) {
			_, err := s.RunNow(t.Context(), "a", options)
			require.NoError(t, err)
			stored := readAllRuns(t, s)
			for _, run := range stored[len(stored)-2:] {
				args = append(args, strings.ReplaceAll(string(run.Args), " ", ""))
			}
			return args
		}
		require.Equal(t, []string{`{"depth":2}`, ""}, runNowArgs(hourbell.EnqueueOptions{}))
		require.Equal(t, []string{`[7,"x"]`, `[7,"x"]`}, runNowArgs(hourbell.EnqueueOptions{Args: []any{7, "x"}}))
		require.Equal(t, []string{"9007199254740993", "9007199254740993"}, runNowArgs(hourbell.EnqueueOptions{Args: int64(1<<53 + 1)}))
	})
}

// E6: a repeated key writes nothing and returns the same runs, from any
// replica.
func TestRepeatedKeyReturnsSameRuns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := newConfig(c, hourlyAllJobs("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		for name, enqueue := range enqueueCalls {
			options := hourbell.EnqueueOptions{Actor: ann.Actor, Note: ann.Note, IdempotencyKey: "order 7, " + name, Args: "x"}
			first, err := enqueue.call(t.Context(), s, options)
			require.NoError(t, err)
			require.Len(t, first, len(enqueue.jobs))
			for i := range first {
				require.False(t, first[i].Duplicate)
				first[i].Duplicate = true // as repeated calls return them
			}
			c.Advance(time.Minute)
			other := newReplica(t, db.DB, cfg)
			requireNoWrites(t, db, func() {
				for range 3 {
					again, err := enqueue.call(t.Context(), other, options)
					require.NoError(t, err)
					require.Equal(t, first, again, name)
				}
			})
			options.IdempotencyKey = "order 8, " + name
			another, err := enqueue.call(t.Context(), s, options)
			require.NoError(t, err)
			require.NotEqual(t, first[0].ID, another[0].ID)
		}
	})
}

// E6: a repeated key returns the runs with their current status.
func TestRepeatedKeyReturnsFinishedRuns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a")))
		options := hourbell.EnqueueOptions{IdempotencyKey: "k"}
		_, err := s.EnqueueJob(t.Context(), "import", options)
		require.NoError(t, err)
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w"})
		require.NoError(t, err)
		require.NoError(t, s.FinishRun(t.Context(), taken[0], nil))
		again, err := s.EnqueueJob(t.Context(), "import", options)
		require.NoError(t, err)
		require.Equal(t, hourbell.RunSucceeded, again[0].Status)
	})
}

// E6: of many concurrent requests with one key, one enqueues. All get its runs.
func TestConcurrentRequestsWithOneKeyEnqueueOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newTableEnqueuer(t, db)
		cfg := newConfig(newClock(noon), hourlyAllJobs("a"))
		cfg.Enqueuer = e
		s := newSyncedReplica(t, db.DB, cfg)
		const requests = 50
		results := make([][]hourbell.JobRun, requests)
		errs := make([]error, requests)
		var done sync.WaitGroup
		for i := range requests {
			done.Go(func() {
				results[i], errs[i] = s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{Actor: ann.Actor, Note: ann.Note, IdempotencyKey: "k"})
			})
		}
		done.Wait()
		for i := range requests {
			require.NoError(t, errs[i])
			require.Equal(t, sortedKeys(results[0]), sortedKeys(results[i]))
			require.Equal(t, results[0][0].ID, results[i][0].ID)
		}
		require.Len(t, readAllRuns(t, s), 3)
		require.Len(t, readEnqueuedKeys(t, db), 3)
		require.Len(t, readEvents(t, s, "a", hourbell.EventRunNow), 1)
	})
}

// E6: a key that was used for one target is refused for every other target,
// including one with the same jobs.
func TestKeyOfOtherTargetIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		sameJobs := hourlyAllJobs("b")
		oneJob := hourly("c")
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a"), sameJobs, oneJob))
		type request func(hourbell.EnqueueOptions) ([]hourbell.JobRun, error)
		requests := map[string]request{
			"schedule a": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.RunNow(ctx, "a", o) },
			"schedule b": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.RunNow(ctx, "b", o) },
			"schedule c": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.RunNow(ctx, "c", o) },
			"all jobs":   func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.EnqueueAll(ctx, o) },
			"group feed": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.EnqueueGroup(ctx, "feed", o) },
			"job import": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.EnqueueJob(ctx, "import", o) },
			"job report": func(o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) { return s.EnqueueJob(ctx, "report", o) },
		}
		for first, enqueue := range requests {
			options := hourbell.EnqueueOptions{IdempotencyKey: "used for " + first}
			_, err := enqueue(options)
			require.NoError(t, err)
			requireNoWrites(t, db, func() {
				for second, enqueueAgain := range requests {
					if second == first {
						continue
					}
					_, err := enqueueAgain(options)
					require.ErrorIs(t, err, hourbell.ErrKeyReused, "%s after %s", second, first)
					require.ErrorContains(t, err, options.IdempotencyKey)
				}
			})
		}
	})
}

// E6: two targets without a common job cannot use the same key concurrently.
// The unique index alone would not prevent it.
func TestConcurrentKeyOfOtherTargetIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a")))
		for i := range 15 {
			key := fmt.Sprintf("k%d", i)
			start := make(chan struct{})
			errs := make([]error, 4)
			var done sync.WaitGroup
			for j := range errs {
				done.Go(func() {
					<-start
					_, errs[j] = s.EnqueueJob(t.Context(), []string{"import", "report"}[j%2], hourbell.EnqueueOptions{IdempotencyKey: key})
				})
			}
			close(start)
			done.Wait()
			// Two requests name the same job: both succeed or both are refused.
			refused := 0
			for j, err := range errs {
				require.Equal(t, err == nil, errs[(j+2)%4] == nil)
				if err != nil {
					require.ErrorIs(t, err, hourbell.ErrKeyReused)
					refused++
				}
			}
			require.Equal(t, 2, refused)
			require.Len(t, readAllRuns(t, s), i+1)
		}
	})
}

// E6: an invalid request returns an error that names the problem. It writes
// nothing.
func TestEnqueueNamesInvalidRequest(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a")))
		var noOptions hourbell.EnqueueOptions
		requireNoWrites(t, db, func() {
			for _, job := range []string{"nap", "", "Import"} {
				_, err := s.EnqueueJob(ctx, job, noOptions)
				require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
				require.ErrorContains(t, err, fmt.Sprintf("%q", job))
			}
			for _, group := range []string{"none", "", "Feed"} {
				_, err := s.EnqueueGroup(ctx, group, noOptions)
				require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
				require.ErrorContains(t, err, fmt.Sprintf("%q", group))
			}
			for message, options := range map[string]hourbell.EnqueueOptions{
				"key":  {IdempotencyKey: strings.Repeat("k", 201)},
				"U+":   {IdempotencyKey: "a\nb"},
				"UTF":  {IdempotencyKey: "\xff"},
				"args": {Args: func() {}},
				"NUL":  {Args: "\x00"},
			} {
				for name, enqueue := range enqueueCalls {
					_, err := enqueue.call(ctx, s, options)
					require.ErrorContains(t, err, message, name)
				}
			}
		})
	})
}

// newReplicaWithQueuedRuns returns a replica with schedule "a" and one queued
// run of each job.
func newReplicaWithQueuedRuns(t *testing.T, db *dbtest.DB, c *clock) *hourbell.Scheduler {
	t.Helper()
	s := newSyncedReplica(t, db.DB, newConfig(c, hourlyAllJobs("a")))
	_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	return s
}

// takeRuns calls TakeRuns, which must succeed.
func takeRuns(t *testing.T, s *hourbell.Scheduler, request hourbell.TakeRequest) []hourbell.JobRun {
	t.Helper()
	runs, err := s.TakeRuns(t.Context(), request)
	require.NoError(t, err)
	return runs
}

// E7: TakeRuns leases the oldest run, ExtendRun extends the lease, and
// FinishRun ends it.
func TestRunIsTakenExtendedAndFinished(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := newReplicaWithQueuedRuns(t, db, c)
		c.Advance(time.Minute)
		runs := takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w1"})
		require.Equal(t, []string{"import"}, jobNames(runs), "the default limit is one")
		run := runs[0]
		require.Equal(t, []any{hourbell.RunRunning, "w1", 1}, []any{run.Status, run.LeasedBy, run.Attempt})
		require.Equal(t, c.Now(), run.StartedAt)
		require.Equal(t, c.Now().Add(5*time.Minute), run.LeasedUntil)

		c.Advance(4 * time.Minute)
		require.NoError(t, s.ExtendRun(ctx, run, time.Hour))
		c.Advance(59 * time.Minute)
		require.Equal(t, []string{"publish", "report"}, jobNames(takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w2", Limit: 10})))
		require.NoError(t, s.FinishRun(ctx, run, nil))

		finished := readAllRuns(t, s)[0]
		require.Equal(t, hourbell.RunSucceeded, finished.Status)
		require.Equal(t, c.Now(), finished.FinishedAt)
		require.Zero(t, finished.LeasedUntil)
		require.Empty(t, finished.Error)
	})
}

// E7: a failed run stores its error, with invalid text replaced.
func TestFailedRunStoresError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newReplicaWithQueuedRuns(t, db, c)
		for _, run := range takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 10}) {
			require.NoError(t, s.FinishRun(t.Context(), run, errors.New("bytes \xff\x00 from "+run.Job)))
		}
		for _, run := range readAllRuns(t, s) {
			require.Equal(t, hourbell.RunFailed, run.Status)
			require.Equal(t, "bytes \uFFFD\uFFFD from "+run.Job, run.Error)
		}
		c.Advance(24 * time.Hour)
		require.Empty(t, takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 10}), "finished runs are not taken again")
	})
}

// FinishRun stores the first 1,000 characters of an error.
func TestFailedRunTruncatesLongError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplicaWithQueuedRuns(t, db, newClock(noon))
		run := takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w"})[0]
		require.NoError(t, s.FinishRun(t.Context(), run, errors.New(strings.Repeat("é", 5000))))
		for _, stored := range readAllRuns(t, s) {
			if stored.ID == run.ID {
				require.Equal(t, strings.Repeat("é", 1000)+"…", stored.Error)
			}
		}
	})
}

// E7: after its lease a run may be taken again, with attempt incremented. The
// previous holder can then neither extend nor finish it.
func TestRunIsTakenAgainAfterLease(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := newReplicaWithQueuedRuns(t, db, c)
		request := hourbell.TakeRequest{LeasedBy: "w", Jobs: []string{"import"}, Lease: time.Minute}
		first := takeRuns(t, s, request)[0]
		c.Advance(time.Minute - time.Microsecond)
		require.Empty(t, takeRuns(t, s, request))
		c.Advance(time.Microsecond)
		second := takeRuns(t, s, request)[0] // by the same worker, so only the attempt differs
		require.Equal(t, first.ID, second.ID)
		require.Equal(t, 2, second.Attempt)

		requireNoWrites(t, db, func() {
			for _, err := range []error{
				s.FinishRun(ctx, first, nil), s.FinishRun(ctx, first, errors.New("late")), s.ExtendRun(ctx, first, time.Hour),
			} {
				require.ErrorIs(t, err, hourbell.ErrLeaseLost)
				require.ErrorContains(t, err, fmt.Sprintf("run %d", first.ID))
			}
		})
		otherWorker := second
		otherWorker.LeasedBy = "other"
		require.ErrorIs(t, s.FinishRun(ctx, otherWorker, nil), hourbell.ErrLeaseLost)
		require.NoError(t, s.FinishRun(ctx, second, nil))
		require.ErrorIs(t, s.FinishRun(ctx, second, nil), hourbell.ErrLeaseLost)
		require.ErrorIs(t, s.ExtendRun(ctx, second, time.Hour), hourbell.ErrLeaseLost)
	})
}

// E7: FinishRun works after the end of the lease, until another worker takes
// the run.
func TestLateFinishCountsBeforeSecondTake(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newReplicaWithQueuedRuns(t, db, c)
		run := takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w"})[0]
		c.Advance(24 * time.Hour)
		require.NoError(t, s.FinishRun(t.Context(), run, nil))
	})
}

// E7: TakeRuns takes only runs of the named jobs.
func TestTakeRunsTakesOnlyNamedJobs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplicaWithQueuedRuns(t, db, newClock(noon))
		_, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 10, Jobs: []string{"nap", ""}})
		require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
		require.Equal(t, []string{"import", "report"}, jobNames(takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 10, Jobs: []string{"report", "import"}})))
		require.Equal(t, []string{"publish"}, jobNames(takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 10})))
	})
}

// E7: concurrent TakeRuns calls never return the same run. Together they return
// all.
func TestConcurrentTakesNeverShareRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplicaWithQueuedRuns(t, db, newClock(noon))
		for range 39 {
			_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
			require.NoError(t, err)
		}
		taken := make([][]int64, 8)
		errs := make([]error, len(taken))
		var done sync.WaitGroup
		for i := range taken {
			done.Go(func() {
				for {
					runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: fmt.Sprintf("w%d", i), Limit: 1})
					if err != nil || len(runs) == 0 {
						errs[i] = err
						return
					}
					for _, run := range runs {
						taken[i] = append(taken[i], run.ID)
					}
				}
			})
		}
		done.Wait()
		require.NoError(t, errors.Join(errs...))
		// A worker may stop early because it skips locked runs. The last one
		// takes the rest.
		all := slices.Concat(taken...)
		slices.Sort(all)
		require.Len(t, all, 120)
		require.Len(t, slices.Compact(all), 120)
		for _, run := range readAllRuns(t, s) {
			require.Equal(t, 1, run.Attempt)
		}
	})
}

// E7: TakeRuns skips runs that another transaction has locked.
func TestTakeRunsSkipsLockedRuns(t *testing.T) {
	db := dbtest.Postgres(t) // SQLite has a single writer
	s := newReplicaWithQueuedRuns(t, db, newClock(noon))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT id FROM hourbell_job_runs WHERE job = 'import' FOR UPDATE").Error)
		runs, err := s.TakeRuns(shortContext(t), hourbell.TakeRequest{LeasedBy: "w", Limit: 2})
		require.NoError(t, err)
		require.Equal(t, []string{"publish", "report"}, jobNames(runs))
		return nil
	}))
	require.Equal(t, []string{"import"}, jobNames(takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 10})))
}

// E7: an invalid request returns an error that names the problem. It takes no
// run.
func TestTakeRunsRejectsInvalidRequest(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplicaWithQueuedRuns(t, db, newClock(noon))
		run := hourbell.JobRun{ID: 1, LeasedBy: "w", Attempt: 1}
		requireNoWrites(t, db, func() {
			for message, request := range map[string]hourbell.TakeRequest{
				"LeasedBy is empty":        {},
				"Limit -1 is not in":       {LeasedBy: "w", Limit: -1},
				"Limit 1001 is not in":     {LeasedBy: "w", Limit: 1001},
				"Lease -1ns is negative":   {LeasedBy: "w", Lease: -1},
				"Lease -1m0s is negative":  {LeasedBy: "w", Lease: -time.Minute},
				"take runs: Limit -5 is n": {LeasedBy: "w", Limit: -5},
			} {
				_, err := s.TakeRuns(t.Context(), request)
				require.ErrorContains(t, err, message)
			}
			for _, lease := range []time.Duration{0, -time.Second} {
				require.ErrorContains(t, s.ExtendRun(t.Context(), run, lease), "not positive")
			}
			require.ErrorIs(t, s.FinishRun(t.Context(), run, nil), hourbell.ErrLeaseLost, "the run was never taken")
			require.ErrorIs(t, s.FinishRun(t.Context(), hourbell.JobRun{ID: 999}, nil), hourbell.ErrLeaseLost, "the run does not exist")
		})
	})
}

// E6: the same request with the same key returns the runs that are left, even
// if a deploy has changed the jobs of the target, or some runs were purged.
func TestIdempotencyKeyOutlastsDeployAndPurge(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplica(t, db.DB, hourbell.Config{})
		options := hourbell.EnqueueOptions{IdempotencyKey: "k", Args: map[string]int{"n": 1}}
		first, err := s.EnqueueAll(t.Context(), options)
		require.NoError(t, err)
		require.Len(t, first, 3)

		cfg := hourbell.Config{Jobs: append(slices.Clone(testJobs), hourbell.Job{Name: "added", Args: "default"})}
		s = newReplica(t, db.DB, cfg)
		again, err := s.EnqueueAll(t.Context(), options)
		require.NoError(t, err)
		require.Equal(t, jobNames(first), jobNames(again))

		require.NoError(t, db.Exec("DELETE FROM hourbell_job_runs WHERE id = ?", first[0].ID).Error)
		again, err = s.EnqueueAll(t.Context(), options)
		require.NoError(t, err)
		require.Equal(t, jobNames(first[1:]), jobNames(again))
		require.True(t, again[0].Duplicate)
	})
}

// E6: the same key with another target, schedule or other arguments is refused.
func TestIdempotencyKeyRefusesOtherRequest(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		key := hourbell.EnqueueOptions{IdempotencyKey: "k"}
		_, err := s.EnqueueJob(t.Context(), "import", key)
		require.NoError(t, err)
		withArgs := hourbell.EnqueueOptions{IdempotencyKey: "k", Args: 1}
		for name, call := range map[string]func() error{
			"other arguments": func() error { _, err := s.EnqueueJob(t.Context(), "import", withArgs); return err },
			"other job":       func() error { _, err := s.EnqueueJob(t.Context(), "publish", key); return err },
			"group":           func() error { _, err := s.EnqueueGroup(t.Context(), "feed", key); return err },
			"schedule":        func() error { _, err := s.RunNow(t.Context(), "a", key); return err },
		} {
			require.ErrorIs(t, call(), hourbell.ErrKeyReused, name)
		}
		require.Len(t, readAllRuns(t, s), 1)
	})
}

// E6: two services in schemas of one database do not wait for each other's
// keys.
func TestKeysOfOtherSchemaDoNotWait(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	replicas := map[string]*hourbell.Scheduler{}
	for _, schema := range []string{"one", "two"} {
		require.NoError(t, db.Exec("CREATE SCHEMA "+schema).Error)
		require.NoError(t, store.Migrate(t.Context(), db.DB, store.Schema(schema)))
		replicas[schema] = newReplicaWithStore(t, store.New(db.DB, store.Schema(schema)), hourbell.Config{})
	}
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		options := hourbell.EnqueueOptions{IdempotencyKey: "k", Tx: tx}
		if _, err := replicas["one"].EnqueueJob(t.Context(), "import", options); err != nil {
			return err
		}
		_, err := replicas["two"].EnqueueJob(shortContext(t), "import", hourbell.EnqueueOptions{IdempotencyKey: "k"})
		return err
	}))
}

// E1: arguments that the database cannot store fail New and the call. An
// escaped \u0000 in a text is stored.
func TestArgsMustBeStorable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		pattern := map[string]string{"pattern": `[^\u0000-\u001f]`}
		s := newReplica(t, db.DB, hourbell.Config{Jobs: []hourbell.Job{{Name: "import", Args: pattern}}})
		runs, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
		require.NoError(t, err)
		stored, err := s.Runs(t.Context(), hourbell.RunQuery{ID: runs[0].ID})
		require.NoError(t, err)
		require.JSONEq(t, `{"pattern":"[^\\u0000-\\u001f]"}`, string(stored[0].Args))

		for _, text := range []string{`1e999999`, `"\ud800"`, `"\u0000"`, `{"a":[1e-20000]}`} {
			args := json.RawMessage(text)
			_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{Args: args})
			require.ErrorContains(t, err, "args cannot be stored", text)
			_, err = hourbell.New(store.New(db.DB), hourbell.Config{Jobs: []hourbell.Job{{Name: "import", Args: args}}})
			require.ErrorContains(t, err, `job "import": args cannot be stored`, text)
		}
	})
}

// E5: an Enqueuer may keep and change its runs. The loop, and later fires, use
// their own.
func TestEnqueuerOwnsItsRuns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		cfg := newConfig(c, hourly("a"))
		cfg.Jobs = []hourbell.Job{{Name: "import", Args: "declared"}}
		var seen []string
		cfg.Enqueuer = enqueuerFunc(func(_ context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
			seen = append(seen, runs[0].ScheduleID+" "+string(runs[0].Args))
			copy(runs[0].Args, "XXXXXXXXXX")
			runs[0] = hourbell.JobRun{}
			return nil
		})
		s := newSyncedReplica(t, db.DB, cfg)
		for i := range 2 {
			c.Set(noon.Add(time.Duration(i) * time.Hour))
			report := tick(t, s)
			require.Equal(t, 1, report.Fired)
		}
		require.Equal(t, []string{`a "declared"`, `a "declared"`}, seen)
	})
}

// E7: a database that lost commits may issue a run's id again. A late result of
// the lost run does not end the other one.
func TestFinishRunIgnoresReissuedID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newReplica(t, db.DB, newConfig(c))
		for name, change := range map[string]string{
			"other job":  "UPDATE hourbell_job_runs SET job = 'publish' WHERE id = ?",
			"other time": "UPDATE hourbell_job_runs SET queued_at = started_at WHERE id = ?",
		} {
			_, err := s.EnqueueJob(t.Context(), "import", hourbell.EnqueueOptions{})
			require.NoError(t, err)
			c.Advance(time.Second)
			taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w"})
			require.NoError(t, err)
			require.NoError(t, s.ExtendRun(t.Context(), taken[0], time.Hour))
			require.NoError(t, db.Exec(change, taken[0].ID).Error)
			require.ErrorIs(t, s.FinishRun(t.Context(), taken[0], nil), hourbell.ErrLeaseLost, name)
			require.ErrorIs(t, s.ExtendRun(t.Context(), taken[0], time.Hour), hourbell.ErrLeaseLost, name)
		}
	})
}

// E7: a misspelled job is an error, and not a worker without work.
func TestTakeRunsRefusesUnknownJob(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplica(t, db.DB, hourbell.Config{})
		_, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Jobs: []string{"imprt"}})
		require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
		require.ErrorContains(t, err, `did you mean "import"?`)
	})
}

// E3: with store.Schema, a call in the transaction of a host that has set
// another search_path stores its runs with the others. The Enqueuer's
// transaction keeps the host's search_path.
func TestSchemaIsIndependentOfSearchPath(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	const schema = `an "odd" 'name'`
	require.ErrorContains(t, store.Migrate(t.Context(), db.DB, store.Schema(schema)), "the schema does not exist")
	require.NoError(t, db.Exec(`CREATE SCHEMA "an ""odd"" 'name'"`).Error)
	require.NoError(t, db.Exec(`CREATE SCHEMA tenant`).Error)
	require.NoError(t, store.Migrate(t.Context(), db.DB, store.Schema(schema)))
	require.NoError(t, store.Migrate(t.Context(), db.DB, store.Schema(schema)), "a second time")

	c := newClock(noon.Add(-time.Minute))
	cfg := newConfig(c, hourlyAllJobs("a"))
	var searchPath string
	cfg.Enqueuer = enqueuerFunc(func(_ context.Context, tx *gorm.DB, _ []hourbell.JobRun) error {
		return tx.Raw("SHOW search_path").Scan(&searchPath).Error
	})
	s := newReplicaWithStore(t, store.New(db.DB, store.Schema(schema)), cfg)
	require.NoError(t, s.Sync(t.Context()))
	c.Set(noon)
	require.Equal(t, 1, tick(t, s).Fired)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SET LOCAL search_path = tenant").Error; err != nil {
			return err
		}
		_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{Tx: tx, IdempotencyKey: "k"})
		return err
	}))
	require.Equal(t, "tenant", searchPath)
	require.Len(t, readAllRuns(t, s), 6)
	require.NoError(t, s.Disable(t.Context(), "a", ann))
	_, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Outcomes: 5, Search: "a"})
	require.NoError(t, err)
	health, err := s.Health(t.Context())
	require.NoError(t, err)
	require.Zero(t, health.Overdue)

	without := newReplica(t, db.DB, newConfig(c))
	require.ErrorIs(t, without.Sync(t.Context()), hourbell.ErrNotMigrated)
	require.ErrorContains(t, without.Sync(t.Context()), `search_path "\"$user\", public"`)
}
