package hourbell_test

import (
	"context"
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

// everyJob is an hourly schedule of all jobs.
func everyJob(id string) hourbell.Definition {
	d := hourly(id)
	d.Target = hourbell.AllJobs()
	return d
}

// engine is an Enqueuer that writes each run into a table of the host's, in the transaction it is given, and fails
// when told to.
type engine struct {
	mu    sync.Mutex
	calls [][]hourbell.JobRun
	fails func(runs []hourbell.JobRun) error // called after the write; nil means never
}

func newEngine(t *testing.T, db *dbtest.DB) *engine {
	t.Helper()
	require.NoError(t, db.Exec("CREATE TABLE engine_jobs (key text)").Error)
	return &engine{}
}

func (e *engine) Enqueue(_ context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, runs)
	for _, run := range runs {
		if err := tx.Exec("INSERT INTO engine_jobs (key) VALUES (?)", run.Key()).Error; err != nil {
			return err
		}
	}
	if e.fails != nil {
		return e.fails(runs)
	}
	return nil
}

// handed lists the keys in the engine's table.
func handed(t *testing.T, db *dbtest.DB) []string {
	t.Helper()
	var keys []string
	require.NoError(t, db.Raw("SELECT key FROM engine_jobs ORDER BY key").Scan(&keys).Error)
	return keys
}

func keysOf(runs []hourbell.JobRun) []string {
	keys := make([]string, len(runs))
	for i, run := range runs {
		keys[i] = run.Key()
	}
	slices.Sort(keys)
	return keys
}

var errEngine = errors.New("engine away")

// calls are the ways to enqueue by hand, with the jobs that each enqueues of those of a schedule "a" of all jobs.
var calls = map[string]struct {
	call func(context.Context, *hourbell.Scheduler, hourbell.EnqueueOptions) ([]hourbell.JobRun, error)
	jobs []string
}{
	"RunNow": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.RunNow(ctx, "a", o)
	}, []string{"import", "publish", "report"}},
	"EnqueueAll": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueAll(ctx, o)
	}, []string{"import", "publish", "report"}},
	"EnqueueGroup": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueGroup(ctx, "feed", o)
	}, []string{"import", "publish"}},
	"EnqueueJob": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueJob(ctx, "report", o)
	}, []string{"report"}},
}

// allRuns reads all runs, oldest first.
func allRuns(t *testing.T, s *hourbell.Scheduler) []hourbell.JobRun {
	t.Helper()
	list, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 1000})
	require.NoError(t, err)
	slices.Reverse(list)
	return list
}

