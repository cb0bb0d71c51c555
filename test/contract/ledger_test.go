package contract_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// requireLedger checks every slot of a schedule after one time and up to
// another. Each slot must have fired once, with all its jobs and not early, or
// lie in one skipped range. It computes the slots from the definition alone.
func requireLedger(t testing.TB, s *hourbell.Scheduler, d hourbell.Definition, after, until time.Time) {
	t.Helper()
	slots, err := d.Between(after.Add(time.Second).Truncate(time.Second), until.Add(time.Nanosecond))
	require.NoError(t, err)
	entries := make(map[time.Time]int, len(slots)) // fires and skips of each slot
	for _, slot := range slots {
		entries[slot] = 0
	}
	jobsPerFire := 1
	if d.Target.String() == hourbell.Group("feed").String() {
		jobsPerFire = 2
	}
	runs := readRunsInPages(t, s, d.ID)
	fires := firedSlots(runs)
	require.Len(t, runs, jobsPerFire*len(fires), "%s: a fire is all or nothing", d.ID)
	for _, slot := range fires {
		require.Contains(t, entries, slot, "%s: fired at a time that is not a slot", d.ID)
		entries[slot]++
	}
	for _, run := range runs {
		require.False(t, run.QueuedAt.Before(run.ScheduledFor), "%s: %v fired early, at %v", d.ID, run.ScheduledFor, run.QueuedAt)
	}
	events := readEvents(t, s, d.ID, hourbell.EventSkipped)
	require.Less(t, len(events), 1000)
	for _, e := range events {
		count := 0
		for _, slot := range slots {
			if !slot.Before(e.SlotFrom) && !slot.After(e.SlotTo) {
				entries[slot]++
				count++
			}
		}
		require.Contains(t, entries, e.SlotFrom, d.ID)
		require.Contains(t, entries, e.SlotTo, d.ID)
		require.Equal(t, min(count, 1000), e.SlotCount, d.ID)
		require.Equal(t, count > 1000, e.Detail != "", d.ID)
	}
	for slot, n := range entries {
		require.Equal(t, 1, n, "%s: the slot %v has %d entries", d.ID, slot, n)
	}
}

// readRunsInPages reads all runs of a schedule, newest first.
func readRunsInPages(t testing.TB, s *hourbell.Scheduler, id string) (runs []hourbell.JobRun) {
	t.Helper()
	for query := (hourbell.RunQuery{ScheduleID: id, Limit: 1000}); ; query.Before = runs[len(runs)-1].ID {
		page, err := s.Runs(t.Context(), query)
		require.NoError(t, err)
		if runs = append(runs, page...); len(page) < query.Limit {
			return runs
		}
	}
}

// requireLoopLedger is requireLedger for the schedule "s" of newLoopConfig, for
// all slots that a stopped loop has settled.
func requireLoopLedger(t testing.TB, s *hourbell.Scheduler) {
	t.Helper()
	stored := readSchedule(t, s, "s")
	requireLedger(t, s, everySecond("s"), stored.CreatedAt, stored.SettledThrough)
}
