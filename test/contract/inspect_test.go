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
				"RunNow": func(id string) error {
					_, err := s.RunNow(ctx, id, hourbell.EnqueueOptions{Actor: ann.Actor, Note: ann.Note})
					return err
				},
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
		etag := readSchedule(t, s, "a").ETag
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Fired)
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", IfMatch: etag}))

		options := hourbell.ChangeOptions{Actor: "bob", IfMatch: etag}
		requireNoWrites(t, db, func() {
			require.ErrorIs(t, s.Disable(t.Context(), "a", options), hourbell.ErrChanged)
			require.ErrorIs(t, s.Enable(t.Context(), "a", options), hourbell.ErrChanged)
			_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{Actor: "bob", IfMatch: etag})
			require.ErrorIs(t, err, hourbell.ErrChanged)
		})
		options.IfMatch = readSchedule(t, s, "a").ETag
		_, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{Actor: "bob", IfMatch: options.IfMatch, IdempotencyKey: "k"})
		require.NoError(t, err)
		require.NoError(t, s.Enable(t.Context(), "a", options))

		// E6: a repeated request returns the same runs, even if the schedule
		// has changed since.
		again, err := s.RunNow(t.Context(), "a", hourbell.EnqueueOptions{Actor: "bob", IfMatch: options.IfMatch, IdempotencyKey: "k"})
		require.NoError(t, err)
		require.True(t, again[0].Duplicate)
	})
}

// T5, L2: a lock ends with LockTTL, or earlier with the death or stop of its
// holder. It never ends before it began.
func TestLockExpiryFollowsAgeAndHolder(t *testing.T) {
	type lockCase struct {
		worker    string        // the holder is "w"
		heartbeat time.Duration // of the worker; this and the other times are relative to noon
		stop      time.Duration // of the worker; zero for none
		read      time.Duration
		want      time.Duration
	}
	runCases(t, map[string]lockCase{
		"holder unknown":              {"other", 0, 5 * time.Second, time.Minute, 2 * time.Minute},
		"holder active":               {"w", 110 * time.Second, 0, 115 * time.Second, 2 * time.Minute},
		"holder missed heartbeats":    {"w", time.Second, 0, time.Minute, 31 * time.Second},
		"holder stopped":              {"w", 0, 5 * time.Second, time.Minute, 5 * time.Second},
		"holder dead before the lock": {"w", -time.Hour, 0, time.Minute, 0},
		"heartbeat in the future":     {"w", 110 * time.Second, 0, time.Minute, time.Minute},
	}, func(t *testing.T, db *dbtest.DB, test lockCase) {
		c := newClock(noon.Add(-time.Minute))
		cfg := newConfig(c, hourly("a"))
		cfg.LockTTL = 2 * time.Minute
		s := newSyncedReplica(t, db.DB, cfg)
		require.Zero(t, readSchedule(t, s, "a").LockExpiresAt)
		c.Set(noon)
		st := bindStore(t, db.DB, c.Now)
		require.Len(t, claimAs(t, st, "w", 1), 1)
		c.Set(noon.Add(test.heartbeat))
		heartbeatAs(t, st, test.worker)
		if test.stop != 0 {
			c.Set(noon.Add(test.stop))
			require.NoError(t, st.StopWorker(t.Context(), test.worker))
		}
		c.Set(noon.Add(test.read))
		require.Equal(t, noon.Add(test.want), readSchedule(t, s, "a").LockExpiresAt)
	})
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
		require.Equal(t, 5, page.Total)
		require.Equal(t, 5, page.Counts[hourbell.StateEnabled])
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
		"IDs": func() error {
			_, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{IDs: make([]string, 1001)})
			return err
		},
		"Outcomes": func() error {
			_, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Outcomes: 1001})
			return err
		},
	} {
		var queryErr *hourbell.QueryError
		require.ErrorAs(t, call(), &queryErr, field)
		require.Equal(t, field, queryErr.Field)
		require.ErrorContains(t, queryErr, "hourbell: query: "+field)
	}
}

