package hourbell_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// minutely is hourly for every minute.
func minutely(id string) hourbell.Definition {
	d := hourly(id)
	d.Cron = "* * * * *"
	return d
}

// M1: a slot that nobody claimed within grace is not caught up. It leaves one event, a line in the log and a count.
func TestASlotThatNobodyCameForIsSkippedAndRecorded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		var log logs
		cfg := definitions(now, hourly("a"))
		cfg.Logger = log.logger()
		s := synced(t, db.DB, cfg)
		now.Set(noon.Add(2*time.Hour + 2*time.Minute + time.Microsecond))
		report := tick(t, s)
		require.Equal(t, 3, report.Skipped)
		require.Zero(t, report.Fired+report.Enqueued+report.Failed)
		require.Empty(t, runsOf(t, s, "a"))

		events := eventsOf(t, s, "a", "SKIPPED")
		require.Len(t, events, 1)
		e := events[0]
		require.Equal(t, "LATE", e.Reason)
		require.Equal(t, []time.Time{noon, noon.Add(2 * time.Hour)}, []time.Time{e.SlotFrom, e.SlotTo})
		require.Equal(t, 3, e.SlotCount)
		require.Empty(t, e.Detail)
		require.Equal(t, now.Now(), e.At)
		require.Equal(t, s.WorkerID(), e.Actor)

		require.Contains(t, log.String(), `msg="hourbell: slots skipped" schedule=a reason=LATE from=2026-06-01T12:00:00Z to=2026-06-01T14:00:00Z count=3`)
		settled := row(t, s, "a")
		require.Equal(t, noon.Add(2*time.Hour), settled.SettledUntil)
		require.Equal(t, noon.Add(3*time.Hour), settled.NextRunAt)
		require.Zero(t, settled.LastScheduledFor, "nothing has fired")
		require.Zero(t, tick(t, s).Claimed, "settled once")
	})
}

// M1: a slot is on time for as long as its schedule's own grace lasts, its end included.
func TestASlotIsOnTimeUntilTheEndOfItsGrace(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		patient := hourly("patient")
		patient.Grace = 10 * time.Minute
		s := synced(t, db.DB, definitions(now, hourly("usual"), patient))
		now.Set(noon.Add(2 * time.Minute))
		require.Equal(t, 2, tick(t, s).Fired)
		now.Set(noon.Add(time.Hour + 10*time.Minute))
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []string{"LATE 13:00:00-13:00:00 1"}, skipped(t, s, "usual"))
		now.Set(noon.Add(2*time.Hour + 10*time.Minute + time.Microsecond))
		require.Zero(t, tick(t, s).Fired)
	})
}

// M2: only the latest slot due fires; those before it are one event, which says why.
func TestOnlyTheLatestSlotDueFires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, minutely("m"), hourly("h")))
		now.Set(noon.Add(time.Minute))
		require.Equal(t, 2, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:01:00Z"}, slotsOf(t, s, "m"))
		require.Equal(t, []string{"SUPERSEDED 12:00:00-12:00:00 1"}, skipped(t, s, "m"), "it was in grace still")

		now.Set(noon.Add(3 * time.Hour))
		require.Equal(t, 2, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:00:00Z", "2026-06-01T15:00:00Z"}, slotsOf(t, s, "h"))
		require.Equal(t, []string{"LATE 13:00:00-14:00:00 2"}, skipped(t, s, "h"))
	})
}

// M2: run, skip and the step of next_run_at are one transaction: before its end nothing of it is there.
func TestRunsAndSkipsAreWrittenTogetherOrNotAtAll(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		healthy := synced(t, db.DB, cfg)
		for _, step := range []string{"after advance", "after insert-events", "after insert-runs", "before commit"} {
			now.Set(now.Now().Add(3 * time.Hour).Truncate(time.Hour))
			due := row(t, healthy, "a").NextRunAt
			events, runs := len(eventsOf(t, healthy, "a", "SKIPPED")), len(runsOf(t, healthy, "a"))
			broken := replicaOn(t, &stepped{store.New(db.DB), firstAt(step, func() error { return errors.New("broken") })}, cfg)
			require.Equal(t, 1, tick(t, broken).Failed)
			require.Equal(t, due, row(t, healthy, "a").NextRunAt)
			require.Len(t, eventsOf(t, healthy, "a", "SKIPPED"), events)
			require.Len(t, runsOf(t, healthy, "a"), runs)

			now.Advance(time.Second)
			require.Equal(t, 1, tick(t, healthy).Fired)
			require.Len(t, eventsOf(t, healthy, "a", "SKIPPED"), events+1)
			require.Len(t, runsOf(t, healthy, "a"), runs+1)
		}
	})
}

// M3: after a year in which nobody came, the schedule goes on with the next slot at once. What it missed is one event
// with both ends exact, which says that it has not counted to the end.
func TestAGapOfAYearIsOneEventAndOneTick(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, minutely("m")))
		nextYear := time.Date(2027, 6, 1, 12, 0, 30, 0, time.UTC)
		now.Set(nextYear)
		report := tick(t, s)
		require.Equal(t, 1, report.Claimed)
		require.Equal(t, 1, report.Fired)
		require.Equal(t, nextYear.Add(30*time.Second), report.Wake)
		require.Equal(t, []string{"2027-06-01T12:00:00Z"}, slotsOf(t, s, "m"))

		events := eventsOf(t, s, "m", "SKIPPED")
		require.Len(t, events, 1)
		require.Equal(t, noon, events[0].SlotFrom)
		require.Equal(t, time.Date(2027, 6, 1, 11, 59, 0, 0, time.UTC), events[0].SlotTo)
		require.Equal(t, 1000, events[0].SlotCount)
		require.Equal(t, "at least 1000 slots", events[0].Detail)
	})
}

// M3: up to 1,000 the count is exact, and does not say "at least".
func TestAThousandMissedSlotsAreCountedExactly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, minutely("m")))
		now.Set(noon.Add(1000 * time.Minute)) // the slot of this instant fires
		require.Equal(t, 1000, tick(t, s).Skipped)
		e := eventsOf(t, s, "m", "SKIPPED")[0]
		require.Equal(t, 1000, e.SlotCount)
		require.Empty(t, e.Detail)
		require.Equal(t, []time.Time{noon, noon.Add(999 * time.Minute)}, []time.Time{e.SlotFrom, e.SlotTo})
	})
}
