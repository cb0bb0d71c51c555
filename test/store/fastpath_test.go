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
)

// punctual is the fire of a schedule's slot at noon, of some jobs.
func slotFire(id string, jobs int) hourbell.Fire {
	f := hourbell.Fire{ScheduleID: id, DefinitionHash: "h1", Slot: noon, Next: noon.Add(time.Hour)}
	for i := range jobs {
		run := cronRun(id, noon, i)
		f.Jobs = append(f.Jobs, hourbell.FireJob{Name: run.Job, Group: run.Group})
	}
	return f
}

func fireOnTime(t testing.TB, s hourbell.Store, fires ...hourbell.Fire) hourbell.Fired {
	t.Helper()
	fired, err := s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: fires})
	require.NoError(t, err)
	return fired
}

// L3, E2: what is free and on time is claimed, advanced and enqueued at once.
func TestFastPathFiresSlotOnTime(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		before := readSchedule(t, s, "a")
		c.Advance(time.Second)
		withArgs := slotFire("b", 1)
		withArgs.Jobs[0].Args, withArgs.Jobs[0].Group = []byte(`{"n": [1]}`), ""
		require.Equal(t, hourbell.Fired{At: c.Now(), Slots: 2, Runs: 4}, fireOnTime(t, s, slotFire("a", 3), withArgs))

		want := before
		want.NextRunAt, want.SettledUntil, want.LastRunAt, want.LastScheduledFor = noon.Add(time.Hour), noon, c.Now(), noon
		want.LockToken, want.UpdatedAt = before.LockToken+1, c.Now()
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

		require.Equal(t, hourbell.Fired{At: c.Now(), Overtaken: true}, fireOnTime(t, s, slotFire("a", 3), slotFire("b", 1)), "once")
		require.Empty(t, claimAll(t, s, "w1").Rows)
	})
}

// The second road respects what the first one left, and fires nothing that the first would not fire as it is.
func TestFastPathLeavesOutSchedulesNeedingClaim(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		for obstacle, put := range map[string]func(f *hourbell.Fire){
			"not there":                 func(f *hourbell.Fire) { f.ScheduleID = "b" },
			"disabled":                  func(*hourbell.Fire) { setColumn(t, db, "a", "enabled", false) },
			"removed":                   func(*hourbell.Fire) { setColumn(t, db, "a", "removed_at", noon) },
			"another definition":        func(*hourbell.Fire) { setColumn(t, db, "a", "definition_hash", "h2") },
			"another slot is next":      func(*hourbell.Fire) { setColumn(t, db, "a", "next_run_at", noon.Add(-time.Second)) },
			"no slot is next":           func(*hourbell.Fire) { setColumn(t, db, "a", "next_run_at", nil) },
			"locked":                    func(*hourbell.Fire) { setColumn(t, db, "a", "locked_by", "w1") },
			"owed":                      func(*hourbell.Fire) { setColumn(t, db, "a", "owed_since", noon) },
			"held back":                 func(*hourbell.Fire) { setColumn(t, db, "a", "held_until", noon.Add(-time.Hour)) },
			"failed before":             func(*hourbell.Fire) { setColumn(t, db, "a", "failures", 1) },
			"not due":                   func(*hourbell.Fire) { c.Set(noon.Add(-time.Microsecond)) },
			"out of grace":              func(*hourbell.Fire) { c.Set(noon.Add(grace + time.Microsecond)) },
			"no longer the latest slot": func(f *hourbell.Fire) { f.Next = noon },
		} {
			require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
			c.Set(noon)
			insertSchedules(t, s, dueSchedule("a"))
			f := slotFire("a", 2)
			put(&f)
			before := readSchedule(t, s, "a")
			require.Equal(t, hourbell.Fired{At: c.Now()}, fireOnTime(t, s, f), obstacle)
			require.Equal(t, before, readSchedule(t, s, "a"), obstacle)
		}
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, runs)

		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		insertSchedules(t, bindStore(t, db.DB, "other", c.Now), func() hourbell.Schedule { r := dueSchedule("a"); r.Namespace = "other"; return r }())
		require.Zero(t, fireOnTime(t, s, slotFire("a", 1)).Slots, "another namespace's")
	})
}

