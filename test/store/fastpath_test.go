package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// slotFire fires the noon slot of a schedule with some jobs.
func slotFire(id string, jobs int) storage.SlotFire {
	f := storage.SlotFire{ScheduleID: id, DefinitionHash: "h1", Slot: noon, Next: noon.Add(time.Hour)}
	for i := range jobs {
		run := cronRun(id, noon, i)
		f.Jobs = append(f.Jobs, storage.JobSpec{Name: run.Job, Group: run.Group})
	}
	return f
}

func fireOnTime(t testing.TB, s hourbell.Store, fires ...storage.SlotFire) storage.FireResult {
	t.Helper()
	fired, err := s.FireOnTime(t.Context(), storage.FireRequest{Fires: fires})
	require.NoError(t, err)
	return fired
}

// L3, E2: One statement claims, advances and enqueues schedules that are
// unlocked and on time.
func TestFastPathFiresSlotOnTime(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		before := readSchedule(t, s, "a")
		c.Advance(time.Second)
		withArgs := slotFire("b", 1)
		withArgs.Jobs[0].Args, withArgs.Jobs[0].Group = []byte(`{"n": [1]}`), ""
		require.Equal(t, storage.FireResult{At: c.Now(), Slots: 2, Names: []string{"a", "b"}, Runs: 4}, fireOnTime(t, s, slotFire("a", 3), withArgs))

		want := before
		want.NextRunAt, want.SettledThrough, want.LastRunAt, want.LastScheduledFor = noon.Add(time.Hour), noon, c.Now(), noon
		want.Version, want.UpdatedAt = before.Version+1, c.Now()
		require.Equal(t, want, readSchedule(t, s, "a"))

		runs, err := s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "a", Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 3)
		for i, run := range runs {
			want := cronRun("a", noon, 2-i)
			want.ID, want.QueuedAt = run.ID, c.Now()
			require.Equal(t, want, run)
		}
		runs, err = s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "b", Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.JSONEq(t, `{"n":[1]}`, string(runs[0].Args))
		require.Empty(t, runs[0].Group)

		require.Equal(t, storage.FireResult{At: c.Now(), AlreadySettled: true}, fireOnTime(t, s, slotFire("a", 3), slotFire("b", 1)), "a slot fires once")
		require.Empty(t, claimAll(t, s, "w1").Claims)
	})
}

// The fast path leaves a schedule to the claim path unless the condition of a
// plain fire holds: enabled, unlocked, on time, its latest slot, no failure and
// no unfinished claim.
func TestFastPathLeavesOutSchedulesNeedingClaim(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		for condition, setUp := range map[string]func(f *storage.SlotFire){
			"missing":                   func(f *storage.SlotFire) { f.ScheduleID = "b" },
			"disabled":                  func(*storage.SlotFire) { setColumn(t, db, "a", "enabled", false) },
			"removed":                   func(*storage.SlotFire) { setColumn(t, db, "a", "removed_at", noon) },
			"another definition":        func(*storage.SlotFire) { setColumn(t, db, "a", "definition_hash", "h2") },
			"another slot is next":      func(*storage.SlotFire) { setColumn(t, db, "a", "next_run_at", noon.Add(-time.Second)) },
			"no slot is next":           func(*storage.SlotFire) { setColumn(t, db, "a", "next_run_at", nil) },
			"locked":                    func(*storage.SlotFire) { setColumn(t, db, "a", "locked_by", "w1") },
			"unfinished claim":          func(*storage.SlotFire) { setColumn(t, db, "a", "unfinished_since", noon) },
			"backed off":                func(*storage.SlotFire) { setColumn(t, db, "a", "retry_at", noon.Add(-time.Hour)) },
			"failed before":             func(*storage.SlotFire) { setColumn(t, db, "a", "consecutive_failures", 1) },
			"not due":                   func(*storage.SlotFire) { c.Set(noon.Add(-time.Microsecond)) },
			"out of grace":              func(*storage.SlotFire) { c.Set(noon.Add(grace + time.Microsecond)) },
			"no longer the latest slot": func(f *storage.SlotFire) { f.Next = noon },
		} {
			require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
			c.Set(noon)
			insertSchedules(t, s, dueSchedule("a"))
			f := slotFire("a", 2)
			setUp(&f)
			before := readSchedule(t, s, "a")
			require.Equal(t, storage.FireResult{At: c.Now()}, fireOnTime(t, s, f), condition)
			require.Equal(t, before, readSchedule(t, s, "a"), condition)
		}
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, runs)

		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		insertSchedules(t, bindStore(t, db.DB, "other", c.Now), func() storage.Schedule { r := dueSchedule("a"); r.Namespace = "other"; return r }())
		require.Zero(t, fireOnTime(t, s, slotFire("a", 1)).Slots, "the schedule is in another namespace")
	})
}

// M1: A slot fires until the end of its grace, inclusive.
func TestFastPathFiresUntilGraceEnds(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		c.Set(noon.Add(grace))
		require.Equal(t, 1, fireOnTime(t, s, slotFire("a", 1)).Slots)
	})
}

