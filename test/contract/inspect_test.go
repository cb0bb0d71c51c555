package contract_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Calls with the id of an unknown schedule return an error that names the id.
func TestCallsNameUnknownSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourly("a")))
		requireNoWrites(t, db, func() {
			for name, call := range map[string]func(id string) error{
				"Schedule": func(id string) error { _, err := s.Schedule(ctx, id); return err },
				"Upcoming": func(id string) error { _, err := s.Upcoming(ctx, id, 1); return err },
				"Enable":   func(id string) error { return s.Enable(ctx, id, ann) },
				"Disable":  func(id string) error { return s.Disable(ctx, id, ann) },
				"Unlock":   func(id string) error { return s.Unlock(ctx, id, ann) },
				"RunNow":   func(id string) error { _, err := s.RunNow(ctx, id, hourbell.EnqueueOptions{By: ann}); return err },
			} {
				for _, id := range []string{"none", "", "A", "a\x00", "a' OR '1'='1"} {
					err := call(id)
					require.ErrorIs(t, err, hourbell.ErrUnknownSchedule, name)
					require.ErrorContains(t, err, fmt.Sprintf("%q", id), name)
				}
			}
		})
	})
}

// A change is refused if the schedule has changed since the caller read it. A
// fire in between is no such change.
func TestChangeWithStaleETagIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		etag := readSchedule(t, s, "a").Fingerprint()
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Fired)
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{Actor: "ann", Seen: etag}))

		options := hourbell.By{Actor: "bob", Seen: etag}
		requireNoWrites(t, db, func() {
			require.ErrorIs(t, s.Disable(t.Context(), "a", options), hourbell.ErrChanged)
			require.ErrorIs(t, s.Enable(t.Context(), "a", options), hourbell.ErrChanged)
			_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: options})
			require.ErrorIs(t, err, hourbell.ErrChanged)
		})
		options.Seen = readSchedule(t, s, "a").Fingerprint()
		_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: options, Key: "k"})
		require.NoError(t, err)
		require.NoError(t, s.Enable(t.Context(), "a", options))

		// E6: a repeated request returns the same runs, even if the schedule
		// has changed since.
		again, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{By: options, Key: "k"})
		require.NoError(t, err)
		require.True(t, again[0].Repeated)
	})
}

// A lock ends with LockTTL, or earlier with the death or stop of its holder.
func TestLockExpiryFollowsAgeAndHolder(t *testing.T) {
	s := newReplica(t, dbtest.SQLite(t).DB, hourbell.Config{LockTTL: 2 * time.Minute})
	locked := hourbell.Schedule{LockedBy: "w", LockedAt: noon}
	for name, c := range map[string]struct {
		worker hourbell.Worker
		want   time.Time
	}{
		"holder unknown":              {hourbell.Worker{ID: "another", StoppedAt: noon}, noon.Add(2 * time.Minute)},
		"holder active":               {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(110 * time.Second)}, noon.Add(2 * time.Minute)},
		"holder missed heartbeats":    {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(time.Second)}, noon.Add(31 * time.Second)},
		"holder stopped":              {hourbell.Worker{ID: "w", HeartbeatAt: noon, StoppedAt: noon.Add(5 * time.Second)}, noon.Add(5 * time.Second)},
		"holder dead before the lock": {hourbell.Worker{ID: "w", HeartbeatAt: noon.Add(-time.Hour)}, noon},
	} {
		require.Equal(t, c.want, s.LockExpiry(locked, []hourbell.Worker{c.worker}), name)
	}
	require.Zero(t, s.LockExpiry(hourbell.Schedule{}, nil))
}

// Schedules returns one page at a time, with counts of all pages.
func TestSchedulesReturnsPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, manyHourly(5)...))
		page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 2})
		require.NoError(t, err)
		require.Len(t, page.Schedules, 2)
		require.Equal(t, noon, page.At)
		require.Equal(t, hourbell.ScheduleCounts{All: 5, Enabled: 5}, page.Counts)
		secondPage, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{After: page.Next})
		require.NoError(t, err)
		require.Len(t, secondPage.Schedules, 3)
		require.Empty(t, secondPage.Next)
	})
}

// QueryError names the invalid field of a query.
func TestQueryErrorNamesField(t *testing.T) {
	s := newSyncedReplica(t, dbtest.SQLite(t).DB, hourbell.Config{})
	for field, call := range map[string]func() error{
		"Limit":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 1001}); return err },
		"State":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{State: "LATE"}); return err },
		"Sort":    func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Sort: "cron"}); return err },
		"After":   func() error { _, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{After: "!"}); return err },
		"Status":  func() error { _, err := s.Runs(t.Context(), hourbell.RunQuery{Status: "DONE"}); return err },
		"Trigger": func() error { _, err := s.Runs(t.Context(), hourbell.RunQuery{Trigger: "HTTP"}); return err },
		"Kind":    func() error { _, err := s.Events(t.Context(), hourbell.EventQuery{Kind: "FIRED"}); return err },
		"ScheduleIDs": func() error {
			_, err := s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: make([]string, 1001)})
			return err
		},
	} {
		var queryErr *hourbell.QueryError
		require.ErrorAs(t, call(), &queryErr, field)
		require.Equal(t, field, queryErr.Field)
		require.ErrorContains(t, queryErr, "hourbell: query: "+field)
	}
}