// M1: the end of the grace is within it.
func TestFastPathFiresUntilGraceEnds(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		c.Set(noon.Add(grace))
		require.Equal(t, 1, fireOnTime(t, s, slotFire("a", 1)).Slots)
	})
}

// L3: the last line. Where a slot has its run already, nothing of the batch fires, and the first road finds out why.
func TestFastPathFailsIfSlotHasRun(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
		insertRuns(t, s, cronRun("a", noon, 0))
		_, err := s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: []hourbell.Fire{slotFire("a", 2), slotFire("b", 2)}})
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

// Fires that differ in their schedules alone are handed over in another way than others. Either way each writes what is its own.
func TestFastPathBatchWritesEachFire(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		for name, change := range map[string]func(batch []hourbell.Fire){
			"alike":         func([]hourbell.Fire) {},
			"another slot":  func(batch []hourbell.Fire) { batch[1].Slot = noon.Add(-time.Second) },
			"another next":  func(batch []hourbell.Fire) { batch[1].Next = noon.Add(2 * time.Hour) },
			"another job":   func(batch []hourbell.Fire) { batch[1].Jobs[0].Name = "é\"'," },
			"another group": func(batch []hourbell.Fire) { batch[1].Jobs[0].Group = "" },
			"other args":    func(batch []hourbell.Fire) { batch[1].Jobs[0].Args = []byte(`{"n": 7}`) },
			"more jobs":     func(batch []hourbell.Fire) { batch[1].Jobs = slotFire("", 3).Jobs },
			"alike, of more jobs": func(batch []hourbell.Fire) {
				for i := range batch {
					batch[i].Jobs = slotFire("", 4).Jobs
					batch[i].Jobs[2].Args, batch[i].Jobs[3].Group = []byte(`{"n": 8}`), ""
				}
			},
			"another of more jobs": func(batch []hourbell.Fire) {
				for i := range batch {
					batch[i].Jobs = slotFire("", 3).Jobs
				}
				batch[1].Jobs[2].Name = "another"
			},
		} {
			batch := []hourbell.Fire{slotFire(name+" 1", 1), slotFire(name+" 2", 1), slotFire(name+" 3", 1)}
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
			require.Equal(t, hourbell.Fired{At: noon, Slots: 3, Runs: runs}, fired, name)
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

// Whoever comes where others have been is told so, and not where a person has been.
func TestFastPathReportsAlreadySettled(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"), dueSchedule("c"))
		all := []hourbell.Fire{slotFire("a", 1), slotFire("b", 1), slotFire("c", 1)}
		require.False(t, fireOnTime(t, s, all[1]).Overtaken)
		require.True(t, fireOnTime(t, s, all[1]).Overtaken)
		for _, id := range []string{"a", "c"} {
			disabled := hourbell.Revision{Schedule: readSchedule(t, s, id), ReadHash: "h1", Settles: true}
			disabled.Enabled, disabled.NextRunAt = false, time.Time{}
			require.True(t, updateOne(t, s, disabled))
		}
		require.Equal(t, hourbell.Fired{At: noon}, fireOnTime(t, s, all...))
		insertSchedules(t, s, dueSchedule("d"), dueSchedule("e"), dueSchedule("f"))
		all = []hourbell.Fire{slotFire("d", 1), slotFire("e", 1), slotFire("f", 1)}
		require.Equal(t, 1, fireOnTime(t, s, all[0]).Slots)
		require.Equal(t, hourbell.Fired{At: noon, Slots: 1, Runs: 1}, fireOnTime(t, s, all[:2]...), "the last was not taken")
		require.Equal(t, hourbell.Fired{At: noon, Slots: 1, Runs: 1}, fireOnTime(t, s, all...), "by nobody but itself")
		require.Equal(t, hourbell.Fired{At: noon, Overtaken: true}, fireOnTime(t, s, all...))

		insertSchedules(t, s, dueSchedule("g"), dueSchedule("h"), dueSchedule("i"))
		require.Equal(t, 2, fireOnTime(t, s, slotFire("g", 1), slotFire("i", 1)).Slots)
		require.Equal(t, hourbell.Fired{At: noon, Overtaken: true}, fireOnTime(t, s, slotFire("g", 1), slotFire("h", 1), slotFire("i", 1)))
		require.Equal(t, noon, readSchedule(t, s, "h").NextRunAt, "what lies between was not looked at")
	})
}

