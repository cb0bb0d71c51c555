package hourbell_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// Whoever asks for a change on what is no longer so is refused. That the schedule has fired meanwhile is no reason.
func TestAChangeOnWhatWasSeenOtherwiseIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		seen := row(t, s, "a").Fingerprint()
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Fired)
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{Actor: "ann", Seen: seen}))

		by := hourbell.By{Actor: "bob", Seen: seen}
		untouched(t, db, func() {
			require.ErrorIs(t, s.Disable(t.Context(), "a", by), hourbell.ErrChanged)
			require.ErrorIs(t, s.Enable(t.Context(), "a", by), hourbell.ErrChanged)
			_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: by})
			require.ErrorIs(t, err, hourbell.ErrChanged)
		})
		by.Seen = row(t, s, "a").Fingerprint()
		_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: by, Key: "k"})
		require.NoError(t, err)
		require.NoError(t, s.Enable(t.Context(), "a", by))

		// E6: a repetition is answered alike, though the schedule has changed since.
		again, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: by, Key: "k"})
		require.NoError(t, err)
		require.True(t, again[0].Repeated)
	})
}

// L5: a lock is cleared by hand only if it is still that of whom the person saw.
func TestUnlockIsForTheHolderThatWasSeen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(time.Hour))
		synced(t, db.DB, definitions(newClock(noon), hourly("a")))
		s := replica(t, db.DB, definitions(c, hourly("a")))
		claims, err := bound(t, db.DB, c.Now).Claim(t.Context(), hourbell.ClaimRequest{Worker: "w", Limit: 1, LockTTL: time.Hour, Except: []string{}})
		require.NoError(t, err)
		require.Len(t, claims.Rows, 1)
		before := row(t, s, "a")
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.By{Seen: "another"}), hourbell.ErrChanged)
		require.Equal(t, before, row(t, s, "a"))
		require.NoError(t, s.Unlock(t.Context(), "a", hourbell.By{Seen: "w"}))
		require.ErrorIs(t, s.Unlock(t.Context(), "a", hourbell.By{Seen: "w"}), hourbell.ErrChanged)
		require.Empty(t, row(t, s, "a").LockedBy)
	})
}

func TestALockEndsWithItsAgeOrItsHolder(t *testing.T) {
	s := replica(t, dbtest.SQLite(t).DB, hourbell.Config{LockTTL: 2 * time.Minute})
	locked := hourbell.Schedule{LockedBy: "w", LockedAt: noon}
	for name, c := range map[string]struct {
		worker hourbell.Worker
		want   time.Time
	}{
		"unknown": {hourbell.Worker{ID: "another", StoppedAt: noon}, noon.Add(2 * time.Minute)},
		"alive":   {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(110 * time.Second)}, noon.Add(2 * time.Minute)},
		"silent":  {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(time.Second)}, noon.Add(31 * time.Second)},
		"stopped": {hourbell.Worker{ID: "w", HeartbeatAt: noon, StoppedAt: noon.Add(5 * time.Second)}, noon.Add(5 * time.Second)},
		"dead":    {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(-time.Hour)}, noon},
	} {
		require.Equal(t, c.want, s.LockExpiry(locked, []hourbell.Worker{c.worker}), name)
	}
	require.Zero(t, s.LockExpiry(hourbell.Schedule{}, nil))
}

func TestSchedulesAreListedInPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, manyHourly(5)...))
		page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 2})
		require.NoError(t, err)
		require.Len(t, page.Schedules, 2)
		require.Equal(t, noon, page.At)
		require.Equal(t, hourbell.ScheduleCounts{All: 5, Enabled: 5}, page.Counts)
		rest, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{After: page.Next})
		require.NoError(t, err)
		require.Len(t, rest.Schedules, 3)
		require.Empty(t, rest.Next)
	})
}

// A query that is wrong says in which field.
func TestAWrongQueryNamesItsField(t *testing.T) {
	s := synced(t, dbtest.SQLite(t).DB, hourbell.Config{})
	for field, call := range map[string]func() error{
		"Limit":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 1001}); return err },
		"State":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{State: "LATE"}); return err },
		"Sort":    func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Sort: "cron"}); return err },
		"After":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{After: "!"}); return err },
		"Status":  func() error { _, err := s.Runs(t.Context(), hourbell.RunQuery{Status: "DONE"}); return err },
		"Trigger": func() error { _, err := s.Runs(t.Context(), hourbell.RunQuery{Trigger: "HAND"}); return err },
		"Kind":    func() error { _, err := s.Events(t.Context(), hourbell.EventQuery{Kind: "FIRED"}); return err },
		"ScheduleIDs": func() error {
			_, err := s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: make([]string, 1001)})
			return err
		},
	} {
		var wrong *hourbell.QueryError
		require.ErrorAs(t, call(), &wrong, field)
		require.Equal(t, field, wrong.Field)
		require.ErrorContains(t, wrong, "hourbell: query: "+field)
	}
}