// A schedule lists the jobs of its target as this process declares them.
func TestScheduleListsTargetJobs(t *testing.T) {
	s := newSyncedReplica(t, dbtest.SQLite(t).DB, hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import", Group: "feed", Args: map[string]int{"n": 1}}, {Name: "report"}},
		Definitions: []hourbell.Definition{{ID: "feed", Cron: "@daily", Target: hourbell.Group("feed")}},
	})
	require.Equal(t, []hourbell.Job{{Name: "import", Group: "feed", Args: json.RawMessage(`{"n":1}`)}, {Name: "report"}}, s.Jobs())
	stored := readSchedule(t, s, "feed")
	jobs, err := s.JobsOf(stored)
	require.NoError(t, err)
	require.Equal(t, s.Jobs()[:1], jobs)
	require.True(t, s.Declares(stored))
	stored.DefinitionHash = "other build"
	require.False(t, s.Declares(stored))
	stored.Target = "none"
	_, err = s.JobsOf(stored)
	require.ErrorIs(t, err, hourbell.ErrUnknownGroup)
}

// Of the outcomes of a schedule, the newest that is not a skip has a tally of
// its runs.
func TestNewestOutcomeHasTally(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		all := hourly("all")
		all.Target = hourbell.AllJobs()
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("one"), all))
		for range 3 {
			c.Advance(time.Hour)
			tick(t, s)
		}
		require.NoError(t, s.Disable(t.Context(), "one", ann))
		outcomes, err := s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: []string{"one", "all", "none"}, Limit: 2})
		require.NoError(t, err)
		require.Len(t, outcomes, 2)
		for id, runs := range map[string]int{"one": 1, "all": len(testJobs)} {
			require.Len(t, outcomes[id], 2)
			require.Equal(t, c.Now(), outcomes[id][0].SlotFrom)
			require.Equal(t, &hourbell.Tally{Queued: runs}, outcomes[id][0].Tally)
			require.Nil(t, outcomes[id][1].Tally)
		}
		_, err = s.RunNow(t.Context(), "one", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		outcomes, err = s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: []string{"one"}, Limit: 2})
		require.NoError(t, err)
		require.Equal(t, []string{"MANUAL", "CRON"}, []string{outcomes["one"][0].Trigger, outcomes["one"][1].Trigger})
		require.Len(t, outcomes["one"], 2, "all kinds count towards the limit")
		outcomes, err = s.Outcomes(t.Context(), hourbell.OutcomeQuery{})
		require.NoError(t, err)
		require.Empty(t, outcomes)
	})
}

// A worker is active until it stops or misses three heartbeats.
func TestWorkerActiveFollowsHeartbeats(t *testing.T) {
	w := hourbell.Worker{HeartbeatAt: noon}
	require.True(t, w.Alive(noon.Add(30*time.Second)))
	require.False(t, w.Alive(noon.Add(31*time.Second)))
	require.True(t, w.Alive(noon.Add(-30*time.Second)))
	require.False(t, w.Alive(noon.Add(-31*time.Second)), "T5: a heartbeat further in the future does not count")
	w.StoppedAt = noon
	require.False(t, w.Alive(noon))
}

// Runs filters by each field of the query and returns pages, newest first.
func TestRunsFilterAndPage(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := newReplicaWithQueuedRuns(t, db, c) // import publish report, API
		c.Advance(time.Hour)
		tick(t, s) // the same three, CRON
		_, err := s.RunNow(ctx, "a", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		runs := takeRuns(t, s, hourbell.TakeRequest{Worker: "w", Limit: 3})
		require.NoError(t, s.FinishRun(ctx, runs[0], nil))
		require.NoError(t, s.FinishRun(ctx, runs[1], errors.New("no")))

		for want, query := range map[int]hourbell.RunQuery{
			9: {},
			6: {ScheduleID: "a"},
			3: {Job: "report"},
			4: {ScheduleID: "a", Group: "feed"},
			2: {ScheduleID: "a", Job: "import"},
			1: {Status: "FAILED"},
			0: {Status: "FAILED", Trigger: "CRON"},
		} {
			found, err := s.Runs(ctx, query)
			require.NoError(t, err)
			require.Len(t, found, want, "%+v", query)
			require.True(t, slices.IsSortedFunc(found, func(a, b hourbell.JobRun) int { return int(b.ID - a.ID) }))
		}
		var paged []hourbell.JobRun
		for query := (hourbell.RunQuery{Limit: 4}); ; {
			page, err := s.Runs(ctx, query)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			query.Before = page[len(page)-1].ID
		}
		slices.Reverse(paged)
		require.Equal(t, readAllRuns(t, s), paged)
	})
}

// An invalid query returns an error that names the field and value, instead of
// an empty result.
func TestQueriesRejectInvalidValues(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := newSyncedReplica(t, db.DB, newConfig(newClock(noon), hourlyAllJobs("a")))
		requireNoWrites(t, db, func() {
			for message, query := range map[string]hourbell.RunQuery{
				`Status "DONE"`:    {Status: "DONE"},
				`Status "queued"`:  {Status: "queued"},
				`Trigger "HTTP"`:   {Trigger: "HTTP"},
				"Limit -1 is not":  {Limit: -1},
				"Limit 1001 is no": {Limit: 1001},
			} {
				_, err := s.Runs(ctx, query)
				require.ErrorContains(t, err, message)
			}
			for _, limit := range []int{-1, 1001} {
				_, err := s.Events(ctx, hourbell.EventQuery{Limit: limit})
				require.ErrorContains(t, err, fmt.Sprintf("Limit %d", limit))
			}
			_, err := s.Events(ctx, hourbell.EventQuery{Kind: "FIRED"})
			require.ErrorContains(t, err, `Kind "FIRED"`)
			for _, n := range []int{-1, 0, 1001} {
				_, err := s.Upcoming(ctx, "a", n)
				require.ErrorContains(t, err, fmt.Sprintf("%d is not in 1-1000", n))
			}
		})
	})
}
