package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Batches, not loops: what a verb sends does not depend on how many rows it is about.
func TestStatementCountDoesNotGrowWithRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		one, many := countStatements(t, db, "one", 1), countStatements(t, db, "many", 500)
		require.Equal(t, one, many)
		for name, n := range one {
			require.LessOrEqual(t, n, 4, "%s: BEGIN, limits, the statement, COMMIT", name)
			require.Positive(t, n, name)
		}
	})
}

func countStatements(t *testing.T, db *dbtest.DB, namespace string, n int) map[string]int {
	handle, pool := openRecorded(t, db, gorm.Config{})
	c := newClock(noon)
	s := bindStore(t, handle, namespace, c.Now)
	counts := map[string]int{}
	count := func(name string, fn func()) { counts[name] = len(pool.during(fn)) }

	var rows []hourbell.Revision
	var runs []hourbell.JobRun
	var events []hourbell.Event
	for i := range n {
		rows = append(rows, hourbell.Revision{Schedule: dueSchedule(numberedID(i)), ReadHash: "h1"})
		runs = append(runs, cronRun(numberedID(i), noon, 0))
		events = append(events, hourbell.Event{Kind: "SKIPPED", ScheduleID: numberedID(i)})
	}
	count("insert", func() { require.NoError(t, errOf(s.Insert(t.Context(), rows))) })
	count("revise", func() { require.NoError(t, errOf(s.Revise(t.Context(), rows))) })
	var claims []hourbell.Claim
	count("claim", func() { claims = claimAll(t, s, "w1").Rows })
	require.Len(t, claims, n)
	count("give back", func() { require.NoError(t, s.GiveBack(t.Context(), "w1", claims)) })
	claims = claimAll(t, s, "w1").Rows
	var failures []hourbell.Failure
	for _, held := range claims {
		failures = append(failures, hourbell.Failure{Claim: held, For: time.Second})
	}
	count("hold", func() { require.NoError(t, errOf(s.Hold(t.Context(), "w1", failures))) })
	c.Advance(time.Second)
	var settlements []hourbell.Settlement
	for _, held := range claimAll(t, s, "w1").Rows {
		settlements = append(settlements, firedAdvance(held))
	}
	require.Len(t, settlements, n)
	count("advance", func() {
		ids, err := s.Advance(t.Context(), "w1", settlements)
		require.NoError(t, err)
		require.Len(t, ids, n)
	})
	count("empty claim", func() { require.Empty(t, claimAll(t, s, "w1").Rows) })
	count("insert runs", func() { insertRuns(t, s, runs...) })
	count("insert events", func() { require.NoError(t, s.InsertEvents(t.Context(), events)) })
	count("take runs", func() {
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "h", Limit: n, Lease: time.Minute})
		require.NoError(t, err)
		require.Len(t, taken, n)
	})
	count("schedules", func() { require.NoError(t, errOf(s.Schedules(t.Context()))) })
	count("list", func() {
		require.NoError(t, errOf(s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "id", Limit: n})))
	})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = settlements[i].ID
	}
	count("outcomes", func() {
		require.NoError(t, errOf(s.Outcomes(t.Context(), hourbell.OutcomeQuery{ScheduleIDs: ids, Limit: 20})))
	})
	count("health", func() { require.NoError(t, errOf(s.Health(t.Context(), deadAfter))) })
	return counts
}
