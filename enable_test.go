package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

var ann = hourbell.By{Actor: "ann", Note: "because"}

// M4: a schedule seen for the first time does not fire for the past, nor for the very instant of its registration.
func TestFirstRegistrationDoesNotFireForThePast(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, at := range []time.Time{noon, noon.Add(time.Microsecond), noon.Add(59 * time.Minute)} {
			id := fmt.Sprintf("at-%d", at.Sub(noon))
			s := synced(t, db.DB, definitions(newClock(at), hourly(id)))
			require.Equal(t, noon.Add(time.Hour), row(t, s, id).NextRunAt)
			require.Zero(t, tick(t, s).Claimed)
			require.Empty(t, skipped(t, s, id))
		}
	})
}

// L6, M4: where the first slot passes while a schedule is being registered, the next one is still after now.
func TestRegisteringNeverWritesANextSlotThatHasPassed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before insert", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, definitions(c, hourly("a")))
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, noon.Add(2*time.Hour), row(t, s, "a").NextRunAt)
		require.Equal(t, []string{"DEFINED"}, kinds(t, s, "a"))
		require.Zero(t, tick(t, s).Claimed)
	})
}

// M4: enabling does not fire for the past, nor does it record as skipped what was never to fire.
func TestEnablingDoesNotFireForThePast(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		require.NoError(t, s.Disable(t.Context(), "a", ann))
		require.Zero(t, row(t, s, "a").NextRunAt)
		c.Set(noon.Add(3 * time.Hour)) // on a slot, which is not after now
		require.NoError(t, s.Enable(t.Context(), "a", ann))

		a := row(t, s, "a")
		require.True(t, a.Enabled)
		require.Equal(t, "because", a.EnabledNote)
		require.Equal(t, noon.Add(4*time.Hour), a.NextRunAt)
		require.Zero(t, tick(t, s).Claimed)
		c.Set(noon.Add(4 * time.Hour))
		tick(t, s)
		require.Equal(t, []time.Time{noon.Add(4 * time.Hour)}, slots(runsOf(t, s, "a")))
		require.Empty(t, skipped(t, s, "a"))
	})
}

// M4: the next slot lies after the last one settled, though the clock was stepped back before it.
func TestEnablingNeverRepeatsASettledSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for id, settle := range map[string]func(*hourbell.Scheduler){
			"fired":   func(s *hourbell.Scheduler) { require.Equal(t, 1, tick(t, s).Fired) },
			"skipped": func(*hourbell.Scheduler) {},
		} {
			c := newClock(noon)
			s := synced(t, db.DB, definitions(c, hourly(id)))
			c.Set(noon.Add(time.Hour))
			settle(s)
			require.NoError(t, s.Disable(t.Context(), id, ann))
			c.Set(noon.Add(30 * time.Minute))
			require.NoError(t, s.Enable(t.Context(), id, ann))
			require.Equal(t, noon.Add(2*time.Hour), row(t, s, id).NextRunAt)
		}
	})
}

// M4: enabling what is enabled and disabling what is disabled does nothing: no event, no write, not even the note.
func TestEnableOnEnabledAndDisableOnDisabledDoNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("on"), hourly("off")))
		require.NoError(t, s.Disable(t.Context(), "off", ann))
		c.Advance(5 * time.Hour) // slots are due
		untouched(t, db, func() {
			require.NoError(t, s.Enable(t.Context(), "on", hourbell.By{Actor: "bob", Note: "again"}))
			require.NoError(t, s.Disable(t.Context(), "off", hourbell.By{Actor: "bob", Note: "again"}))
		})
	})
}

// stop is a way to stop a schedule, or to move its next slot: the reason recorded for what is passed over, the next
// slot after 15:30, and how it is done.
type stop struct {
	reason string
	next   time.Time
	stop   func(context.Context, *clock, hourbell.Store) error
}

var stops = map[string]stop{
	"disable": {"DISABLED", time.Time{}, func(ctx context.Context, c *clock, st hourbell.Store) error {
		s, err := hourbell.New(st, declared(c, hourly("a"), hourly("other")))
		if err != nil {
			return err
		}
		return s.Disable(ctx, "a", ann)
	}},
	"change": {"CHANGED", noon.Add(3*time.Hour + 40*time.Minute), func(ctx context.Context, c *clock, st hourbell.Store) error {
		d := hourly("a")
		d.Cron = "*/20 * * * *"
		return syncAs(ctx, st, declared(c, d, hourly("other")))
	}},
	"remove": {"REMOVED", time.Time{}, func(ctx context.Context, c *clock, st hourbell.Store) error {
		return syncAs(ctx, st, declared(c, hourly("other")))
	}},
}

