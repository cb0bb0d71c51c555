package hourbell_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// E4: a failed fire is recorded as failed and not as fired: on the row, in the history, the report and the log. The
// debt stays, and the next attempt fires the same slot.
func TestAFailedFireIsRecordedAndTriedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c, lines := newClock(noon), &logs{}
		e := newEngine(t, db)
		e.fails = func([]hourbell.JobRun) error { return errEngine }
		var reports []hourbell.TickReport
		cfg := definitions(c, everyJob("a"))
		cfg.Enqueuer, cfg.Logger = e, lines.logger()
		cfg.OnTick = func(r hourbell.TickReport) { reports = append(reports, r) }
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)

		a := row(t, s, "a")
		require.Equal(t, noon.Add(time.Hour), a.NextRunAt)
		require.Equal(t, noon.Add(time.Hour), a.OwedSince)
		require.Equal(t, noon.Add(time.Hour+time.Second), a.HeldUntil)
		require.Equal(t, 1, a.Failures)
		require.Equal(t, "engine away", a.LastError)
		require.Empty(t, a.LockedBy)
		require.Zero(t, a.LastRunAt)
		require.Zero(t, a.LastScheduledFor)
		require.Zero(t, a.SettledUntil)
		require.Empty(t, runsOf(t, s, "a"))
		require.Empty(t, handed(t, db))
		failed := eventsOf(t, s, "a", "ENQUEUE_FAILED")
		require.Len(t, failed, 1)
		require.Equal(t, "engine away", failed[0].Detail)
		require.Len(t, reports, 1)
		require.Equal(t, []int{1, 0, 0}, []int{reports[0].Failed, reports[0].Fired, reports[0].Enqueued})
		require.Equal(t, a.HeldUntil, reports[0].Wake)
		require.Contains(t, lines.String(), `level=ERROR msg="hourbell: enqueue failed" schedule=a attempt=1 retry=1s error="engine away"`)

		e.fails = nil
		require.Zero(t, tick(t, s).Claimed, "not before the back-off's end")
		c.Set(a.HeldUntil)
		require.Equal(t, 1, tick(t, s).Fired)
		a = row(t, s, "a")
		require.Equal(t, []time.Time{noon.Add(time.Hour)}, slots(runsOf(t, s, "a")))
		require.Zero(t, a.Failures)
		require.Empty(t, a.LastError)
		require.Zero(t, a.OwedSince)
		require.Zero(t, a.HeldUntil)
		require.Empty(t, skipped(t, s, "a"))
	})
}

// E4: a slot whose attempts fail until it is out of grace is still owed, and fires when the engine is back.
func TestAnOwedSlotFiresThoughOutOfGrace(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newEngine(t, db)
		e.fails = func([]hourbell.JobRun) error { return errEngine }
		cfg := definitions(c, everyJob("a"))
		cfg.Enqueuer = e
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		for c.Now().Before(noon.Add(time.Hour + 20*time.Minute)) {
			require.Equal(t, 1, tick(t, s).Failed)
			c.Set(row(t, s, "a").HeldUntil)
		}
		e.fails = nil
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{noon.Add(time.Hour)}, slots(runsOf(t, s, "a")))
		require.Empty(t, skipped(t, s, "a"))
	})
}

// E4: the back-off doubles from a second to the poll interval, and ends at the latest at the next slot.
func TestBackOffDoublesToThePollIntervalAndEndsAtTheNextSlot(t *testing.T) {
	often := hourly("a")
	often.Cron = "*/5 * * * * *"
	type course struct {
		definition hourbell.Definition
		waits      []time.Duration
	}
	eachCase(t, map[string]course{
		"a rare schedule":     {hourly("a"), []time.Duration{1, 2, 4, 8, 10, 10}},
		"a frequent schedule": {often, []time.Duration{1, 2, 2, 5, 5}},
	}, func(t *testing.T, db *dbtest.DB, test course) {
		c := newClock(noon)
		cfg := definitions(c, test.definition)
		cfg.PollInterval = 10 * time.Second
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errEngine })
		s := synced(t, db.DB, cfg)
		c.Set(row(t, s, "a").NextRunAt)
		var waits []time.Duration
		for range test.waits {
			require.Equal(t, 1, tick(t, s).Failed)
			until := row(t, s, "a").HeldUntil
			waits = append(waits, until.Sub(c.Now())/time.Second)
			c.Set(until.Add(-time.Millisecond))
			require.Zero(t, tick(t, s).Claimed)
			c.Set(until)
		}
		require.Equal(t, test.waits, waits)
	})
}

