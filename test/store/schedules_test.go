package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

func TestSchedulesReadsAllOrByID(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		list, err := s.Schedules(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)

		insertSchedules(t, s, dueSchedule("c"), dueSchedule("a"), dueSchedule("b"))
		setColumn(t, db, "b", "removed_at", noon)
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
		require.Equal(t, []string{"c", "a\x00"}, given, "the slice of the caller is unchanged")
	})
}

func TestInsertedSchedulesRoundTrip(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		full := dueSchedule("full")
		full.Grace = 90*time.Second + 1500*time.Microsecond
		full.NextRunAt = time.Date(2027, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
		bare := storage.Schedule{Namespace: "test", ID: "bare", Cron: "@daily", TimeZone: "UTC", TargetKind: "ALL_JOBS"}
		insertSchedules(t, s, full, bare)
		for _, want := range []storage.Schedule{full, bare} {
			want.CreatedAt, want.UpdatedAt = noon, noon
			want.NextRunAt = want.NextRunAt.UTC()
			require.Equal(t, want, readSchedule(t, s, want.ID))
		}
	})
}

// D3: An insert leaves existing rows as they are.
func TestInsertReturnsOnlyNewSchedules(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		before := readSchedule(t, s, "a")
		c.Advance(time.Hour)
		other := dueSchedule("a")
		other.Name, other.Enabled = "another", false
		ids, err := s.InsertSchedules(t.Context(), newUpdates(other, dueSchedule("b")))
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, ids)
		require.Equal(t, before, readSchedule(t, s, "a"))

		ids, err = s.InsertSchedules(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, ids)
	})
}

// M4, L6: A schedule is not inserted if its first slot has passed in the
// meantime.
func TestInsertIsRefusedAfterUntil(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		rows := newUpdates(dueSchedule("past"), dueSchedule("future"), dueSchedule("unlimited"))
		rows[0].Until, rows[1].Until = noon, noon.Add(time.Microsecond)
		ids, err := s.InsertSchedules(t.Context(), rows)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"future", "unlimited"}, ids)
	})
}

func TestConcurrentInsertsAddScheduleOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		var rows []storage.Schedule
		for i := range 100 {
			rows = append(rows, dueSchedule(numberedID(i)))
		}
		inserted := make([][]string, 8)
		for _, err := range runConcurrently(8, func(i int) (err error) {
			mine := slices.Clone(rows)
			if i%2 == 1 {
				slices.Reverse(mine) // replicas need not insert in the same order
			}
			inserted[i], err = s.InsertSchedules(testContext(t), newUpdates(mine...))
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

// D3: The database computes the same digest of a row as the process, whatever
// its texts and grace are. Columns that code does not own are not part of it.
func TestStoredDigestsMatchProcess(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		require.Equal(t, storage.Stored{}, readStored(t, s))
		rows := []storage.Schedule{dueSchedule("a"), dueSchedule("b"), dueSchedule("c")}
		rows[0].Name, rows[0].Description = "Zürich | 東京", "line one\nline two\x1f\\ \" '"
		rows[0].Grace, rows[0].ZoneRules = 25*time.Hour+90*time.Second+1500*time.Microsecond, "0123456789abcdef"
		rows[1].Manual, rows[1].Cron, rows[1].Grace = true, "", time.Microsecond
		rows[2].Grace = 400 * 24 * time.Hour
		insertSchedules(t, s, rows...)
		want := storage.Stored{}
		for i := range rows {
			want.Add(&rows[i])
		}
		require.Equal(t, want, readStored(t, s))

		setColumn(t, db, "a", "enabled", false)
		setColumn(t, db, "a", "next_run_at", nil)
		setColumn(t, db, "a", "enabled_note", "note")
		require.Equal(t, want, readStored(t, s))
		setColumn(t, db, "a", "name", "edited")
		require.NotEqual(t, want.Digest, readStored(t, s).Digest)
		setColumn(t, db, "a", "removed_at", noon)
		require.Equal(t, 2, readStored(t, s).Count)
	})
}

// readStored returns the result of Stored.
func readStored(t testing.TB, s hourbell.Store) storage.Stored {
	t.Helper()
	stored, err := s.Stored(t.Context())
	require.NoError(t, err)
	return stored
}