func declared(c *clock, list ...hourbell.Definition) hourbell.Config {
	cfg := definitions(c, list...)
	cfg.Jobs, cfg.Logger = jobs, (&logs{}).logger()
	return cfg
}

func syncAs(ctx context.Context, st hourbell.Store, cfg hourbell.Config) error {
	s, err := hourbell.New(st, cfg)
	if err != nil {
		return err
	}
	return s.Sync(ctx)
}

// M5: what stops or moves a schedule records the slots due as skipped, with its reason.
func TestStoppingRecordsTheSlotsDue(t *testing.T) {
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(3*time.Hour + 30*time.Minute))
		require.NoError(t, way.stop(t.Context(), c, store.New(db.DB)))

		require.Equal(t, []string{way.reason + " 13:00:00-15:00:00 3"}, skipped(t, s, "a"))
		require.Equal(t, noon.Add(3*time.Hour), row(t, s, "a").SettledUntil)
		require.Equal(t, way.next, row(t, s, "a").NextRunAt)
		require.Zero(t, runsOf(t, s, "a"))
	})
}

// M5: lock, debt and back-off are cleared, and the token grows.
func TestStoppingClearsLockDebtAndBackOff(t *testing.T) {
	errLost := errors.New("the answer was lost")
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		cfg := definitions(c, hourly("a"), hourly("other"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errors.New("engine away") })
		s := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))
		tick(t, s)
		require.NotZero(t, row(t, s, "a").HeldUntil)
		c.Advance(time.Second)
		holder := replicaOn(t, &stepped{store.New(db.DB), firstAt("after claim", func() error { return errLost })}, definitions(c, hourly("a"), hourly("other")))
		_, err := holder.Tick(t.Context())
		require.ErrorIs(t, err, errLost)
		before := row(t, s, "a")
		require.NotEmpty(t, before.LockedBy)
		require.NotZero(t, before.OwedSince)
		require.Equal(t, 1, before.Failures)

		require.NoError(t, way.stop(t.Context(), c, store.New(db.DB)))
		a := row(t, s, "a")
		require.Empty(t, a.LockedBy)
		require.Empty(t, a.LastError)
		require.Zero(t, a.LockedAt)
		require.Zero(t, a.OwedSince)
		require.Zero(t, a.HeldUntil)
		require.Zero(t, a.Failures)
		require.Greater(t, a.LockToken, before.LockToken)
		require.Equal(t, []string{way.reason + " 13:00:00-13:00:00 1"}, skipped(t, s, "a"))
	})
}

// M5: the record of what is passed over and the change itself are one transaction.
func TestStoppingIsAllOrNothing(t *testing.T) {
	errFull := errors.New("no room")
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour))
		before := dump(t, db, "default")
		for _, step := range []string{"before insert-events", "before commit"} {
			err := way.stop(t.Context(), c, &stepped{store.New(db.DB), firstAt(step, func() error { return errFull })})
			require.ErrorIs(t, err, errFull)
			require.Equal(t, before, dump(t, db, "default"), step)
		}
		require.Equal(t, 2, tick(t, s).Fired)
	})
}

// M5: a fire under way is refused once the schedule was stopped or moved, and nothing of the old state fires later.
func TestAFireUnderWayIsRefusedOnceStopped(t *testing.T) {
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		cfg := definitions(c, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			t.Error("nothing may be handed over")
			return nil
		})
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("after claim", func() error {
			return way.stop(t.Context(), c, store.New(db.DB))
		})}, cfg)
		require.NoError(t, s.Sync(t.Context()))
		c.Set(noon.Add(time.Hour))

		report := tick(t, s)
		require.Equal(t, []int{1, 0, 0, 1}, []int{report.Claimed, report.Fired, report.Enqueued, report.LockLost})
		for range 5 {
			c.Advance(time.Minute)
			tick(t, s)
		}
		require.Empty(t, runsOf(t, s, "a"))
		require.Equal(t, []string{way.reason + " 13:00:00-13:00:00 1"}, skipped(t, s, "a"))
	})
}

