package contract_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// M1: a slot that no worker claims within grace gets no run. It leaves one
// event, one log line and a count in the report.
func TestLateSlotIsSkippedAndRecorded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		var log logBuffer
		cfg := newConfig(c, hourly("a"))
		cfg.Logger = log.logger()
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(2*time.Hour + 2*time.Minute + time.Microsecond))
		report := tick(t, s)
		require.Equal(t, 3, report.Skipped)
		require.Zero(t, report.Fired+report.Enqueued+report.Failed)
		require.Empty(t, readRuns(t, s, "a"))

		events := readEvents(t, s, "a", hourbell.EventSkipped)
		require.Len(t, events, 1)
		e := events[0]
		require.Equal(t, hourbell.SkipLate, e.Reason)
		require.Equal(t, []time.Time{noon, noon.Add(2 * time.Hour)}, []time.Time{e.SlotFrom, e.SlotTo})
		require.Equal(t, 3, e.SlotCount)
		require.Empty(t, e.Detail)
		require.Equal(t, c.Now(), e.At)
		require.Equal(t, workerID(t, s), e.Actor)

		require.Contains(t, log.String(), `msg="hourbell: slots skipped" schedule=a reason=LATE from=2026-06-01T12:00:00Z to=2026-06-01T14:00:00Z count=3`)
		settled := readSchedule(t, s, "a")
		require.Equal(t, noon.Add(2*time.Hour), settled.SettledThrough)
		require.Equal(t, noon.Add(3*time.Hour), settled.NextRunAt)
		require.Zero(t, settled.LastScheduledFor, "no slot has fired")
		require.Zero(t, tick(t, s).Claimed, "the slots are settled")
	})
}

// M1: a slot fires until the end of its schedule's grace, inclusive.
func TestSlotFiresUntilEndOfGrace(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		longGrace := hourly("long-grace")
		longGrace.Grace = 10 * time.Minute
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("default-grace"), longGrace))
		c.Set(noon.Add(2 * time.Minute))
		require.Equal(t, 2, tick(t, s).Fired)
		c.Set(noon.Add(time.Hour + 10*time.Minute))
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []string{"LATE 13:00:00-13:00:00 1"}, skipTexts(t, s, "default-grace"))
		c.Set(noon.Add(2*time.Hour + 10*time.Minute + time.Microsecond))
		require.Zero(t, tick(t, s).Fired)
	})
}

// M2: only the latest due slot fires. The earlier ones become one event with
// the reason.
func TestOnlyLatestDueSlotFires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(c, minutely("m"), hourly("h")))
		c.Set(noon.Add(time.Minute))
		require.Equal(t, 2, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:01:00Z"}, firedSlotTexts(t, s, "m"))
		require.Equal(t, []string{"SUPERSEDED 12:00:00-12:00:00 1"}, skipTexts(t, s, "m"), "the earlier slot was still within grace")

		c.Set(noon.Add(3 * time.Hour))
		require.Equal(t, 2, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:00:00Z", "2026-06-01T15:00:00Z"}, firedSlotTexts(t, s, "h"))
		require.Equal(t, []string{"LATE 13:00:00-14:00:00 2"}, skipTexts(t, s, "h"))
	})
}

// M2: one transaction inserts runs and skips and moves next_run_at. A failure
// in any step undoes all of it.
func TestRunsAndSkipsAreAtomic(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		cfg := newConfig(c, hourly("a"))
		healthy := newSyncedReplica(t, db.DB, cfg)
		for _, step := range []string{"after advance", "after insert-events", "after insert-runs", "before commit"} {
			c.Set(c.Now().Add(3 * time.Hour).Truncate(time.Hour))
			due := readSchedule(t, healthy, "a").NextRunAt
			events, runs := len(readEvents(t, healthy, "a", hourbell.EventSkipped)), len(readRuns(t, healthy, "a"))
			broken := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce(step, func() error { return errors.New("broken") })}, cfg)
			require.Equal(t, 1, tick(t, broken).Failed)
			require.Equal(t, due, readSchedule(t, healthy, "a").NextRunAt)
			require.Len(t, readEvents(t, healthy, "a", hourbell.EventSkipped), events)
			require.Len(t, readRuns(t, healthy, "a"), runs)

			c.Advance(time.Second)
			require.Equal(t, 1, tick(t, healthy).Fired)
			require.Len(t, readEvents(t, healthy, "a", hourbell.EventSkipped), events+1)
			require.Len(t, readRuns(t, healthy, "a"), runs+1)
		}
	})
}