// E1: whatever the trigger, the runs come into being on one path: the same shape, handed over as they are stored.
func TestEveryTriggerMakesTheSameRuns(t *testing.T) {
	withArgs := slices.Clone(jobs)
	withArgs[0].Args = map[string]any{"depth": 2}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newEngine(t, db)
		var steps []string
		cfg := definitions(c, everyJob("a"))
		cfg.Jobs, cfg.Enqueuer = withArgs, e
		s := replicaOn(t, &stepped{store.New(db.DB), func(step string) error {
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
		for name, by := range calls {
			triggers[name] = func() []hourbell.JobRun {
				runs, err := by.call(t.Context(), s, hourbell.EnqueueOptions{})
				require.NoError(t, err)
				return runs
			}
		}
		var shape []hourbell.JobRun
		for _, name := range []string{"cron", "RunNow", "EnqueueAll", "EnqueueGroup", "EnqueueJob"} {
			steps = nil
			returned := triggers[name]()
			require.NotEmpty(t, steps, name)
			require.Equal(t, e.calls[len(e.calls)-1], returned, "%s: what is handed over is what is returned", name)
			stored := allRuns(t, s)
			stored = stored[len(stored)-len(returned):]
			for i := range stored {
				require.NotZero(t, stored[i].ID)
				if len(returned[i].Args) > 0 {
					require.JSONEq(t, string(returned[i].Args), string(stored[i].Args))
					stored[i].Args = returned[i].Args // the database may write it with other blanks
				}
				require.Equal(t, returned[i], stored[i], "%s: and what is stored", name)
				// What tells the triggers apart; the rest is of one shape.
				stored[i].ID, stored[i].Trigger, stored[i].ScheduleID, stored[i].ScheduledFor = 0, "", "", time.Time{}
			}
			switch name {
			case "cron":
				shape = stored
				require.Equal(t, hourbell.JobRun{
					Namespace: "default", Job: "import", Group: "feed", Status: "QUEUED", QueuedAt: noon.Add(time.Hour), Args: []byte(`{"depth":2}`),
				}, stored[0])
			case "EnqueueGroup":
				require.Equal(t, shape[:2], stored)
			case "EnqueueJob":
				shape[2].Ordinal = 0
				require.Equal(t, shape[2:], stored)
			default:
				require.Equal(t, shape, stored)
			}
		}
		count := func(trigger, id string) int {
			list, err := s.Runs(t.Context(), hourbell.RunQuery{Trigger: trigger, ScheduleID: id})
			require.NoError(t, err)
			return len(list)
		}
		require.Equal(t, []int{3, 3, 6, 0}, []int{count("CRON", "a"), count("MANUAL", "a"), count("API", ""), count("API", "a")})
	})
}

// E2: a cron fire is every job of the target or none, whichever step fails.
func TestAFireIsAllOrNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newEngine(t, db)
		for i, step := range []string{
			"before advance", "after advance", "first after insert-runs", "second before insert-runs", "second after insert-runs",
			"the Enqueuer", "before commit",
		} {
			c := newClock(noon)
			inserts, armed, fired := 0, false, false
			e.fails = func([]hourbell.JobRun) error {
				if armed && step == "the Enqueuer" {
					fired = true
					return errEngine
				}
				return nil
			}
			cfg := definitions(c, everyJob("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("case-%d", i)
			s := replicaOn(t, &stepped{store.New(db.DB), func(reached string) error {
				if reached == "before insert-runs" {
					inserts++
				}
				place := map[int]string{1: "first ", 2: "second "}[inserts] + reached
				if armed && !fired && (reached == step || place == step) {
					fired = true
					return errEngine
				}
				return nil
			}}, cfg)
			require.NoError(t, s.Sync(t.Context()))
			c.Set(noon.Add(time.Hour))
			before := handed(t, db)

			armed = true
			report := tick(t, s)
			armed = false
			require.True(t, fired, step)
			require.Equal(t, []int{0, 0, 1}, []int{report.Fired, report.Enqueued, report.Failed}, step)
			require.Empty(t, runsOf(t, s, "a"), step)
			require.Equal(t, before, handed(t, db), "%s: the engine's writes are of the same transaction", step)
			require.Equal(t, noon.Add(time.Hour), row(t, s, "a").NextRunAt, step)
			require.Zero(t, row(t, s, "a").LastScheduledFor, step)

			c.Advance(time.Second)
			require.Equal(t, 3, tick(t, s).Enqueued, step)
			require.Len(t, runsOf(t, s, "a"), 3, step)
			require.Equal(t, []time.Time{noon.Add(time.Hour)}, slots(runsOf(t, s, "a")), step)
			require.Len(t, handed(t, db), len(before)+3)
		}
	})
}

// E3: a call in the host's transaction shares its fate, with prepared statements and without.
func TestHostTransactionDecides(t *testing.T) {
	errHost := errors.New("the host thinks better of it")
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newEngine(t, db)
		for _, prepared := range []bool{false, true} {
			host := db.Open(t, &gorm.Config{PrepareStmt: prepared})
			cfg := definitions(newClock(noon), everyJob("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("prepared-%v", prepared)
			s := synced(t, host, cfg)
			for name, by := range calls {
				before := dump(t, db, cfg.Namespace)
				handedBefore := len(handed(t, db))
				require.ErrorIs(t, host.Transaction(func(tx *gorm.DB) error {
					runs, err := by.call(t.Context(), s, hourbell.EnqueueOptions{Tx: tx, By: ann})
					require.NoError(t, err)
					require.Len(t, runs, len(by.jobs))
					return errHost
				}), errHost)
				require.Equal(t, before, dump(t, db, cfg.Namespace), "%s: rolled back means never enqueued", name)
				require.Len(t, handed(t, db), handedBefore)

				var runs []hourbell.JobRun
				require.NoError(t, host.Transaction(func(tx *gorm.DB) (err error) {
					runs, err = by.call(t.Context(), s, hourbell.EnqueueOptions{Tx: tx, By: ann})
					return err
				}))
				stored := allRuns(t, s)
				require.Equal(t, keysOf(runs), keysOf(stored[len(stored)-len(by.jobs):]), name)
				require.Subset(t, handed(t, db), keysOf(runs), name)
				require.Len(t, handed(t, db), handedBefore+len(by.jobs))
			}
		}
	})
}