// A schedule lists the jobs of its target as this process declares them. If the
// process cannot resolve the target, it lists none.
func TestScheduleListsTargetJobs(t *testing.T) {
	db := dbtest.SQLite(t)
	s := newSyncedReplica(t, db.DB, hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import", Group: "feed", Args: map[string]int{"n": 1}}, {Name: "report"}},
		Definitions: []hourbell.Definition{{ID: "feed", Cron: "@daily", Target: hourbell.Group("feed")}},
	})
	require.Equal(t, []hourbell.Job{{Name: "import", Group: "feed", Args: json.RawMessage(`{"n":1}`)}, {Name: "report"}}, s.Jobs())
	require.Equal(t, s.Jobs()[:1], readSchedule(t, s, "feed").Jobs)
	require.True(t, readSchedule(t, s, "feed").DeclaredHere)
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET definition_hash = 'other build'").Error)
	require.False(t, readSchedule(t, s, "feed").DeclaredHere)
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET target = 'none'").Error)
	require.Nil(t, readSchedule(t, s, "feed").Jobs)
}

// Of the outcomes of a schedule, the newest that is not a skip has a tally of
// its runs.
func TestNewestOutcomeHasTally(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("one"), hourlyAllJobs("all"), hourly("other")))
		for range 3 {
			c.Advance(time.Hour)
			tick(t, s)
		}
		require.NoError(t, s.Disable(t.Context(), "one", ann))
		readOutcomes := func(query hourbell.ScheduleQuery) map[string][]hourbell.Outcome {
			page, err := s.Schedules(t.Context(), query)
			require.NoError(t, err)
			outcomes := map[string][]hourbell.Outcome{}
			for _, schedule := range page.Schedules {
				outcomes[schedule.ID] = schedule.Outcomes
			}
			return outcomes
		}
		outcomes := readOutcomes(hourbell.ScheduleQuery{IDs: []string{"one", "all", "none"}, Outcomes: 2})
		require.Len(t, outcomes, 2)
		for id, runs := range map[string]int{"one": 1, "all": len(testJobs)} {
			require.Len(t, outcomes[id], 2)
			require.Equal(t, c.Now(), outcomes[id][0].SlotFrom)
			require.Equal(t, &hourbell.Tally{Queued: runs}, outcomes[id][0].Tally)
			require.Nil(t, outcomes[id][1].Tally)
		}
		_, err := s.RunNow(t.Context(), "one", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		one := readOutcomes(hourbell.ScheduleQuery{IDs: []string{"one"}, Outcomes: 2})["one"]
		require.Len(t, one, 2, "all kinds count towards the limit")
		require.Equal(t, []hourbell.Trigger{hourbell.TriggerManual, hourbell.TriggerCron}, []hourbell.Trigger{one[0].Trigger, one[1].Trigger})
		require.Empty(t, readOutcomes(hourbell.ScheduleQuery{IDs: []string{"one"}})["one"], "the default is no outcomes")
	})
}

// A worker is active until it stops or misses three heartbeats.
func TestWorkerActiveFollowsHeartbeats(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c))
		st := bindStore(t, db.DB, c.Now)
		heartbeatAs(t, st, "w")
		isActive := func(at time.Time) bool {
			c.Set(at)
			return readWorkers(t, s)[0].Active
		}
		require.True(t, isActive(noon.Add(30*time.Second)))
		require.False(t, isActive(noon.Add(31*time.Second)))
		require.True(t, isActive(noon.Add(-30*time.Second)))
		require.False(t, isActive(noon.Add(-31*time.Second)), "T5: a heartbeat further in the future does not count")
		c.Set(noon)
		require.NoError(t, st.StopWorker(t.Context(), "w"))
		require.False(t, isActive(noon))
	})
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
		runs := takeRuns(t, s, hourbell.TakeRequest{LeasedBy: "w", Limit: 3})
		require.NoError(t, s.FinishRun(ctx, runs[0], nil))
		require.NoError(t, s.FinishRun(ctx, runs[1], errors.New("no")))

		for want, query := range map[int]hourbell.RunQuery{
			9: {},
			6: {ScheduleID: "a"},
			3: {Job: "report"},
			4: {ScheduleID: "a", Group: "feed"},
			2: {ScheduleID: "a", Job: "import"},
			1: {Status: hourbell.RunFailed},
			0: {Status: hourbell.RunFailed, Trigger: hourbell.TriggerCron},
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
