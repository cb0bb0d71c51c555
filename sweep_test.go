package hourbell_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// D5: a schedule removed from code is kept for 14 days, with its state, and then purged.
func TestARemovedScheduleIsPurgedAfterFourteenDays(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon)
		synced(t, db.DB, hourbell.Config{Definitions: manyHourly(2), Now: now.Now})
		s := synced(t, db.DB, hourbell.Config{Definitions: manyHourly(1), Now: now.Now})

		now.Advance(14 * 24 * time.Hour)
		_, err := s.Sweep(t.Context())
		require.NoError(t, err)
		require.Equal(t, noon, row(t, s, "s000001").RemovedAt)

		now.Advance(time.Second)
		_, err = s.Sweep(t.Context())
		require.NoError(t, err)
		_, err = s.Schedule(t.Context(), "s000001")
		require.ErrorIs(t, err, hourbell.ErrUnknownSchedule)
		row(t, s, "s000000")
	})
}

// Finished runs and events go after Config.Retention, however many there are; runs that wait to be executed stay.
func TestRunsAndEventsAreSweptAfterRetention(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, hourbell.Config{Definitions: manyHourly(3), Now: now.Now, Retention: time.Hour})
		now.Set(noon)
		tick(t, s)
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "w", Limit: 2})
		require.NoError(t, err)
		for _, run := range taken {
			require.NoError(t, s.FinishRun(t.Context(), run, nil))
		}

		now.Advance(time.Hour + time.Second)
		deleted, err := s.Sweep(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2+3, deleted, "two runs, and the events of three definitions")
		waiting, err := s.Runs(t.Context(), hourbell.RunQuery{})
		require.NoError(t, err)
		require.Len(t, waiting, 1)
	})
}

// With an Enqueuer nobody here ever learns that a run is finished: its record goes by when it was enqueued.
func TestRunsOfAnEngineAreSweptByTheirAge(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, hourbell.Config{Definitions: manyHourly(1), Now: now.Now, Retention: time.Hour, Enqueuer: idle})
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
		now.Advance(time.Hour + time.Second)
		_, err := s.Sweep(t.Context())
		require.NoError(t, err)
		require.Empty(t, runsOf(t, s, "s000000"))
	})
}

// O4: workers that have been dead for a day are forgotten.
func TestWorkersDeadForADayAreForgotten(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon)
		s := synced(t, db.DB, hourbell.Config{Now: now.Now})
		require.NoError(t, s.Beat(t.Context()))
		now.Advance(24 * time.Hour)
		_, err := s.Sweep(t.Context())
		require.NoError(t, err)
		workers, err := s.Workers(t.Context())
		require.NoError(t, err)
		require.Len(t, workers, 1)

		now.Advance(time.Second)
		_, err = s.Sweep(t.Context())
		require.NoError(t, err)
		workers, err = s.Workers(t.Context())
		require.NoError(t, err)
		require.Empty(t, workers)
	})
}