// M3: after a gap of a year the next tick fires the latest slot. All missed
// slots become one event with exact ends. Its count stops at 1,000, and its
// detail reports "at least".
func TestYearLongGapIsOneEventAndOneTick(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(c, minutely("m")))
		nextYear := time.Date(2027, 6, 1, 12, 0, 30, 0, time.UTC)
		c.Set(nextYear)
		report := tick(t, s)
		require.Equal(t, 1, report.Claimed)
		require.Equal(t, 1, report.Fired)
		require.Equal(t, nextYear.Add(30*time.Second), report.WakeAt)
		require.Equal(t, []string{"2027-06-01T12:00:00Z"}, firedSlotTexts(t, s, "m"))

		events := readEvents(t, s, "m", hourbell.EventSkipped)
		require.Len(t, events, 1)
		require.Equal(t, noon, events[0].SlotFrom)
		require.Equal(t, time.Date(2027, 6, 1, 11, 59, 0, 0, time.UTC), events[0].SlotTo)
		require.Equal(t, 1000, events[0].SlotCount)
		require.Equal(t, "at least 1000 slots", events[0].Detail)
	})
}

// M3: up to 1,000 the count is exact, and the detail is empty.
func TestThousandMissedSlotsAreCountedExactly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(c, minutely("m")))
		c.Set(noon.Add(1000 * time.Minute)) // the slot at this time fires
		require.Equal(t, 1000, tick(t, s).Skipped)
		e := readEvents(t, s, "m", hourbell.EventSkipped)[0]
		require.Equal(t, 1000, e.SlotCount)
		require.Empty(t, e.Detail)
		require.Equal(t, []time.Time{noon, noon.Add(999 * time.Minute)}, []time.Time{e.SlotFrom, e.SlotTo})
	})
}

// M4: a new schedule fires neither past slots nor a slot at the time of its
// first sync.
func TestFirstSyncDoesNotFirePastSlots(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, at := range []time.Time{noon, noon.Add(time.Microsecond), noon.Add(59 * time.Minute)} {
			id := fmt.Sprintf("at-%d", at.Sub(noon))
			s := newSyncedReplica(t, db.DB, newConfig(newClock(at), hourly(id)))
			require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, id).NextRunAt)
			require.Zero(t, tick(t, s).Claimed)
			require.Empty(t, skipTexts(t, s, id))
		}
	})
}

// L6, M4: if the first slot comes due during the first sync, the stored next
// slot is still in the future.
func TestFirstSyncNeverStoresPastNextRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before insert-schedules", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, newConfig(c, hourly("a")))
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, noon.Add(2*time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, "a"))
		require.Zero(t, tick(t, s).Claimed)
	})
}

// M4: enabling fires no past slots and records none of them as skipped.
func TestEnableDoesNotFirePastSlots(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		require.NoError(t, s.Disable(t.Context(), "a", ann))
		require.Zero(t, readSchedule(t, s, "a").NextRunAt)
		c.Set(noon.Add(3 * time.Hour)) // exactly at a slot
		require.NoError(t, s.Enable(t.Context(), "a", ann))

		a := readSchedule(t, s, "a")
		require.True(t, a.Enabled)
		require.Equal(t, "because", a.EnabledNote)
		require.Equal(t, noon.Add(4*time.Hour), a.NextRunAt)
		require.Zero(t, tick(t, s).Claimed)
		c.Set(noon.Add(4 * time.Hour))
		tick(t, s)
		require.Equal(t, []time.Time{noon.Add(4 * time.Hour)}, firedSlots(readRuns(t, s, "a")))
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// M4: the next slot is after the last settled one, even if the clock was
// stepped back.
func TestEnableNeverRepeatsSettledSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for id, settle := range map[string]func(*hourbell.Scheduler){
			"fired":   func(s *hourbell.Scheduler) { require.Equal(t, 1, tick(t, s).Fired) },
			"skipped": func(*hourbell.Scheduler) {},
		} {
			c := newClock(noon)
			s := newSyncedReplica(t, db.DB, newConfig(c, hourly(id)))
			c.Set(noon.Add(time.Hour))
			settle(s)
			require.NoError(t, s.Disable(t.Context(), id, ann))
			c.Set(noon.Add(30 * time.Minute))
			require.NoError(t, s.Enable(t.Context(), id, ann))
			require.Equal(t, noon.Add(2*time.Hour), readSchedule(t, s, id).NextRunAt)
		}
	})
}