// L6: a change computed from a reading that is stale by the time of the write reads again and repeats. Here another
// replica fires the slot that was due at the reading: it must not be recorded as skipped too.
func TestAChangeReadsAgainWhenTheRowHasFired(t *testing.T) {
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		other := synced(t, db.DB, definitions(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour))
		raced := false
		err := way.stop(t.Context(), c, &stepped{store.New(db.DB), firstAt("before begin", func() error {
			raced = true
			report, err := other.Tick(t.Context())
			require.Equal(t, 2, report.Fired)
			return err
		})})
		require.NoError(t, err)
		require.True(t, raced)
		require.Len(t, runsOf(t, other, "a"), 1)
		require.Empty(t, skipped(t, other, "a"))
		require.Equal(t, noon.Add(time.Hour), row(t, other, "a").SettledUntil)
		require.Equal(t, noon.Add(time.Hour), row(t, other, "a").LastScheduledFor)
	})
}

// L6: enabling takes the expression that is stored when it writes, not the one it read.
func TestEnableReadsAgainWhenTheDefinitionHasChanged(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("other")))
		d := hourly("a")
		d.EnabledByDefault = false
		synced(t, db.DB, definitions(c, d, hourly("other")))
		people := replicaOn(t, &stepped{store.New(db.DB), firstAt("before begin", func() error {
			d.Cron = "*/20 * * * *"
			return syncAs(t.Context(), store.New(db.DB), declared(c, d, hourly("other")))
		})}, definitions(c))
		require.NoError(t, people.Enable(t.Context(), "a", ann))
		require.Equal(t, noon.Add(20*time.Minute), row(t, people, "a").NextRunAt)
		require.Equal(t, []string{"DEFINED", "CHANGED", "ENABLED"}, kinds(t, people, "a"))
	})
}

// L6: two people who press the same button leave one event; the second finds it done.
func TestTwoPeopleDisableOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		first := synced(t, db.DB, definitions(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		second := replicaOn(t, &stepped{store.New(db.DB), firstAt("before begin", func() error {
			return first.Disable(t.Context(), "a", ann)
		})}, definitions(c))
		require.NoError(t, second.Disable(t.Context(), "a", hourbell.By{Actor: "bob"}))
		require.Equal(t, []string{"DEFINED", "SKIPPED", "DISABLED"}, kinds(t, first, "a"))
		require.Equal(t, "because", row(t, first, "a").EnabledNote)
	})
}

// L6: a sync that moves nothing of the loop's reads again too, and does not undo what it did not see.
func TestSyncReadsAgainWhenTheRowWasClaimed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		other := synced(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		renamed := hourly("a")
		renamed.Name = "renamed"
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before begin", func() error {
			return other.Disable(t.Context(), "a", ann)
		})}, definitions(c, renamed, hourly("b"), hourly("new")))
		require.NoError(t, s.Sync(t.Context()))
		a := row(t, s, "a")
		require.Equal(t, "renamed", a.Name)
		require.False(t, a.Enabled)
		require.Zero(t, a.NextRunAt)
		require.Equal(t, []string{"DEFINED"}, kinds(t, s, "new"), "what still fitted at the first attempt is written once")
	})
}

// L6: a slot that comes due between the reading and the write is not lost: it is recorded, or it still fires.
func TestASlotThatComesDueDuringAChangeIsNotLost(t *testing.T) {
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour - time.Microsecond))
		err := way.stop(t.Context(), c, &stepped{store.New(db.DB), firstAt("before revise", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})})
		require.NoError(t, err)
		require.Equal(t, []string{way.reason + " 13:00:00-13:00:00 1"}, skipped(t, s, "a"))
		require.Equal(t, noon.Add(time.Hour), row(t, s, "a").SettledUntil)
		tick(t, s)
		require.Empty(t, runsOf(t, s, "a"))
	})
}

// L6, M4: where a whole slot passes while a schedule is being enabled, the next one is still after now.
func TestEnablingNeverWritesANextSlotThatHasPassed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before revise", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, definitions(c, d))
		require.NoError(t, s.Sync(t.Context()))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		require.Equal(t, noon.Add(2*time.Hour), row(t, s, "a").NextRunAt)
		require.Zero(t, tick(t, s).Claimed)
	})
}

// L6, M4: the same for a schedule that comes back to code.
func TestRedeclaringNeverWritesANextSlotThatHasPassed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		synced(t, db.DB, definitions(c, hourly("b")))
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before revise", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})}, definitions(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, noon.Add(2*time.Hour), row(t, s, "a").NextRunAt)
	})
}