// L3: If a slot has a run already, the unique index fails the whole batch. The
// claim path then finds the reason.
func TestFastPathFailsIfSlotHasRun(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		insertRuns(t, s, cronRun("a", noon, 0))
		_, err := s.FireOnTime(t.Context(), storage.FireRequest{Fires: []storage.SlotFire{slotFire("a", 2), slotFire("b", 2)}})
		require.ErrorContains(t, err, "hourbell_job_runs_fire")
		for _, kind := range []error{hourbell.ErrUnavailable, hourbell.ErrBusy} {
			require.NotErrorIs(t, err, kind)
		}
		require.Equal(t, noon, readSchedule(t, s, "b").NextRunAt)
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1)
	})
}

// One form of the statement is for uniform fires, which differ only in their
// schedules, and one for all others. Both write the values of each fire.
func TestFastPathBatchWritesEachFire(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		for name, change := range map[string]func(batch []storage.SlotFire){
			"uniform":       func([]storage.SlotFire) {},
			"another slot":  func(batch []storage.SlotFire) { batch[1].Slot = noon.Add(-time.Second) },
			"another next":  func(batch []storage.SlotFire) { batch[1].Next = noon.Add(2 * time.Hour) },
			"another job":   func(batch []storage.SlotFire) { batch[1].Jobs[0].Name = "é\"'," },
			"another group": func(batch []storage.SlotFire) { batch[1].Jobs[0].Group = "" },
			"other args":    func(batch []storage.SlotFire) { batch[1].Jobs[0].Args = []byte(`{"n": 7}`) },
			"more jobs":     func(batch []storage.SlotFire) { batch[1].Jobs = slotFire("", 3).Jobs },
			"uniform, more jobs": func(batch []storage.SlotFire) {
				for i := range batch {
					batch[i].Jobs = slotFire("", 4).Jobs
					batch[i].Jobs[2].Args, batch[i].Jobs[3].Group = []byte(`{"n": 8}`), ""
				}
			},
			"more jobs, another name": func(batch []storage.SlotFire) {
				for i := range batch {
					batch[i].Jobs = slotFire("", 3).Jobs
				}
				batch[1].Jobs[2].Name = "another"
			},
		} {
			batch := []storage.SlotFire{slotFire(name+" 1", 1), slotFire(name+" 2", 1), slotFire(name+" 3", 1)}
			for i := range batch {
				batch[i].Jobs[0].Args = []byte(`{"n": 6}`)
			}
			change(batch)
			runs := 0
			for _, f := range batch {
				runs += len(f.Jobs)
			}
			for _, f := range batch {
				insertSchedules(t, s, scheduleDueAt(f.ScheduleID, f.Slot))
			}
			fired := fireOnTime(t, s, batch...)
			names := []string{batch[0].ScheduleID, batch[1].ScheduleID, batch[2].ScheduleID}
			require.ElementsMatch(t, names, fired.Names, name)
			fired.Names = nil
			require.Equal(t, storage.FireResult{At: noon, Slots: 3, Runs: runs}, fired, name)
			for _, f := range batch {
				stored := readSchedule(t, s, f.ScheduleID)
				require.Equal(t, []time.Time{f.Next, f.Slot}, []time.Time{stored.NextRunAt, stored.LastScheduledFor}, name)
				runs, err := s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: f.ScheduleID, Limit: 10})
				require.NoError(t, err)
				require.Len(t, runs, len(f.Jobs), name)
				slices.Reverse(runs)
				for i, run := range runs {
					require.Equal(t, f.Slot, run.ScheduledFor, name)
					require.Equal(t, []any{f.Jobs[i].Name, f.Jobs[i].Group, i}, []any{run.Job, run.Group, run.Ordinal}, name)
					require.Equal(t, string(f.Jobs[i].Args), string(run.Args), name)
				}
			}
		}
	})
}

// A fire reports AlreadySettled if another worker settled its first and last
// slot. A schedule that an operator settled does not count.
func TestFastPathReportsAlreadySettled(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		all := []storage.SlotFire{slotFire("a", 1), slotFire("b", 1), slotFire("c", 1)}
		require.False(t, fireOnTime(t, s, all[1]).AlreadySettled)
		require.True(t, fireOnTime(t, s, all[1]).AlreadySettled)
		for _, id := range []string{"a", "c"} {
			disabled := storage.ScheduleUpdate{Schedule: readSchedule(t, s, id), ReadHash: "h1", Settles: true}
			disabled.Enabled, disabled.NextRunAt = false, time.Time{}
			require.True(t, updateOne(t, s, disabled))
		}
		require.Equal(t, storage.FireResult{At: noon}, fireOnTime(t, s, all...))
		insertSchedules(t, s, dueSchedule("d"), dueSchedule("e"), dueSchedule("f"))
		all = []storage.SlotFire{slotFire("d", 1), slotFire("e", 1), slotFire("f", 1)}
		require.Equal(t, 1, fireOnTime(t, s, all[0]).Slots)
		require.Equal(t, storage.FireResult{At: noon, Slots: 1, Names: []string{"e"}, Runs: 1}, fireOnTime(t, s, all[:2]...), "the last slot was not settled")
		require.Equal(t, storage.FireResult{At: noon, Slots: 1, Names: []string{"f"}, Runs: 1}, fireOnTime(t, s, all...), "the last slot was settled only by this statement")
		require.Equal(t, storage.FireResult{At: noon, AlreadySettled: true}, fireOnTime(t, s, all...))

		insertSchedules(t, s, dueSchedule("g"), dueSchedule("h"), dueSchedule("i"))
		require.Equal(t, 2, fireOnTime(t, s, slotFire("g", 1), slotFire("i", 1)).Slots)
		require.Equal(t, storage.FireResult{At: noon, AlreadySettled: true}, fireOnTime(t, s, slotFire("g", 1), slotFire("h", 1), slotFire("i", 1)))
		require.Equal(t, noon, readSchedule(t, s, "h").NextRunAt, "slots between the first and the last are not read")
	})
}