// E3: a call that fails leaves the host's transaction usable, and nothing of its own in it.
func TestAFailedCallLeavesTheHostTransactionUsable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.NoError(t, db.Exec("CREATE TABLE host_orders (n integer)").Error)
		e := newEngine(t, db)
		for i, gormConfig := range []*gorm.Config{{}, {PrepareStmt: true}, {DisableNestedTransaction: true}} {
			host := db.Open(t, gormConfig)
			cfg := definitions(newClock(noon), everyJob("a"))
			cfg.Enqueuer, cfg.Namespace = e, fmt.Sprintf("case-%d", i)
			s := synced(t, host, cfg)
			_, err := s.EnqueueJob(t.Context(), "import", hourbell.EnqueueOptions{Key: "used"})
			require.NoError(t, err)
			before := dump(t, db, cfg.Namespace)

			e.fails = func(runs []hourbell.JobRun) error {
				if runs[0].Job == "report" {
					return errEngine
				}
				return nil
			}
			require.NoError(t, host.Transaction(func(tx *gorm.DB) error {
				options := hourbell.EnqueueOptions{Tx: tx}
				require.NoError(t, tx.Exec("INSERT INTO host_orders VALUES (1)").Error)
				_, err := s.EnqueueJob(t.Context(), "report", options)
				require.ErrorIs(t, err, errEngine)
				_, err = s.EnqueueJob(t.Context(), "nap", options)
				require.ErrorIs(t, err, hourbell.ErrUnknownJob)
				_, err = s.RunNow(t.Context(), "nobody", options)
				require.ErrorIs(t, err, hourbell.ErrUnknownSchedule)
				options.Key = "used"
				_, err = s.RunNow(t.Context(), "a", options)
				require.ErrorIs(t, err, hourbell.ErrKeyReused)
				return tx.Exec("INSERT INTO host_orders VALUES (2)").Error
			}))
			e.fails = nil
			require.Equal(t, before, dump(t, db, cfg.Namespace))
			var orders int64
			require.NoError(t, db.Table("host_orders").Count(&orders).Error)
			require.EqualValues(t, 2*(i+1), orders)
		}
	})
}

// E3: a handle that is no open transaction is refused, since what is enqueued through it could not be rolled back.
func TestATxThatIsNoTransactionIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a")))
		untouched(t, db, func() {
			for name, by := range calls {
				_, err := by.call(t.Context(), s, hourbell.EnqueueOptions{Tx: db.DB})
				require.ErrorContains(t, err, "not an open transaction", name)
			}
		})
	})
}

// E5: every run knows its slot, which is not the time at which it was enqueued, and has a key that says it in UTC.
func TestARunKnowsItsSlot(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := everyJob("billing/sweep")
		d.Cron, d.TimeZone = "30 15 * * *", "Europe/Berlin"
		cfg := definitions(c, d)
		cfg.Namespace = "shop"
		s := synced(t, db.DB, cfg)
		slot := time.Date(2026, 6, 1, 13, 30, 0, 0, time.UTC)
		c.Set(slot.Add(42*time.Second + 123*time.Millisecond).In(berlin))
		tick(t, s)

		runs := runsOf(t, s, "billing/sweep")
		require.Equal(t, []string{
			"shop/billing/sweep@2026-06-01T13:30:00Z/import", "shop/billing/sweep@2026-06-01T13:30:00Z/publish",
			"shop/billing/sweep@2026-06-01T13:30:00Z/report",
		}, keysOf(runs))
		for _, run := range runs {
			require.Equal(t, slot, run.ScheduledFor)
			require.Equal(t, slot.Add(42*time.Second+123*time.Millisecond), run.QueuedAt)
			local := run
			local.ScheduledFor = run.ScheduledFor.In(berlin)
			require.Equal(t, run.Key(), local.Key())
		}
		require.Equal(t, slot, row(t, s, "billing/sweep").LastScheduledFor)
		require.Equal(t, runs[0].QueuedAt, row(t, s, "billing/sweep").LastRunAt)
	})
}

// E5: the key of a run is the same at every attempt, also by another replica; no two runs share one.
func TestKeysAreStableAcrossAttempts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newEngine(t, db)
		e.fails = func([]hourbell.JobRun) error { return errEngine }
		cfg := definitions(c, everyJob("a"))
		cfg.Enqueuer = e
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)
		c.Advance(time.Minute)
		tick(t, replica(t, db.DB, cfg))
		e.fails = nil
		c.Advance(time.Minute)
		tick(t, s)
		require.Len(t, e.calls, 3)
		require.Equal(t, keysOf(e.calls[0]), keysOf(e.calls[1]))
		require.Equal(t, keysOf(e.calls[0]), keysOf(e.calls[2]))
		require.Equal(t, keysOf(e.calls[0]), handed(t, db))

		for range 2 {
			for name, by := range calls {
				_, err := by.call(t.Context(), s, hourbell.EnqueueOptions{})
				require.NoError(t, err, name)
			}
		}
		c.Set(noon.Add(2 * time.Hour))
		tick(t, s)
		keys := keysOf(allRuns(t, s))
		require.Len(t, slices.Compact(slices.Clone(keys)), len(keys))
	})
}