// L6: a row that never holds still is given up on, with an error that says so, and is as it was.
func TestAChangeGivesUpOnARowThatNeverHoldsStill(t *testing.T) {
	restless := func(db *dbtest.DB) *stepped {
		return &stepped{store.New(db.DB), func(step string) error {
			if step != "before begin" {
				return nil
			}
			return db.Exec("UPDATE hourbell_schedules SET lock_token = lock_token + 1").Error
		}}
	}
	eachCase(t, stops, func(t *testing.T, db *dbtest.DB, way stop) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("other")))
		require.ErrorIs(t, way.stop(t.Context(), c, restless(db)), hourbell.ErrBusy)
		require.True(t, row(t, s, "a").Enabled)
		require.Equal(t, noon.Add(time.Hour), row(t, s, "a").NextRunAt)
		require.Equal(t, []string{"DEFINED"}, kinds(t, s, "a"))
	})
}

// O5: everything a person does leaves an event with actor and note.
func TestEverythingAPersonDoesLeavesAnEvent(t *testing.T) {
	errLost := errors.New("the answer was lost")
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		holder := replicaOn(t, &stepped{store.New(db.DB), firstAt("after claim", func() error { return errLost })}, definitions(c, hourly("a")))
		_, err := holder.Tick(ctx)
		require.ErrorIs(t, err, errLost)
		token, worker := row(t, s, "a").LockToken, row(t, s, "a").LockedBy
		require.NotEmpty(t, worker)

		require.NoError(t, s.Unlock(ctx, "a", hourbell.By{Actor: "ann", Note: "stuck"}))
		require.Empty(t, row(t, s, "a").LockedBy)
		require.Zero(t, row(t, s, "a").LockedAt)
		require.Greater(t, row(t, s, "a").LockToken, token)
		_, err = s.RunNow(ctx, "a", hourbell.EnqueueOptions{By: hourbell.By{Actor: "bob", Note: "try"}})
		require.NoError(t, err)
		require.NoError(t, s.Disable(ctx, "a", hourbell.By{Actor: "cem", Note: "enough"}))
		require.NoError(t, s.Enable(ctx, "a", hourbell.By{Actor: "dee", Note: "go on"}))

		want := []string{"ENABLED dee: go on", "DISABLED cem: enough", "SKIPPED cem: enough", "RUN_NOW bob: try", "UNLOCKED ann: stuck"}
		var got []string
		for _, e := range eventsOf(t, s, "a", "")[:len(want)] {
			got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Actor, e.Note))
			require.Equal(t, c.Now(), e.At)
		}
		require.Equal(t, want, got)
		require.Contains(t, eventsOf(t, s, "a", "UNLOCKED")[0].Detail, worker)
		untouched(t, db, func() { require.NoError(t, s.Unlock(ctx, "a", ann)) })
	})
}

// A schedule that is not stored is an error that names it, whatever is asked of it.
func TestAnUnknownScheduleIsNamed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := synced(t, db.DB, definitions(newClock(noon), hourly("a")))
		untouched(t, db, func() {
			for name, call := range map[string]func(id string) error{
				"Schedule": func(id string) error { _, err := s.Schedule(ctx, id); return err },
				"Upcoming": func(id string) error { _, err := s.Upcoming(ctx, id, 1); return err },
				"Enable":   func(id string) error { return s.Enable(ctx, id, ann) },
				"Disable":  func(id string) error { return s.Disable(ctx, id, ann) },
				"Unlock":   func(id string) error { return s.Unlock(ctx, id, ann) },
				"RunNow":   func(id string) error { _, err := s.RunNow(ctx, id, hourbell.EnqueueOptions{By: ann}); return err },
			} {
				for _, id := range []string{"nobody", "", "A", "a\x00", "a' OR '1'='1"} {
					err := call(id)
					require.ErrorIs(t, err, hourbell.ErrUnknownSchedule, name)
					require.ErrorContains(t, err, fmt.Sprintf("%q", id), name)
				}
			}
		})
	})
}

// M5: a schedule whose stored expression can no longer be read can be stopped; it cannot be enabled, and says why.
func TestAScheduleThatCannotBeReadCanBeStopped(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET cron = 'whenever'").Error)
		c.Set(noon.Add(3 * time.Hour))
		require.NoError(t, s.Disable(t.Context(), "a", ann))
		require.Equal(t, []string{"DISABLED 13:00:00-13:00:00 1"}, skipped(t, s, "a"))
		require.Equal(t, "at least 1 slots", eventsOf(t, s, "a", "SKIPPED")[0].Detail)
		untouched(t, db, func() {
			err := s.Enable(t.Context(), "a", ann)
			require.ErrorContains(t, err, `cannot be enabled: hourbell: schedule "a": `)
			require.ErrorContains(t, err, "whenever")
		})
	})
}
