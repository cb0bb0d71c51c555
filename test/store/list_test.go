package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// listAllPages reads all pages of a list, calls between after each but the
// last, and returns the ids in order.
func listAllPages(t testing.TB, s hourbell.Store, q hourbell.ScheduleQuery, between func()) (ids []string) {
	t.Helper()
	for {
		page, err := s.ListSchedules(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Schedules), q.Limit)
		for _, r := range page.Schedules {
			ids = append(ids, r.ID)
		}
		if q.After = page.Next; q.After == "" {
			return ids
		}
		between()
	}
}

// insertMixedSchedules inserts schedules of every state, some with equal names,
// equal times or no times.
func insertMixedSchedules(t testing.TB, db *dbtest.DB, s hourbell.Store, n int) []storage.Schedule {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	rows := make([]storage.Schedule, n)
	for i := range rows {
		rows[i] = scheduleDueAt(fmt.Sprintf("s%03d", i), noon.Add(time.Duration(random.IntN(4)-2)*grace))
		rows[i].Name = fmt.Sprintf("Name %c", 'a'+random.IntN(5))
	}
	insertSchedules(t, s, rows...)
	for _, r := range rows {
		if random.IntN(3) == 0 {
			setColumn(t, db, r.ID, "enabled", false)
			setColumn(t, db, r.ID, "next_run_at", nil)
		}
		if random.IntN(4) == 0 {
			setColumn(t, db, r.ID, "removed_at", noon)
		}
		if random.IntN(3) == 0 {
			setColumn(t, db, r.ID, "consecutive_failures", 2)
		}
		if random.IntN(5) == 0 {
			setColumn(t, db, r.ID, "manual", true)
			setColumn(t, db, r.ID, "next_run_at", nil)
		}
		if random.IntN(2) == 0 {
			setColumn(t, db, r.ID, "last_run_at", noon.Add(-time.Duration(random.IntN(3))*time.Hour))
		}
	}
	stored, err := s.Schedules(t.Context())
	require.NoError(t, err)
	return stored
}

func TestListPagesCoverAllSchedules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		rows := insertMixedSchedules(t, db, s, 60)
		sortKeys := map[string]func(storage.Schedule) string{
			"id":   func(storage.Schedule) string { return "" },
			"name": func(r storage.Schedule) string { return strings.ToLower(r.Name) },
			"nextRunAt": func(r storage.Schedule) string {
				return map[bool]string{true: "9", false: r.NextRunAt.Format(time.RFC3339)}[r.NextRunAt.IsZero()]
			},
			"lastRunAt": func(r storage.Schedule) string { return fmt.Sprintf("%020d", noon.Unix()-r.LastRunAt.Unix()+1<<60) },
		}
		for sort, key := range sortKeys {
			want := slices.Clone(rows)
			slices.SortFunc(want, func(a, b storage.Schedule) int { return strings.Compare(key(a)+a.ID, key(b)+b.ID) })
			ids := make([]string, len(want))
			for i := range want {
				ids[i] = want[i].ID
			}
			for _, limit := range []int{1, 7, 59, 60, 61} {
				require.Equal(t, ids, listAllPages(t, s, hourbell.ScheduleQuery{Sort: sort, Limit: limit}, func() {}), "sorted by %s, %d per page", sort, limit)
			}
		}
	})
}

// Sorted by id, pages are complete even if rows change between them.
func TestListPagesByIDSurviveInserts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		rows := insertMixedSchedules(t, db, s, 20)
		n := 0
		got := listAllPages(t, s, hourbell.ScheduleQuery{Sort: "id", Limit: 3}, func() {
			n++
			insertSchedules(t, s, scheduleDueAt(fmt.Sprintf("a%03d", n), noon), scheduleDueAt(fmt.Sprintf("s%03d-new", n*3), noon))
			setColumn(t, db, rows[n].ID, "next_run_at", noon.Add(time.Hour))
		})
		for _, r := range rows {
			require.Contains(t, got, r.ID)
		}
		require.True(t, slices.IsSorted(got))
		require.Len(t, slices.Compact(got), len(got))
	})
}