// O4: a fire on time that is asked for it says whether anything is left that is due, and if not when to come back: what the
// claim after it says.
func TestFastPathReportsIdleAndWakeAt(t *testing.T) {
	type rows func(t *testing.T, db *dbtest.DB, s hourbell.Store)
	idle := map[string]rows{
		"nothing else": func(*testing.T, *dbtest.DB, hourbell.Store) {},
		"a slot to come": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, scheduleDueAt("x", noon.Add(time.Minute)))
		},
		"a slot far off": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, scheduleDueAt("x", noon.Add(time.Hour*24)))
		},
		"an excepted row": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insertSchedules(t, s, dueSchedule("excepted")) },
		"a disabled row": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			setColumn(t, db, "x", "enabled", false)
		},
	}
	left := map[string]rows{
		"another that is due": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insertSchedules(t, s, dueSchedule("x")) },
		"one that another holds": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			claimOne(t, s, "w1")
		},
		"a back-off": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insertSchedules(t, s, dueSchedule("x"))
			setColumn(t, db, "x", "held_until", noon.Add(30*time.Second))
		},
	}
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		try := func(want bool) func(string, rows) {
			return func(name string, prepare rows) {
				t.Run(name, func(t *testing.T) {
					for _, table := range []string{"hourbell_schedules", "hourbell_workers", "hourbell_job_runs"} {
						require.NoError(t, db.Exec("DELETE FROM "+table).Error)
					}
					prepare(t, db, s)
					insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
					fired, err := s.FireOnTime(t.Context(), hourbell.FireRequest{
						Fires: []hourbell.Fire{slotFire("a", 1), slotFire("b", 2)}, Ask: true, Except: []string{"excepted h1"},
					})
					require.NoError(t, err)
					require.Positive(t, fired.Slots)
					require.Equal(t, want, fired.Idle)
					if claims := claimAll(t, s, "w2"); want && name != "an excepted row" {
						require.Equal(t, hourbell.Claims{At: fired.At, Wake: fired.Wake}, claims)
					}
				})
			}
		}
		for name, prepare := range idle {
			try(true)(name, prepare)
		}
		for name, prepare := range left {
			try(false)(name, prepare)
		}
	})
}

// SQLite has no second road.
func TestSQLiteHasNoFastPath(t *testing.T) {
	s, _ := newStore(t, dbtest.SQLite(t).DB)
	insertSchedules(t, s, dueSchedule("a"))
	require.True(t, s.OneByOne())
	require.ErrorIs(t, errOf(s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: []hourbell.Fire{slotFire("a", 1)}})), errors.ErrUnsupported)
	require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
}

// L1, L3: many at once, and claims between them, fire each slot once.
func TestConcurrentFiresFireEachSlotOnce(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		var rows []hourbell.Schedule
		var fires []hourbell.Fire
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
				claims, err := own.Claim(testContext(t), r)
				fired[i] = len(claims.Rows)
				return err
			}
			got, err := own.FireOnTime(testContext(t), hourbell.FireRequest{Fires: fires})
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

// L1: rows that somebody is at are passed by.
func TestFastPathDoesNotWaitForLockedRows(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
		fired, err := s.FireOnTime(testContext(t), hourbell.FireRequest{Fires: []hourbell.Fire{slotFire("a", 1), slotFire("b", 1)}})
		require.Equal(t, 1, fired.Slots)
		return err
	}))
	require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
}
