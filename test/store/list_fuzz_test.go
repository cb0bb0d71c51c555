package store_test

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

var sorts = []string{"id", "name", "nextRunAt", "lastRunAt"}

// FuzzCursor checks that an invalid cursor returns a QueryError, and any other
// cursor a page.
func FuzzCursor(f *testing.F) {
	s, _ := newStore(f, dbtest.SQLite(f).DB)
	insertSchedules(f, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
	for i, cursor := range []string{"", "CmE", "bmFtZQpi", "OTk5OTk5OTk5OTk5OTk5OTk5OTkKYQ", "eApo", "====", "LTkyMjMzNzIwMzY4NTQ3NzU4MDgKYQ", "AAAKAAAA", "/w", "Jwo", "\x00"} {
		f.Add(i, cursor)
	}
	f.Fuzz(func(t *testing.T, sort int, cursor string) {
		page, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: sorts[uint(sort)%4], After: cursor, Limit: 2})
		var query *hourbell.QueryError
		if errors.As(err, &query) {
			require.Equal(t, "After", query.Field)
			return
		}
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Schedules), 2)
		require.Equal(t, 3, page.Total)
	})
}

// FuzzPages checks that pages contain each schedule once in every order,
// whatever the ids and names are.
func FuzzPages(f *testing.F) {
	f.Add("a", "b", "A", "B")
	f.Add("x\n", "\nx", "", "\x00")
	f.Add("É", "é", "\xff", "a' OR 1=1 --")
	f.Add("%", "_", `\`, "\U0010FFFF")
	db := dbtest.SQLite(f)
	s, _ := newStore(f, db.DB)
	f.Fuzz(func(t *testing.T, id, other, name, otherName string) {
		if !utf8.ValidString(id+other) || id == other || id == "fixed" || other == "fixed" {
			t.Skip("New refuses such ids")
		}
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		rows := []storage.Schedule{dueSchedule(id), dueSchedule(other), dueSchedule("fixed")}
		rows[0].Name, rows[1].Name = name, otherName
		inserted, err := s.InsertSchedules(t.Context(), newUpdates(rows...))
		if err != nil || len(inserted) != 3 {
			t.Skip("the database stores both ids as the same text")
		}
		for _, sort := range sorts {
			seen := map[string]int{}
			for after, n := "", 0; ; n++ {
				page, err := s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: sort, After: after, Limit: 1})
				require.NoError(t, err)
				for _, row := range page.Schedules {
					seen[row.ID]++
				}
				if after = page.Next; after == "" {
					break
				}
				require.Less(t, n, 5, "the pages sorted by %q do not end", sort)
			}
			require.Len(t, seen, 3, sort)
			for id, count := range seen {
				require.Equal(t, 1, count, "%q by %s", id, sort)
			}
		}
	})
}