// M4: enabling an enabled schedule and disabling a disabled one write nothing.
func TestRepeatedEnableAndDisableDoNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("on"), hourly("off")))
		require.NoError(t, s.Disable(t.Context(), "off", ann))
		c.Advance(5 * time.Hour) // slots are due
		requireNoWrites(t, db, func() {
			require.NoError(t, s.Enable(t.Context(), "on", hourbell.ChangeOptions{Actor: "bob", Note: "again"}))
			require.NoError(t, s.Disable(t.Context(), "off", hourbell.ChangeOptions{Actor: "bob", Note: "again"}))
		})
	})
}

// L6, M4: if a slot comes due while Enable runs, the stored next slot is still
// in the future.
func TestEnableNeverStoresPastNextRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before update-schedules", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, newConfig(c, d))
		require.NoError(t, s.Sync(t.Context()))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		require.Equal(t, noon.Add(2*time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Zero(t, tick(t, s).Claimed)
	})
}

// L6, M4: if a slot comes due while a removed schedule returns, the stored next
// slot is still in the future.
func TestRedeclarationNeverStoresPastNextRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("b")))
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before update-schedules", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, newConfig(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, noon.Add(2*time.Hour), readSchedule(t, s, "a").NextRunAt)
	})
}

// stopAction stops schedule "a" or moves its next slot.
type stopAction struct {
	reason hourbell.SkipReason // of the skips that it records
	next   time.Time           // next slot if it runs at 15:30
	run    func(context.Context, *clock, hourbell.Store) error
}

// stopActions are the changes that settle a schedule.
var stopActions = map[string]stopAction{
	"disable": {hourbell.SkipDisabled, time.Time{}, func(ctx context.Context, c *clock, st hourbell.Store) error {
		s, err := hourbell.New(st, configWithJobs(c, hourly("a"), hourly("other")))
		if err != nil {
			return err
		}
		return s.Disable(ctx, "a", ann)
	}},
	"change cron": {hourbell.SkipChanged, noon.Add(3*time.Hour + 40*time.Minute), func(ctx context.Context, c *clock, st hourbell.Store) error {
		d := hourly("a")
		d.Cron = "*/20 * * * *"
		return syncDefinitions(ctx, st, configWithJobs(c, d, hourly("other")))
	}},
	"remove": {hourbell.SkipRemoved, time.Time{}, func(ctx context.Context, c *clock, st hourbell.Store) error {
		return syncDefinitions(ctx, st, configWithJobs(c, hourly("other")))
	}},
}

// configWithJobs returns a Config for hourbell.New, without the defaults of
// newReplica.
func configWithJobs(c *clock, definitions ...hourbell.Definition) hourbell.Config {
	cfg := newConfig(c, definitions...)
	cfg.Jobs, cfg.Logger = testJobs, slog.New(slog.DiscardHandler)
	return cfg
}

// syncDefinitions syncs as a new replica with its own store.
func syncDefinitions(ctx context.Context, st hourbell.Store, cfg hourbell.Config) error {
	s, err := hourbell.New(st, cfg)
	if err != nil {
		return err
	}
	return s.Sync(ctx)
}