// Counts and pages of each state agree with the stored rows.
func TestListCountsStates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		rows := insertMixedSchedules(t, db, s, 80)
		insertSchedules(t, bindStore(t, db.DB, "other", c.Now), dueSchedule("in another namespace"))
		present := func(r storage.Schedule) bool { return r.RemovedAt.IsZero() }
		inState := map[hourbell.ScheduleState]func(storage.Schedule) bool{
			"":                     func(storage.Schedule) bool { return true },
			hourbell.StateEnabled:  func(r storage.Schedule) bool { return present(r) && r.Enabled && !r.Manual },
			hourbell.StateDisabled: func(r storage.Schedule) bool { return present(r) && !r.Enabled && !r.Manual },
			hourbell.StateOverdue: func(r storage.Schedule) bool {
				return present(r) && r.Enabled && !r.NextRunAt.IsZero() && r.NextRunAt.Add(r.Grace).Before(c.Now())
			},
			hourbell.StateFailing: func(r storage.Schedule) bool { return present(r) && !r.Manual && r.ConsecutiveFailures > 0 },
			hourbell.StateManual:  func(r storage.Schedule) bool { return present(r) && r.Manual },
			hourbell.StateRemoved: func(r storage.Schedule) bool { return !present(r) },
		}
		for _, at := range []time.Time{noon.Add(-time.Hour), noon, noon.Add(time.Microsecond), noon.Add(grace), noon.Add(2*grace + 1000)} {
			c.Set(at)
			counts := map[string]int{}
			for state, matches := range inState {
				ids := []string{}
				for _, r := range rows {
					if matches(r) {
						ids = append(ids, r.ID)
					}
				}
				counts[string(state)] = len(ids)
				page, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "id", State: state, Limit: 100})
				require.NoError(t, err)
				got := []string{}
				for _, r := range page.Schedules {
					got = append(got, r.ID)
					require.Equal(t, at, r.ReadAt)
				}
				require.Equal(t, ids, got, "%s at %s", state, at)
				require.Equal(t, at, page.At)
			}
			page, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "id", State: hourbell.StateRemoved, Limit: 1})
			require.NoError(t, err)
			require.Equal(t, counts[""], page.Total)
			delete(counts, "")
			require.Equal(t, counts, page.Counts)
		}
	})
}

func TestListSelectsIDs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		q := hourbell.ScheduleQuery{Sort: "id", Limit: 10, IDs: []string{"c", "a", "none", "\x00"}}
		page, err := s.ListSchedules(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, 2, page.Total)
		require.Equal(t, 2, page.Counts[string(hourbell.StateEnabled)])
		require.Equal(t, []string{"a", "c"}, listAllPages(t, s, q, func() {}))
		q.Limit = 1
		require.Equal(t, []string{"a", "c"}, listAllPages(t, s, q, func() {}))
	})
}

// Searched text is literal: no character acts as a wildcard or as SQL.
func TestListSearchIsLiteral(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		odd := scheduleDueAt("odd", noon)
		odd.Name, odd.Description, odd.Target = `100%_\done`, "it's 'quoted'", `["Ärger"]`
		insertSchedules(t, s, odd, scheduleDueAt("plain", noon))
		for search, want := range map[string][]string{
			"":           {"odd", "plain"},
			"ODD":        {"odd"},
			"100%":       {"odd"},
			`%_\`:        {"odd"},
			"_":          {"odd"},
			"0%d":        nil,
			`\\`:         nil,
			"'quoted'":   {"odd"},
			"' OR 1=1--": nil,
			"Ärger":      {"odd"},
			"IMPORT":     {"plain"},
			"name of":    {"plain"},
			"\x00":       nil,
			"\xff":       nil,
		} {
			page, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "id", Search: search, Limit: 10})
			require.NoError(t, err, "%q", search)
			var got []string
			for _, r := range page.Schedules {
				got = append(got, r.ID)
			}
			require.Equal(t, want, got, "%q", search)
			require.Equal(t, len(want), page.Total, "%q", search)
		}
	})
}

func TestListRefusesInvalidCursor(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertMixedSchedules(t, db, s, 3)
		first, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "name", Limit: 1})
		require.NoError(t, err)
		for _, q := range []hourbell.ScheduleQuery{
			{Sort: "id", After: "nonsense!"}, {Sort: "id", After: "eA"}, {Sort: "nextRunAt", After: first.Next}, {Sort: "lastRunAt", After: first.Next},
		} {
			q.Limit = 1
			_, err := s.ListSchedules(t.Context(), q)
			var wrong *hourbell.QueryError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, "After", wrong.Field)
		}
		// A well-formed cursor of a schedule that does not exist is accepted.
		_, err = s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "name", After: "MyAAAP__AA", Limit: 1})
		require.NoError(t, err)
	})
}

func TestListByIDUsesPrimaryKey(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 20_000, 20)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	q := hourbell.ScheduleQuery{Sort: "id", Limit: 50}
	for range 2 {
		var next string
		statement := onlyStatement(t, pool.during(func() {
			page, err := s.ListSchedules(testContext(t), q)
			require.NoError(t, err)
			next = page.Next
		}), "ORDER BY id")
		for name, plan := range explainPlans(t, db, statement) {
			require.Contains(t, plan, "Index Scan using hourbell_schedules_pkey", "%s:\n%s", name, plan)
			require.NotContains(t, plan, "Sort", "%s:\n%s", name, plan)
		}
		q.After = next
	}
}
