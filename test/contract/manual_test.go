package contract_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// manual returns a definition that only operators run.
func manual(id string) hourbell.Definition {
	return hourbell.Definition{ID: id, Manual: true, Target: hourbell.Group("feed")}
}

// D10: a manual schedule never comes due, enabled or not. Run now works.
func TestManualScheduleNeverComesDue(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		enabled := manual("enabled")
		enabled.EnabledByDefault = true
		s := newSyncedReplica(t, db.DB, newConfig(c, manual("disabled"), enabled))
		require.NoError(t, s.Enable(t.Context(), "disabled", ann))
		require.NoError(t, s.Disable(t.Context(), "enabled", ann))
		require.NoError(t, s.Enable(t.Context(), "enabled", ann))
		for range 5 {
			c.Advance(24 * time.Hour)
			require.Zero(t, tick(t, s).Claimed)
		}
		for _, id := range []string{"disabled", "enabled"} {
			schedule := readSchedule(t, s, id)
			require.True(t, schedule.Enabled)
			require.True(t, schedule.Manual)
			require.Equal(t, hourbell.StateManual, schedule.State)
			require.Empty(t, schedule.Cron)
			require.Zero(t, schedule.NextRunAt)
			upcoming, err := s.Upcoming(t.Context(), id, 3)
			require.ErrorIs(t, err, cron.ErrNever)
			require.Empty(t, upcoming)
			require.Empty(t, skipTexts(t, s, id))
			runs, err := s.RunNow(t.Context(), id, hourbell.EnqueueOptions{Actor: "ann"})
			require.NoError(t, err)
			require.Len(t, runs, 2)
			require.Len(t, readRuns(t, s, id), 2)
		}
		requireNoWrites(t, db, func() { require.NoError(t, s.Sync(t.Context())) })
	})
}

// D10: the state MANUAL selects manual schedules, and no other state does.
func TestManualStateSelectsManualSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		removed := manual("removed")
		enabled := manual("enabled")
		enabled.EnabledByDefault = true
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, manual("a"), enabled, removed, hourly("b")))
		s := newSyncedReplica(t, db.DB, newConfig(c, manual("a"), enabled, hourly("b")))
		ids := map[hourbell.ScheduleState][]string{}
		for _, state := range []hourbell.ScheduleState{
			hourbell.StateManual, hourbell.StateEnabled, hourbell.StateDisabled, hourbell.StateOverdue, hourbell.StateFailing, hourbell.StateRemoved,
		} {
			page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{State: state})
			require.NoError(t, err)
			for _, schedule := range page.Schedules {
				ids[state] = append(ids[state], schedule.ID)
			}
			require.Equal(t, len(ids[state]), page.Counts[state])
		}
		require.Equal(t, map[hourbell.ScheduleState][]string{
			hourbell.StateManual: {"a", "enabled"}, hourbell.StateEnabled: {"b"}, hourbell.StateRemoved: {"removed"},
		}, ids)
	})
}

// D4, D10: a schedule that becomes manual is settled. One that gets an
// expression counts from then on.
func TestScheduleBecomesManualAndBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(90 * time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(c, manual("a")))
		require.Equal(t, []string{"CHANGED 13:00:00-13:00:00 1"}, skipTexts(t, s, "a"))
		require.Equal(t, "from 0 * * * * in UTC to manual", readEvents(t, s, "a", hourbell.EventChanged)[0].Detail)
		require.Zero(t, readSchedule(t, s, "a").NextRunAt)

		c.Set(noon.Add(5*time.Hour + time.Minute))
		s = newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		require.Len(t, skipTexts(t, s, "a"), 1)
		require.Equal(t, noon.Add(6*time.Hour), readSchedule(t, s, "a").NextRunAt)
	})
}

// D1: Validate, Next and Between accept a manual definition.
func TestManualDefinitionHasNoSlots(t *testing.T) {
	require.NoError(t, manual("a").Validate())
	_, err := manual("a").Next(noon)
	require.ErrorIs(t, err, cron.ErrNever)
	slots, err := manual("a").Between(noon, noon.AddDate(1, 0, 0))
	require.NoError(t, err)
	require.Empty(t, slots)
}