// M5, D5: a change that stops, removes or moves a schedule records its due
// slots as skipped.
func TestStopRecordsDueSlots(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(3*time.Hour + 30*time.Minute))
		require.NoError(t, action.run(t.Context(), c, store.New(db.DB)))

		require.Equal(t, []string{string(action.reason) + " 13:00:00-15:00:00 3"}, skipTexts(t, s, "a"))
		settled := noon.Add(3 * time.Hour)
		if !action.next.IsZero() {
			settled = c.Now() // the time from which the moved schedule counts
		}
		require.Equal(t, settled, readSchedule(t, s, "a").SettledThrough)
		require.Equal(t, action.next, readSchedule(t, s, "a").NextRunAt)
		require.Zero(t, readRuns(t, s, "a"))
	})
}

// M5: a change that stops or moves a schedule clears its lock, unfinished claim
// and backoff, and increments its version.
func TestStopClearsLockAndRetryState(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		cfg := newConfig(c, hourly("a"), hourly("other"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return errEnqueuer })
		s := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)
		require.NotZero(t, readSchedule(t, s, "a").RetryAt)
		c.Advance(time.Second)
		holder := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error { return errLostResponse })}, newConfig(c, hourly("a"), hourly("other")))
		_, err := holder.Tick(t.Context())
		require.ErrorIs(t, err, errLostResponse)
		before := readSchedule(t, s, "a")
		require.NotEmpty(t, before.LockedBy)
		require.NotZero(t, before.UnfinishedSince)
		require.Equal(t, 1, before.ConsecutiveFailures)

		require.NoError(t, action.run(t.Context(), c, store.New(db.DB)))
		a := readSchedule(t, s, "a")
		require.Empty(t, a.LockedBy)
		require.Empty(t, a.LastError)
		require.Zero(t, a.LockedAt)
		require.Zero(t, a.UnfinishedSince)
		require.Zero(t, a.RetryAt)
		require.Zero(t, a.ConsecutiveFailures)
		require.Greater(t, a.Version, before.Version)
		require.Equal(t, []string{string(action.reason) + " 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
	})
}

// M5: one transaction writes the skips and the change.
func TestStopIsAtomic(t *testing.T) {
	errFailed := errors.New("failed")
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour))
		before := dumpRows(t, db, "default")
		for _, step := range []string{"before insert-events", "before commit"} {
			err := action.run(t.Context(), c, &hookedStore{store.New(db.DB), hookOnce(step, func() error { return errFailed })})
			require.ErrorIs(t, err, errFailed)
			require.Equal(t, before, dumpRows(t, db, "default"), step)
		}
		require.Equal(t, 2, tick(t, s).Fired)
	})
}

// M5: a fire in progress is refused after the schedule was stopped or moved. No
// slot of the old state fires later.
func TestStopRefusesFireInProgress(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		cfg := newConfig(c, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			t.Error("the Enqueuer was called")
			return nil
		})
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error {
			return action.run(t.Context(), c, store.New(db.DB))
		})}, cfg)
		require.NoError(t, s.Sync(t.Context()))
		c.Set(noon.Add(time.Hour))

		report := tick(t, s)
		require.Equal(t, []int{1, 0, 0, 1}, []int{report.Claimed, report.Fired, report.Enqueued, report.LockLost})
		for range 5 {
			c.Advance(time.Minute)
			tick(t, s)
		}
		require.Empty(t, readRuns(t, s, "a"))
		require.Equal(t, []string{string(action.reason) + " 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
	})
}

// M5: a schedule with an invalid stored expression can be disabled. Enable
// returns an error that names the expression.
func TestScheduleWithInvalidCronCanBeDisabled(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET cron = 'not-cron', definition_hash = 'of another build'").Error)
		c.Set(noon.Add(3 * time.Hour))
		require.NoError(t, s.Disable(t.Context(), "a", ann))
		require.Equal(t, []string{"DISABLED 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
		require.Equal(t, "at least 1 slots", readEvents(t, s, "a", hourbell.EventSkipped)[0].Detail)
		requireNoWrites(t, db, func() {
			err := s.Enable(t.Context(), "a", ann)
			require.ErrorContains(t, err, `hourbell: schedule "a": cron "not-cron"`)
			require.ErrorContains(t, err, "not-cron")
		})
	})
}
