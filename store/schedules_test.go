package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

func TestSchedulesAreReadAllOrByID(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		list, err := s.Schedules(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)

		insert(t, s, schedule("c"), schedule("a"), schedule("b"))
		set(t, db, "b", "removed_at", noon)
		for _, tc := range []struct{ ids, want []string }{
			{nil, []string{"a", "b", "c"}},
			{[]string{"c", "a", "c"}, []string{"a", "c"}},
			{[]string{"b"}, []string{"b"}},
			{[]string{"none"}, nil},
			{[]string{"a' OR true --", ""}, nil},
		} {
			list, err := s.Schedules(t.Context(), tc.ids...)
			require.NoError(t, err)
			var got []string
			for _, r := range list {
				got = append(got, r.ID)
			}
			require.Equal(t, tc.want, got)
		}
		given := []string{"c", "a\x00"}
		_, err = s.Schedules(t.Context(), given...)
		require.NoError(t, err)
		require.Equal(t, []string{"c", "a\x00"}, given, "the caller's ids are the caller's")
	})
}

func TestAnInsertedScheduleIsAsGiven(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		full := schedule("full")
		full.Grace = 90*time.Second + 1500*time.Microsecond
		full.NextRunAt = time.Date(2027, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
		bare := hourbell.Schedule{Namespace: "test", ID: "bare", Cron: "@daily", TimeZone: "UTC", TargetKind: "ALL_JOBS"}
		insert(t, s, full, bare)
		for _, want := range []hourbell.Schedule{full, bare} {
			want.CreatedAt, want.UpdatedAt = noon, noon
			want.NextRunAt = want.NextRunAt.UTC()
			require.Equal(t, want, row(t, s, want.ID))
		}
	})
}

// D3: what is there is not written over.
func TestInsertReturnsOnlyWhatWasNotThere(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		before := row(t, s, "a")
		c.Advance(time.Hour)
		other := schedule("a")
		other.Name, other.Enabled = "another", false
		ids, err := s.Insert(t.Context(), added(other, schedule("b")))
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, ids)
		require.Equal(t, before, row(t, s, "a"))

		ids, err = s.Insert(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, ids)
	})
}

// M4, L6: a first slot that has passed meanwhile is not stored as the next one.
func TestAScheduleIsNotAddedOnceItsTimeIsUp(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		rows := added(schedule("passed"), schedule("coming"), schedule("any time"))
		rows[0].Until, rows[1].Until = noon, noon.Add(time.Microsecond)
		ids, err := s.Insert(t.Context(), rows)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"coming", "any time"}, ids)
	})
}

func TestOfEightReplicasOneInsertsASchedule(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		var rows []hourbell.Schedule
		for i := range 100 {
			rows = append(rows, schedule(id(i)))
		}
		inserted := make([][]string, 8)
		for _, err := range together(8, func(i int) (err error) {
			mine := slices.Clone(rows)
			if i%2 == 1 {
				slices.Reverse(mine) // a map has no order either
			}
			inserted[i], err = s.Insert(soon(t), added(mine...))
			return err
		}) {
			require.NoError(t, err)
		}
		all := slices.Concat(inserted...)
		slices.Sort(all)
		require.Len(t, slices.Compact(slices.Clone(all)), 100)
		require.Len(t, all, 100)
	})
}

// O6: multi-row writes lock rows in id order, so that two of them cannot deadlock.
func TestBatchesInOppositeOrderDoNotDeadlock(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		var revisions, reversed []hourbell.Revision
		for i := range 200 {
			insert(t, s, schedule(id(i)))
			revisions = append(revisions, hourbell.Revision{Schedule: schedule(id(i)), ReadHash: "h1"})
		}
		reversed = slices.Clone(revisions)
		slices.Reverse(reversed)
		// In the host's transactions, where nothing is tried again.
		for _, err := range together(4, func(i int) error {
			mine := revisions
			if i%2 == 1 {
				mine = reversed
			}
			for range 5 {
				err := db.DB.WithContext(soon(t)).Transaction(func(tx *gorm.DB) error {
					return second(s.Within(tx).Revise(soon(t), mine))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}) {
			require.NoError(t, err)
		}
	})
}
