package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// insertUsedSchedule returns a schedule with a value in every column: settled
// once, failed once and claimed.
func insertUsedSchedule(t testing.TB, db *dbtest.DB, s hourbell.Store, c *testClock, id string) storage.Schedule {
	t.Helper()
	insertSchedules(t, s, scheduleDueAt(id, noon.Add(-time.Hour)))
	require.True(t, advanceOne(t, s, "w1", claimOne(t, s, "w1")))
	claimed := claimOne(t, s, "w1")
	require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: claimed, Error: "no", Backoff: time.Second, UnfinishedSince: noon}})))
	c.Advance(time.Second)
	claimOne(t, s, "w1")
	setColumn(t, db, id, "retry_at", c.Now())
	setColumn(t, db, id, "enabled_note", "by an operator")
	return readSchedule(t, s, id)
}

// redefined returns a schedule with a different value in each column of its
// definition.
func redefined(r storage.Schedule) storage.Schedule {
	r.Name, r.Description, r.Cron, r.TimeZone, r.TargetKind, r.Target = "n2", "d2", "@daily", "UTC", "GROUP", "feed"
	r.Grace, r.DefinitionHash = time.Hour, "h2"
	return r
}

// D3: Sync writes what code owns. It writes nothing that operators or the loop
// own.
func TestUpdateWithoutSettlingKeepsLoopState(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		before := insertUsedSchedule(t, db, s, c, "a")
		c.Advance(time.Minute)
		r := storage.ScheduleUpdate{Schedule: redefined(before), ReadHash: "h1"}
		r.Enabled, r.EnabledNote, r.NextRunAt, r.SettledThrough, r.RemovedAt = false, "", noon, noon, noon
		require.True(t, updateOne(t, s, r))
		require.Equal(t, redefined(before), readSchedule(t, s, "a"), "version, lock, unfinished claim, retry state and updated_at are unchanged")
	})
}

// M5, L6: Settling clears lock, unfinished claim and retry state and increments
// the version.
func TestSettlingUpdateClearsLoopState(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		before := insertUsedSchedule(t, db, s, c, "a")
		c.Advance(time.Minute)
		r := storage.ScheduleUpdate{Schedule: redefined(before), ReadHash: "h1", Settles: true}
		r.Enabled, r.EnabledNote, r.NextRunAt, r.SettledThrough, r.RemovedAt = false, "off", noon.Add(time.Hour), noon, c.Now()
		require.True(t, updateOne(t, s, r))

		want := r.Schedule
		want.LockedAt, want.LockedBy, want.Version, want.UnfinishedSince = time.Time{}, "", before.Version+1, time.Time{}
		want.RetryAt, want.ConsecutiveFailures, want.LastError, want.UpdatedAt = time.Time{}, 0, "", c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))
	})
}

// M5: A fire in progress is refused once the schedule is settled.
func TestSettlingUpdateInvalidatesClaim(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		c := claimOne(t, s, "w1")
		require.True(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true}))
		requireCannotWrite(t, s, "w1", c)
	})
}

// L6: An update applies only to the version that was read.
func TestUpdateRefusesChangedRow(t *testing.T) {
	changes := map[string]func(t *testing.T, db *dbtest.DB, s hourbell.Store){
		"claimed":   func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { claimOne(t, s, "w1") },
		"redefined": func(t *testing.T, db *dbtest.DB, _ hourbell.Store) { setColumn(t, db, "a", "definition_hash", "h3") },
		"gone": func(t *testing.T, db *dbtest.DB, _ hourbell.Store) {
			require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		},
		"settled": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			require.True(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true}))
		},
		"released": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			require.NoError(t, s.Release(t.Context(), "w1", claimAll(t, s, "w1").Claims))
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, change := range changes {
			for _, settles := range []bool{true, false} {
				t.Run(name, func(t *testing.T) {
					require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
					s, _ := newStore(t, db.DB)
					insertSchedules(t, s, dueSchedule("a"))
					read := readSchedule(t, s, "a")
					change(t, db, s)
					list, err := s.Schedules(t.Context())
					require.NoError(t, err)
					require.False(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: read, ReadHash: read.DefinitionHash, Settles: settles}))
					after, err := s.Schedules(t.Context())
					require.NoError(t, err)
					require.Equal(t, list, after)
				})
			}
		}
	})
}

// L6: An update applies only while the next_run_at that it writes is in the
// future.
func TestUpdateIsRefusedAfterUntil(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		r := storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true, Until: noon.Add(time.Second)}
		c.Set(noon.Add(time.Second))
		require.False(t, updateOne(t, s, r))
		c.Set(noon.Add(time.Second - time.Microsecond))
		require.True(t, updateOne(t, s, r))
	})
}

// L6, T1: The clock is read after the wait for the row.
func TestUpdateReadsClockAfterLockWait(t *testing.T) {
	db := dbtest.Postgres(t)
	s := bindStore(t, db.DB, "test", nil)
	insertSchedules(t, s, dueSchedule("a"))
	until := time.Now().Add(300 * time.Millisecond)
	r := storage.ScheduleUpdate{Schedule: readSchedule(t, s, "a"), ReadHash: "h1", Settles: true, Until: until}
	written := make(chan []string, 1)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules FOR UPDATE").Error)
		go func() {
			ids, err := s.UpdateSchedules(testContext(t), []storage.ScheduleUpdate{r})
			written <- append(ids, errorTexts(err)...)
		}()
		waitForLockWait(t, db)
		require.Eventually(t, func() bool {
			now, err := s.Now(t.Context())
			return err == nil && now.After(until)
		}, 5*time.Second, 5*time.Millisecond)
		return nil
	}))
	require.Empty(t, <-written)
}

func TestUpdateBatchWritesOnlyUnchangedRows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		var list []storage.ScheduleUpdate
		for _, id := range []string{"c", "a", "b"} {
			r := storage.ScheduleUpdate{Schedule: readSchedule(t, s, id), ReadHash: "h1", Settles: id != "a"}
			r.Name = "new " + id
			if id == "b" {
				r.Version = 7
			}
			list = append(list, r)
		}
		ids, err := s.UpdateSchedules(t.Context(), list)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"a", "c"}, ids)
		require.Equal(t, "new a", readSchedule(t, s, "a").Name)
		require.Equal(t, "name of b", readSchedule(t, s, "b").Name)
		require.EqualValues(t, 1, readSchedule(t, s, "a").Version, "the same hash: the row was edited by hand")
		require.EqualValues(t, 1, readSchedule(t, s, "c").Version)
	})
}

// O6: Multi-row writes lock rows in id order, so two of them cannot deadlock.
func TestBatchesInOppositeOrderDoNotDeadlock(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		var updates, reversed []storage.ScheduleUpdate
		for i := range 200 {
			insertSchedules(t, s, dueSchedule(numberedID(i)))
			updates = append(updates, storage.ScheduleUpdate{Schedule: dueSchedule(numberedID(i)), ReadHash: "h1"})
		}
		reversed = slices.Clone(updates)
		slices.Reverse(reversed)
		// In host transactions, because their statements are not retried.
		for _, err := range runConcurrently(4, func(i int) error {
			mine := updates
			if i%2 == 1 {
				mine = reversed
			}
			for range 5 {
				err := db.DB.WithContext(testContext(t)).Transaction(func(tx *gorm.DB) error {
					return errOf(s.WithTx(tx).UpdateSchedules(testContext(t), mine))
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