// E4: one bad schedule does not keep the others of its batch from firing, and goes alone until it has succeeded.
func TestABadScheduleDoesNotKeepItsBatchFromFiring(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		e := newEngine(t, db)
		bad := func(run hourbell.JobRun) bool { return run.ScheduleID == "s17" }
		e.fails = func(runs []hourbell.JobRun) error {
			if slices.ContainsFunc(runs, bad) {
				return errEngine
			}
			return nil
		}
		var list []hourbell.Definition
		for i := range 50 {
			list = append(list, hourly(fmt.Sprintf("s%02d", i)))
		}
		cfg := definitions(c, list...)
		cfg.Enqueuer = e
		s := synced(t, db.DB, cfg)
		sizes := func() (sizes []int) {
			for _, call := range e.calls {
				sizes = append(sizes, len(call))
			}
			e.calls = nil
			return sizes
		}

		c.Set(noon.Add(time.Hour))
		report := tick(t, s)
		require.Equal(t, []int{49, 1}, []int{report.Fired, report.Failed})
		require.Empty(t, runsOf(t, s, "s17"))
		require.LessOrEqual(t, len(sizes()), 13, "halving finds it in few attempts")

		c.Set(noon.Add(2 * time.Hour))
		report = tick(t, s)
		require.Equal(t, []int{49, 1}, []int{report.Fired, report.Failed})
		require.Equal(t, []int{49, 1}, sizes(), "the others first, and it alone")

		e.fails = nil
		c.Set(noon.Add(3 * time.Hour))
		require.Equal(t, 50, tick(t, s).Fired)
		require.Equal(t, []int{49, 1}, sizes())
		c.Set(noon.Add(4 * time.Hour))
		require.Equal(t, 50, tick(t, s).Fired)
		require.Equal(t, []int{50}, sizes(), "it has succeeded, and goes with the others again")
		require.Len(t, runsOf(t, s, "s00"), 4)
		require.Equal(t, []time.Time{noon.Add(4 * time.Hour), noon.Add(3 * time.Hour)}, slots(runsOf(t, s, "s17")))
	})
}

// E4: an Enqueuer that panics has failed, in the loop and in a call.
func TestAPanicOfTheEnqueuerIsAFailure(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := definitions(c, everyJob("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { panic("boom") })
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Failed)
		require.Contains(t, row(t, s, "a").LastError, "boom")
		for name, by := range calls {
			_, err := by.call(t.Context(), s, hourbell.EnqueueOptions{})
			require.ErrorContains(t, err, "panicked: boom", name)
		}
		require.Empty(t, allRuns(t, s))
	})
}

// E4: an Enqueuer that outlives its deadline is abandoned, and can no longer write.
func TestAnEnqueuerThatOutlivesItsDeadlineIsAbandoned(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		require.NoError(t, db.Exec("CREATE TABLE engine_jobs (key text)").Error)
		woken, late := make(chan struct{}), make(chan error, 1)
		cfg := definitions(c, everyJob("a"))
		cfg.LockTTL = 2 * time.Second // and so the deadline is a second
		cfg.Enqueuer = enqueuer(func(_ context.Context, tx hourbell.Tx, _ []hourbell.JobRun) error {
			<-woken // deaf to its context
			late <- tx.Exec("INSERT INTO engine_jobs (key) VALUES ('late')").Error
			return nil
		})
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		start := time.Now()
		require.Equal(t, 1, tick(t, s).Failed)
		require.Less(t, time.Since(start), 5*time.Second)
		require.Contains(t, row(t, s, "a").LastError, "deadline")
		require.Equal(t, noon.Add(time.Hour), row(t, s, "a").OwedSince)
		require.NotZero(t, row(t, s, "a").HeldUntil)

		close(woken)
		require.Error(t, <-late)
		require.Empty(t, handed(t, db))
		require.Empty(t, allRuns(t, s))
	})
}