// O4: With FindNext, a fire reports whether no other schedule is due, and when
// the next one is. A claim after it returns the same.
func TestFastPathReportsIdleAndWakeAt(t *testing.T) {
	type prepareFunc func(t *testing.T, db *dbtest.DB, s hourbell.Store)
	idle := map[string]prepareFunc{
		"no other schedule": func(*testing.T, *dbtest.DB, hourbell.Store) {},
		"slot in a minute": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, scheduleDueAt("x", noon.Add(time.Minute)))
		},
		"slot in a day": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, scheduleDueAt("x", noon.Add(time.Hour*24)))
		},
		"excluded": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insertSchedules(t, s, dueSchedule("excluded")) },
		"disabled": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			setColumn(t, db, "x", "enabled", false)
		},
	}
	moreDue := map[string]prepareFunc{
		"another due": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insertSchedules(t, s, dueSchedule("x")) },
		"due and held by another worker": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			claimOne(t, s, "w1")
		},
		"backed off": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			setColumn(t, db, "x", "retry_at", noon.Add(30*time.Second))
		},
	}
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		check := func(name string, prepare prepareFunc, wantIdle bool) {
			t.Run(name, func(t *testing.T) {
				for _, table := range []string{"hourbell_schedules", "hourbell_workers", "hourbell_job_runs"} {
					require.NoError(t, db.Exec("DELETE FROM "+table).Error)
				}
				prepare(t, db, s)
				insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
				fired, err := s.FireOnTime(t.Context(), storage.FireRequest{
					Fires: []storage.SlotFire{slotFire("a", 1), slotFire("b", 2)}, FindNext: true, Exclude: []string{"excluded h1"},
				})
				require.NoError(t, err)
				require.Positive(t, fired.Slots)
				require.Equal(t, wantIdle, fired.Idle)
				if result := claimAll(t, s, "w2"); wantIdle && name != "excluded" {
					require.Equal(t, storage.ClaimResult{At: fired.At, WakeAt: fired.WakeAt}, result)
				}
			})
		}
		for name, prepare := range idle {
			check(name, prepare, true)
		}
		for name, prepare := range moreDue {
			check(name, prepare, false)
		}
	})
}

func TestSQLiteHasNoFastPath(t *testing.T) {
	s, _ := newStore(t, dbtest.SQLite(t).DB)
	insertSchedules(t, s, dueSchedule("a"))
	require.True(t, s.SingleWriter())
	require.ErrorIs(t, errOf(s.FireOnTime(t.Context(), storage.FireRequest{Fires: []storage.SlotFire{slotFire("a", 1)}})), errors.ErrUnsupported)
	require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
}

// L1, L3: Concurrent fires and claims fire each slot once.
func TestConcurrentFiresFireEachSlotOnce(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		var rows []storage.Schedule
		var fires []storage.SlotFire
		for i := range 300 {
			id := fmt.Sprintf("s%03d", i)
			rows, fires = append(rows, dueSchedule(id)), append(fires, slotFire(id, 2))
		}
		insertSchedules(t, s, rows...)
		fired := make([]int, 6)
		for _, err := range runConcurrently(len(fired), func(i int) error {
			own, _ := newStore(t, db.Open(t, nil))
			if i == 0 {
				r := claimRequest("w1")
				r.Limit = 100
				result, err := own.Claim(testContext(t), r)
				fired[i] = len(result.Claims)
				return err
			}
			got, err := own.FireOnTime(testContext(t), storage.FireRequest{Fires: fires})
			fired[i] = got.Slots
			return err
		}) {
			require.NoError(t, err)
		}
		claimed := fired[0]
		for _, n := range fired[1:] {
			claimed += n
		}
		require.Equal(t, 300, claimed)
		var runs int
		require.NoError(t, db.Raw("SELECT count(*) FROM hourbell_job_runs").Scan(&runs).Error)
		require.Equal(t, 2*(300-fired[0]), runs)
	})
}

// L1: The fast path does not wait for locked rows.
func TestFastPathDoesNotWaitForLockedRows(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
		fired, err := s.FireOnTime(testContext(t), storage.FireRequest{Fires: []storage.SlotFire{slotFire("a", 1), slotFire("b", 1)}})
		require.Equal(t, 1, fired.Slots)
		return err
	}))
	require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
}