// E6: run now works on a disabled schedule, changes nothing of its row, and leaves an event with actor and note.
func TestRunNowWorksOnADisabledScheduleAndLeavesItsRowAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		off := everyJob("off")
		off.EnabledByDefault = false
		s := synced(t, db.DB, definitions(c, everyJob("on"), off))
		c.Set(noon.Add(90 * time.Minute)) // a slot of "on" is due
		rows := func() string {
			query := "SELECT string_agg(concat_ws(' ', t.ctid, t.xmin, t.xmax, t.*), E'\n' ORDER BY id) FROM hourbell_schedules t"
			if db.Dialect == "sqlite" {
				query = "SELECT group_concat(quote(next_run_at) || quote(lock_token) || quote(updated_at) || quote(last_run_at) || quote(settled_until) || quote(enabled)) FROM hourbell_schedules"
			}
			var text string
			require.NoError(t, db.Raw(query).Scan(&text).Error)
			return text
		}
		before, beforeRows := rows(), dump(t, db, "default")["hourbell_schedules"]
		for _, id := range []string{"on", "off"} {
			runs, err := s.RunNow(t.Context(), id, hourbell.EnqueueOptions{By: ann})
			require.NoError(t, err)
			require.Len(t, runs, 3)
			for i, run := range runs {
				require.Equal(t, []any{"MANUAL", id, "ann", i, true}, []any{run.Trigger, run.ScheduleID, run.Actor, run.Ordinal, run.ScheduledFor.IsZero()})
			}
			events := eventsOf(t, s, id, "RUN_NOW")
			require.Len(t, events, 1)
			require.Equal(t, []string{"ann", "because", "3 runs of all jobs"}, []string{events[0].Actor, events[0].Note, events[0].Detail})
		}
		require.Equal(t, before, rows())
		require.Equal(t, beforeRows, dump(t, db, "default")["hourbell_schedules"])
	})
}

// E6: arguments given with the call replace the defaults of all jobs; none given leaves them.
func TestArgsOfACallReplaceTheDefaults(t *testing.T) {
	withArgs := []hourbell.Job{{Name: "import", Args: map[string]any{"depth": 2}}, {Name: "report"}}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := definitions(newClock(noon), everyJob("a"))
		cfg.Jobs = withArgs
		s := synced(t, db.DB, cfg)
		args := func(options hourbell.EnqueueOptions) (list []string) {
			_, err := s.RunNow(t.Context(), "a", options)
			require.NoError(t, err)
			stored := allRuns(t, s)
			for _, run := range stored[len(stored)-2:] {
				list = append(list, strings.ReplaceAll(string(run.Args), " ", ""))
			}
			return list
		}
		require.Equal(t, []string{`{"depth":2}`, ""}, args(hourbell.EnqueueOptions{}))
		require.Equal(t, []string{`[7,"x"]`, `[7,"x"]`}, args(hourbell.EnqueueOptions{Args: []any{7, "x"}}))
		require.Equal(t, []string{"9007199254740993", "9007199254740993"}, args(hourbell.EnqueueOptions{Args: int64(1<<53 + 1)}))
	})
}

// E6: a repeated key enqueues nothing new, writes nothing, and returns the same runs, whoever asks.
func TestARepeatedKeyReturnsTheSameRuns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := definitions(c, everyJob("a"))
		s := synced(t, db.DB, cfg)
		for name, by := range calls {
			options := hourbell.EnqueueOptions{By: ann, Key: "order 7, " + name, Args: "x"}
			first, err := by.call(t.Context(), s, options)
			require.NoError(t, err)
			require.Len(t, first, len(by.jobs))
			for i := range first {
				require.False(t, first[i].Repeated)
				first[i].Repeated = true // what is said of them the next time
			}
			c.Advance(time.Minute)
			other := replica(t, db.DB, cfg)
			untouched(t, db, func() {
				for range 3 {
					again, err := by.call(t.Context(), other, options)
					require.NoError(t, err)
					require.Equal(t, first, again, name)
				}
			})
			options.Key = "order 8, " + name
			another, err := by.call(t.Context(), s, options)
			require.NoError(t, err)
			require.NotEqual(t, first[0].ID, another[0].ID)
		}
	})
}