// The jobs of a stored target are those that this process declares.
func TestJobsOfAStoredSchedule(t *testing.T) {
	s := synced(t, dbtest.SQLite(t).DB, hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import", Group: "feed", Args: map[string]int{"n": 1}}, {Name: "report"}},
		Definitions: []hourbell.Definition{{ID: "feed", Cron: "@daily", Target: hourbell.Group("feed")}},
	})
	require.Equal(t, []hourbell.Job{{Name: "import", Group: "feed", Args: json.RawMessage(`{"n":1}`)}, {Name: "report"}}, s.Jobs())
	stored := row(t, s, "feed")
	jobs, err := s.JobsOf(stored)
	require.NoError(t, err)
	require.Equal(t, s.Jobs()[:1], jobs)
	require.True(t, s.Declares(stored))
	stored.DefinitionHash = "another build's"
	require.False(t, s.Declares(stored))
	stored.Target = "none"
	_, err = s.JobsOf(stored)
	require.ErrorIs(t, err, hourbell.ErrUnknownGroup)
}

// Outcomes come by schedule, and the newest that is no skip has its runs counted.
func TestOutcomesHaveTheNewestTallied(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		all := hourly("all")
		all.Target = hourbell.AllJobs()
		s := synced(t, db.DB, definitions(c, hourly("one"), all))
		for range 3 {
			c.Advance(time.Hour)
			tick(t, s)
		}
		require.NoError(t, s.Disable(t.Context(), "one", ann))
		got, err := s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: []string{"one", "all", "none"}, Limit: 2})
		require.NoError(t, err)
		require.Len(t, got, 2)
		for id, runs := range map[string]int{"one": 1, "all": len(jobs)} {
			require.Len(t, got[id], 2)
			require.Equal(t, c.Now(), got[id][0].SlotFrom)
			require.Equal(t, &hourbell.Tally{Queued: runs}, got[id][0].Tally)
			require.Nil(t, got[id][1].Tally)
		}
		_, err = s.RunNow(t.Context(), "one", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		got, err = s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: []string{"one"}, Limit: 2})
		require.NoError(t, err)
		require.Equal(t, []string{"MANUAL", "CRON"}, []string{got["one"][0].Trigger, got["one"][1].Trigger})
		require.Len(t, got["one"], 2, "of whatever kind")
		none, err := s.Outcomes(t.Context(), hourbell.OutcomeQuery{})
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

// O4, O1: the process knows whether its loop stands still, also when the database does not answer.
func TestHealthKnowsALoopThatStandsStill(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		gone := make(chan struct{})
		st := &stepped{store.New(db.DB), func(reached string) error {
			select {
			case <-gone:
				return errors.New("no answer")
			default:
				return nil
			}
		}}
		s := replicaOn(t, st, hourbell.Config{LockTTL: time.Second, PollInterval: 50 * time.Millisecond})
		h, err := s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled})

		stop := running(t, s)
		await(t, "a tick", func() bool { h, err := s.Health(t.Context()); return err == nil && h.Running && !h.LastTickAt.IsZero() })
		close(gone)
		await(t, "the loop to be missed", func() bool { h, _ := s.Health(t.Context()); return h.Stalled })
		cut, cancel := context.WithCancel(t.Context())
		cancel()
		h, err = s.Health(cut)
		require.Error(t, err)
		require.Equal(t, []bool{true, true, false}, []bool{h.Running, h.Stalled, h.LastTickAt.IsZero()})

		require.NoError(t, stop())
		h, err = s.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []bool{false, false}, []bool{h.Running, h.Stalled}, "what was stopped does not stand still")
	})
}

func TestAWorkerIsAliveUntilItIsSilentOrStopped(t *testing.T) {
	w := hourbell.Worker{HeartbeatAt: noon}
	require.True(t, w.Alive(noon.Add(30*time.Second)))
	require.False(t, w.Alive(noon.Add(31*time.Second)))
	require.True(t, w.Alive(noon.Add(-30*time.Second)))
	require.False(t, w.Alive(noon.Add(-31*time.Second)), "T5: a heartbeat from the future is none")
	w.StoppedAt = noon
	require.False(t, w.Alive(noon))
}
