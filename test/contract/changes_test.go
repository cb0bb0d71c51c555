package contract_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// L6: a change that was computed from a stale row reads the row again. Here
// another replica fires the due slot first, so the change must not record it as
// skipped.
func TestChangeRetriesAfterConcurrentFire(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		other := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour))
		raced := false
		err := action.run(t.Context(), c, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			raced = true
			report, err := other.Tick(t.Context())
			require.Equal(t, 2, report.Fired)
			return err
		})})
		require.NoError(t, err)
		require.True(t, raced)
		require.Len(t, readRuns(t, other, "a"), 1)
		require.Empty(t, skipTexts(t, other, "a"))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, other, "a").SettledThrough)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, other, "a").LastScheduledFor)
	})
}

// L6: Enable uses the expression that is stored when it writes, not the one
// that it read before.
func TestEnableRetriesAfterDefinitionChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("other")))
		d := hourly("a")
		d.EnabledByDefault = false
		newSyncedReplica(t, db.DB, newConfig(c, d, hourly("other")))
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			d.Cron = "*/20 * * * *"
			return syncDefinitions(t.Context(), store.New(db.DB), configWithJobs(c, d, hourly("other")))
		})}, newConfig(c))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		require.Equal(t, noon.Add(20*time.Minute), readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventChanged, hourbell.EventEnabled}, eventKinds(t, s, "a"))
	})
}

// L6: of two concurrent Disable calls, the second finds the schedule disabled
// and writes nothing.
func TestConcurrentDisablesLeaveOneEvent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		first := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		second := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			return first.Disable(t.Context(), "a", ann)
		})}, newConfig(c))
		require.NoError(t, second.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: "bob"}))
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventSkipped, hourbell.EventDisabled}, eventKinds(t, first, "a"))
		require.Equal(t, "because", readSchedule(t, first, "a").EnabledNote)
	})
}

// L6: a sync that only renames a schedule reads the row again too. It keeps the
// concurrent Disable.
func TestSyncRetriesAfterConcurrentDisable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		other := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		renamed := hourly("a")
		renamed.Name = "renamed"
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			return other.Disable(t.Context(), "a", ann)
		})}, newConfig(c, renamed, hourly("b"), hourly("new")))
		require.NoError(t, s.Sync(t.Context()))
		a := readSchedule(t, s, "a")
		require.Equal(t, "renamed", a.Name)
		require.False(t, a.Enabled)
		require.Zero(t, a.NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, "new"), "the retry does not repeat what the first attempt wrote")
	})
}

// L6: a slot that comes due between read and write is recorded as skipped.
func TestChangeRecordsSlotDueMeanwhile(t *testing.T) {
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		c.Set(noon.Add(time.Hour - time.Microsecond))
		err := action.run(t.Context(), c, &hookedStore{store.New(db.DB), hookOnce("before update-schedules", func() error {
			c.Set(noon.Add(time.Hour))
			return nil
		})})
		require.NoError(t, err)
		require.Equal(t, []string{string(action.reason) + " 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").SettledThrough)
		tick(t, s)
		require.Empty(t, readRuns(t, s, "a"))
	})
}

// L6: a change of a row that others keep changing gives up with ErrBusy and
// leaves the row alone.
func TestChangeGivesUpOnBusyRow(t *testing.T) {
	newBusyStore := func(db *dbtest.DB) *hookedStore {
		return &hookedStore{store.New(db.DB), func(step string) error {
			if step != "before begin" {
				return nil
			}
			return db.Exec("UPDATE hourbell_schedules SET version = version + 1").Error
		}}
	}
	runCases(t, stopActions, func(t *testing.T, db *dbtest.DB, action stopAction) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("other")))
		require.ErrorIs(t, action.run(t.Context(), c, newBusyStore(db)), hourbell.ErrBusy)
		require.True(t, readSchedule(t, s, "a").Enabled)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, "a"))
	})
}

// L5: Unlock clears a lock only if its holder is the one that the operator saw.
func TestUnlockRequiresMatchingHolder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(time.Hour))
		newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourly("a")))
		s := newReplica(t, db.DB, newConfig(c, hourly("a")))
		result, err := bindStore(t, db.DB, c.Now).Claim(t.Context(), storage.ClaimRequest{Worker: "w", Limit: 1, LockTTL: time.Hour, Exclude: []string{}})
		require.NoError(t, err)
		require.Len(t, result.Claims, 1)
		before := readSchedule(t, s, "a")
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "another"}), hourbell.ErrChanged)
		require.Equal(t, before, readSchedule(t, s, "a"))
		require.NoError(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "w"}))
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.ChangeOptions{IfMatch: "w"}), hourbell.ErrChanged)
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
	})
}

// O5: every operator change leaves an event with actor and note.
func TestOperatorChangesLeaveEvents(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		holder := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error { return errLostResponse })}, newConfig(c, hourly("a")))
		_, err := holder.Tick(ctx)
		require.ErrorIs(t, err, errLostResponse)
		version, worker := readSchedule(t, s, "a").Version, readSchedule(t, s, "a").LockedBy
		require.NotEmpty(t, worker)

		require.NoError(t, s.Unlock(ctx, "a", hourbell.ChangeOptions{Actor: "ann", Note: "stuck"}))
		require.Empty(t, readSchedule(t, s, "a").LockedBy)
		require.Zero(t, readSchedule(t, s, "a").LockedAt)
		require.Greater(t, readSchedule(t, s, "a").Version, version)
		_, err = s.RunNow(ctx, "a", hourbell.EnqueueOptions{Actor: "bob", Note: "try"})
		require.NoError(t, err)
		require.NoError(t, s.Disable(ctx, "a", hourbell.ChangeOptions{Actor: "cem", Note: "enough"}))
		require.NoError(t, s.Enable(ctx, "a", hourbell.ChangeOptions{Actor: "dee", Note: "go on"}))

		want := []string{"ENABLED dee: go on", "DISABLED cem: enough", "SKIPPED cem: enough", "RUN_NOW bob: try", "UNLOCKED ann: stuck"}
		var got []string
		for _, e := range readEvents(t, s, "a", "")[:len(want)] {
			got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Actor, e.Note))
			require.Equal(t, c.Now(), e.At)
		}
		require.Equal(t, want, got)
		require.Contains(t, readEvents(t, s, "a", hourbell.EventUnlocked)[0].Detail, worker)
		requireNoWrites(t, db, func() { require.NoError(t, s.Unlock(ctx, "a", ann)) })
	})
}

// O1, O4: health reports a stalled loop of its own process, even if the
// database is unavailable.
func TestHealthDetectsStalledLoop(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		unavailable := make(chan struct{})
		st := &hookedStore{store.New(db.DB), func(reached string) error {
			select {
			case <-unavailable:
				return errors.New("database unavailable")
			default:
				return nil
			}
		}}
		s := newReplicaWithStore(t, st, hourbell.Config{LockTTL: time.Second, PollInterval: 50 * time.Millisecond})
		h, err := s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled})

		stop := startLoop(t, s)
		await(t, "a tick", func() bool { h, err := s.Health(t.Context()); return err == nil && h.Running && !h.LastTickAt.IsZero() })
		close(unavailable)
		await(t, "health reports the stalled loop", func() bool { h, _ := s.Health(t.Context()); return h.Stalled })
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		h, err = s.Health(canceled)
		require.Error(t, err)
		require.Equal(t, []bool{true, true, false}, []bool{h.Running, h.Stalled, h.LastTickAt.IsZero()})

		require.NoError(t, stop())
		h, err = s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled}, "a stopped loop is not stalled")
	})
}