// E6: a repeated key returns the runs as they are now.
func TestARepeatedKeyReturnsRunsThatAreDone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a")))
		options := hourbell.EnqueueOptions{Key: "k"}
		_, err := s.EnqueueJob(t.Context(), "import", options)
		require.NoError(t, err)
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "w"})
		require.NoError(t, err)
		require.NoError(t, s.FinishRun(t.Context(), taken[0], nil))
		again, err := s.EnqueueJob(t.Context(), "import", options)
		require.NoError(t, err)
		require.Equal(t, "SUCCEEDED", again[0].Status)
	})
}

// E6: of many requests with one key at the same time, one enqueues, and all get its runs.
func TestConcurrentRequestsWithOneKeyEnqueueOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		e := newEngine(t, db)
		cfg := definitions(newClock(noon), everyJob("a"))
		cfg.Enqueuer = e
		s := synced(t, db.DB, cfg)
		const requests = 50
		answers := make([][]hourbell.JobRun, requests)
		failures := make([]error, requests)
		var done sync.WaitGroup
		for i := range requests {
			done.Go(func() {
				answers[i], failures[i] = s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: ann, Key: "k"})
			})
		}
		done.Wait()
		for i := range requests {
			require.NoError(t, failures[i])
			require.Equal(t, keysOf(answers[0]), keysOf(answers[i]))
			require.Equal(t, answers[0][0].ID, answers[i][0].ID)
		}
		require.Len(t, allRuns(t, s), 3)
		require.Len(t, handed(t, db), 3)
		require.Len(t, eventsOf(t, s, "a", "RUN_NOW"), 1)
	})
}

// E6: a key used for one target is refused for every other, be it of the same jobs, of more, of fewer or of others.
func TestAKeyUsedForAnotherTargetIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		other := everyJob("b")
		one := hourly("c")
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a"), other, one))
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
			options := hourbell.EnqueueOptions{Key: "used for " + first}
			_, err := enqueue(options)
			require.NoError(t, err)
			untouched(t, db, func() {
				for second, again := range requests {
					if second == first {
						continue
					}
					_, err := again(options)
					require.ErrorIs(t, err, hourbell.ErrKeyReused, "%s after %s", second, first)
					require.ErrorContains(t, err, options.Key)
				}
			})
		}
	})
}

// E6: a key is refused for another target also where the two share no job, so that no index stands in the way, and
// ask at the same time.
func TestAKeyUsedForAnotherTargetAtTheSameTimeIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a")))
		for i := range 15 {
			key := fmt.Sprintf("k%d", i)
			start := make(chan struct{})
			failures := make([]error, 4)
			var done sync.WaitGroup
			for j := range failures {
				done.Go(func() {
					<-start
					_, failures[j] = s.EnqueueJob(t.Context(), []string{"import", "report"}[j%2], hourbell.EnqueueOptions{Key: key})
				})
			}
			close(start)
			done.Wait()
			// Two ask for the same job: both have their way, or neither.
			refused := 0
			for j, err := range failures {
				require.Equal(t, err == nil, failures[(j+2)%4] == nil)
				if err != nil {
					require.ErrorIs(t, err, hourbell.ErrKeyReused)
					refused++
				}
			}
			require.Equal(t, 2, refused)
			require.Len(t, allRuns(t, s), i+1)
		}
	})
}

// E6: what is asked for wrongly is named, and nothing is written.
func TestABadRequestIsNamed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a")))
		var none hourbell.EnqueueOptions
		untouched(t, db, func() {
			for _, job := range []string{"nap", "", "Import"} {
				_, err := s.EnqueueJob(ctx, job, none)
				require.ErrorIs(t, err, hourbell.ErrUnknownJob)
				require.ErrorContains(t, err, fmt.Sprintf("%q", job))
			}
			for _, group := range []string{"nobody", "", "Feed"} {
				_, err := s.EnqueueGroup(ctx, group, none)
				require.ErrorIs(t, err, hourbell.ErrUnknownGroup)
				require.ErrorContains(t, err, fmt.Sprintf("%q", group))
			}
			for says, options := range map[string]hourbell.EnqueueOptions{
				"key":  {Key: strings.Repeat("k", 201)},
				"U+":   {Key: "a\nb"},
				"UTF":  {Key: "\xff"},
				"args": {Args: func() {}},
				"NUL":  {Args: "\x00"},
			} {
				for name, by := range calls {
					_, err := by.call(ctx, s, options)
					require.ErrorContains(t, err, says, name)
				}
			}
		})
	})
}
