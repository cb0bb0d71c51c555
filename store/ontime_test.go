package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// punctual is the fire of a schedule's slot at noon, of some jobs.
func punctual(id string, jobs int) hourbell.Fire {
	f := hourbell.Fire{ScheduleID: id, DefinitionHash: "h1", Slot: noon, Next: noon.Add(time.Hour)}
	for i := range jobs {
		run := fire(id, noon, i)
		f.Jobs = append(f.Jobs, hourbell.FireJob{Name: run.Job, Group: run.Group})
	}
	return f
}

// onPostgres runs a test on the database that has the second road.
func onPostgres(t *testing.T, test func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock)) {
	t.Helper()
	db := dbtest.Postgres(t)
	s, c := bound(t, db.DB)
	test(t, db, s, c)
}

func fireOnTime(t testing.TB, s hourbell.Store, fires ...hourbell.Fire) hourbell.Fired {
	t.Helper()
	fired, err := s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: fires})
	require.NoError(t, err)
	return fired
}

// L3, E2: what is free and on time is claimed, advanced and enqueued at once.
func TestASlotOnTimeFiresWithoutAClaim(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"), schedule("b"))
		before := row(t, s, "a")
		c.Advance(time.Second)
		withArgs := punctual("b", 1)
		withArgs.Jobs[0].Args, withArgs.Jobs[0].Group = []byte(`{"n": [1]}`), ""
		require.Equal(t, hourbell.Fired{At: c.Now(), Slots: 2, Runs: 4}, fireOnTime(t, s, punctual("a", 3), withArgs))

		want := before
		want.NextRunAt, want.SettledUntil, want.LastRunAt, want.LastScheduledFor = noon.Add(time.Hour), noon, c.Now(), noon
		want.LockToken, want.UpdatedAt = before.LockToken+1, c.Now()
		require.Equal(t, want, row(t, s, "a"))

		runs, err := s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "a", Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 3)
		for i, run := range runs {
			want := fire("a", noon, 2-i)
			want.ID, want.QueuedAt = run.ID, c.Now()
			require.Equal(t, want, run)
		}
		runs, err = s.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "b", Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.JSONEq(t, `{"n":[1]}`, string(runs[0].Args))
		require.Empty(t, runs[0].Group)

		require.Equal(t, hourbell.Fired{At: c.Now(), Overtaken: true}, fireOnTime(t, s, punctual("a", 3), punctual("b", 1)), "once")
		require.Empty(t, claim(t, s, "w1").Rows)
	})
}

// The second road respects what the first one left, and fires nothing that the first would not fire as it is.
func TestWhatNeedsAClaimIsNotFiredWithoutOne(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		for obstacle, put := range map[string]func(f *hourbell.Fire){
			"not there":                 func(f *hourbell.Fire) { f.ScheduleID = "b" },
			"disabled":                  func(*hourbell.Fire) { set(t, db, "a", "enabled", false) },
			"removed":                   func(*hourbell.Fire) { set(t, db, "a", "removed_at", noon) },
			"another definition":        func(*hourbell.Fire) { set(t, db, "a", "definition_hash", "h2") },
			"another slot is next":      func(*hourbell.Fire) { set(t, db, "a", "next_run_at", noon.Add(-time.Second)) },
			"no slot is next":           func(*hourbell.Fire) { set(t, db, "a", "next_run_at", nil) },
			"locked":                    func(*hourbell.Fire) { set(t, db, "a", "locked_by", "w1") },
			"owed":                      func(*hourbell.Fire) { set(t, db, "a", "owed_since", noon) },
			"held back":                 func(*hourbell.Fire) { set(t, db, "a", "held_until", noon.Add(-time.Hour)) },
			"failed before":             func(*hourbell.Fire) { set(t, db, "a", "failures", 1) },
			"not due":                   func(*hourbell.Fire) { c.Set(noon.Add(-time.Microsecond)) },
			"out of grace":              func(*hourbell.Fire) { c.Set(noon.Add(grace + time.Microsecond)) },
			"no longer the latest slot": func(f *hourbell.Fire) { f.Next = noon },
		} {
			require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
			c.Set(noon)
			insert(t, s, schedule("a"))
			f := punctual("a", 2)
			put(&f)
			before := row(t, s, "a")
			require.Equal(t, hourbell.Fired{At: c.Now()}, fireOnTime(t, s, f), obstacle)
			require.Equal(t, before, row(t, s, "a"), obstacle)
		}
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Empty(t, runs)

		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		insert(t, bind(t, db.DB, "other", c.Now), func() hourbell.Schedule { r := schedule("a"); r.Namespace = "other"; return r }())
		require.Zero(t, fireOnTime(t, s, punctual("a", 1)).Slots, "another namespace's")
	})
}

// M1: the end of the grace is within it.
func TestASlotIsOnTimeUntilTheEndOfItsGraceWithoutAClaimToo(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *clock) {
		insert(t, s, schedule("a"))
		c.Set(noon.Add(grace))
		require.Equal(t, 1, fireOnTime(t, s, punctual("a", 1)).Slots)
	})
}

// L3: the last line. Where a slot has its run already, nothing of the batch fires, and the first road finds out why.
func TestASlotThatHasItsRunIsNotFiredOnTimeAgain(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"), schedule("b"))
		enqueue(t, s, fire("a", noon, 0))
		_, err := s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: []hourbell.Fire{punctual("a", 2), punctual("b", 2)}})
		require.ErrorContains(t, err, "hourbell_job_runs_fire")
		for _, kind := range []error{hourbell.ErrUnavailable, hourbell.ErrBusy} {
			require.NotErrorIs(t, err, kind)
		}
		require.Equal(t, noon, row(t, s, "b").NextRunAt)
		runs, err := s.Runs(t.Context(), hourbell.RunQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, runs, 1)
	})
}

// Fires that differ in their schedules alone are handed over in another way than others. Either way each writes what is its own.
func TestEachFireOfABatchWritesItsOwn(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		for name, change := range map[string]func(batch []hourbell.Fire){
			"alike":         func([]hourbell.Fire) {},
			"another slot":  func(batch []hourbell.Fire) { batch[1].Slot = noon.Add(-time.Second) },
			"another next":  func(batch []hourbell.Fire) { batch[1].Next = noon.Add(2 * time.Hour) },
			"another job":   func(batch []hourbell.Fire) { batch[1].Jobs[0].Name = "é\"'," },
			"another group": func(batch []hourbell.Fire) { batch[1].Jobs[0].Group = "" },
			"other args":    func(batch []hourbell.Fire) { batch[1].Jobs[0].Args = []byte(`{"n": 7}`) },
			"more jobs":     func(batch []hourbell.Fire) { batch[1].Jobs = punctual("", 3).Jobs },
			"alike, of more jobs": func(batch []hourbell.Fire) {
				for i := range batch {
					batch[i].Jobs = punctual("", 4).Jobs
					batch[i].Jobs[2].Args, batch[i].Jobs[3].Group = []byte(`{"n": 8}`), ""
				}
			},
			"another of more jobs": func(batch []hourbell.Fire) {
				for i := range batch {
					batch[i].Jobs = punctual("", 3).Jobs
				}
				batch[1].Jobs[2].Name = "another"
			},
		} {
			batch := []hourbell.Fire{punctual(name+" 1", 1), punctual(name+" 2", 1), punctual(name+" 3", 1)}
			for i := range batch {
				batch[i].Jobs[0].Args = []byte(`{"n": 6}`)
			}
			change(batch)
			runs := 0
			for _, f := range batch {
				runs += len(f.Jobs)
			}
			for _, f := range batch {
				insert(t, s, dueAt(f.ScheduleID, f.Slot))
			}
			fired := fireOnTime(t, s, batch...)
			require.Equal(t, hourbell.Fired{At: noon, Slots: 3, Runs: runs}, fired, name)
			for _, f := range batch {
				stored := row(t, s, f.ScheduleID)
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
func TestAFireOnTimeSaysThatOthersWereFaster(t *testing.T) {
	onPostgres(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		insert(t, s, schedule("a"), schedule("b"), schedule("c"))
		all := []hourbell.Fire{punctual("a", 1), punctual("b", 1), punctual("c", 1)}
		require.False(t, fireOnTime(t, s, all[1]).Overtaken)
		require.True(t, fireOnTime(t, s, all[1]).Overtaken)
		for _, id := range []string{"a", "c"} {
			disabled := hourbell.Revision{Schedule: row(t, s, id), ReadHash: "h1", Settles: true}
			disabled.Enabled, disabled.NextRunAt = false, time.Time{}
			require.True(t, revise(t, s, disabled))
		}
		require.Equal(t, hourbell.Fired{At: noon}, fireOnTime(t, s, all...))
		insert(t, s, schedule("d"), schedule("e"), schedule("f"))
		all = []hourbell.Fire{punctual("d", 1), punctual("e", 1), punctual("f", 1)}
		require.Equal(t, 1, fireOnTime(t, s, all[0]).Slots)
		require.Equal(t, hourbell.Fired{At: noon, Slots: 1, Runs: 1}, fireOnTime(t, s, all[:2]...), "the last was not taken")
		require.Equal(t, hourbell.Fired{At: noon, Slots: 1, Runs: 1}, fireOnTime(t, s, all...), "by nobody but itself")
		require.Equal(t, hourbell.Fired{At: noon, Overtaken: true}, fireOnTime(t, s, all...))

		insert(t, s, schedule("g"), schedule("h"), schedule("i"))
		require.Equal(t, 2, fireOnTime(t, s, punctual("g", 1), punctual("i", 1)).Slots)
		require.Equal(t, hourbell.Fired{At: noon, Overtaken: true}, fireOnTime(t, s, punctual("g", 1), punctual("h", 1), punctual("i", 1)))
		require.Equal(t, noon, row(t, s, "h").NextRunAt, "what lies between was not looked at")
	})
}

// L1: one at a time fires in a lane, until its end, and nobody waits for it.
func TestOneAtATimeFiresInALane(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		fireIn := func(s hourbell.Store, lane int, id string) hourbell.Fired {
			fired, err := s.FireOnTime(soon(t), hourbell.FireRequest{Fires: []hourbell.Fire{punctual(id, 1)}, Lane: lane})
			require.NoError(t, err)
			return fired
		}
		taken, fires := hourbell.Fired{At: noon, Refused: true}, hourbell.Fired{At: noon, Slots: 1, Runs: 1}
		for i := range 9 {
			insert(t, s, schedule(id(i)))
		}
		for i, end := range []error{errHost, nil} {
			require.ErrorIs(t, s.Transaction(t.Context(), dead, func(inside hourbell.Store, _ hourbell.Tx) error {
				require.Equal(t, fires, fireIn(inside, 1, id(0)))
				require.Equal(t, taken, fireIn(s, 1, id(1)))
				require.Equal(t, noon, row(t, s, id(1)).NextRunAt)
				require.Equal(t, fires, fireIn(s, 2, id(2+3*i)), "another lane")
				require.Equal(t, fires, fireIn(s, 0, id(3+3*i)), "the lane with room for all")
				require.Equal(t, fires, fireIn(inside, 1, id(4+3*i)), "who is in it fires on")
				require.Equal(t, hourbell.Fired{At: noon}, fireIn(bind(t, db.DB, "other", c.Now), 1, id(1)), "another namespace's")
				return end
			}), end)
		}
		require.Equal(t, fires, fireIn(s, 1, id(1)))
	})
}

// SQLite has no second road.
func TestOnSQLiteNothingFiresWithoutAClaim(t *testing.T) {
	s, _ := bound(t, dbtest.SQLite(t).DB)
	insert(t, s, schedule("a"))
	require.True(t, s.OneByOne())
	require.ErrorIs(t, second(s.FireOnTime(t.Context(), hourbell.FireRequest{Fires: []hourbell.Fire{punctual("a", 1)}})), errors.ErrUnsupported)
	require.Equal(t, noon, row(t, s, "a").NextRunAt)
}

// L1, L3: many at once, and claims between them, fire each slot once.
func TestFiresAtOnceFireEachSlotOnce(t *testing.T) {
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		var rows []hourbell.Schedule
		var fires []hourbell.Fire
		for i := range 300 {
			id := fmt.Sprintf("s%03d", i)
			rows, fires = append(rows, schedule(id)), append(fires, punctual(id, 2))
		}
		insert(t, s, rows...)
		fired := make([]int, 6)
		for _, err := range together(len(fired), func(i int) error {
			own, _ := bound(t, db.Open(t, nil))
			if i == 0 {
				r := request("w1")
				r.Limit = 100
				claims, err := own.Claim(soon(t), r)
				fired[i] = len(claims.Rows)
				return err
			}
			got, err := own.FireOnTime(soon(t), hourbell.FireRequest{Fires: fires})
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
func TestAFireOnTimeWaitsForNobody(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := bound(t, db.DB)
	insert(t, s, schedule("a"), schedule("b"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules WHERE id = 'a' FOR UPDATE").Error)
		fired, err := s.FireOnTime(soon(t), hourbell.FireRequest{Fires: []hourbell.Fire{punctual("a", 1), punctual("b", 1)}})
		require.Equal(t, 1, fired.Slots)
		return err
	}))
	require.Equal(t, noon, row(t, s, "a").NextRunAt)
}

// O4: where the host's transactions are READ COMMITTED by default, what is a transaction by itself is one statement.
// O6: where they are not, it asks for that.
func TestAStatementThatStandsAloneAsksForReadCommittedWhereItMust(t *testing.T) {
	for level, alone := range map[string]bool{"read committed": true, "serializable": false} {
		db := *dbtest.Postgres(t)
		db.DSN += "&default_transaction_isolation=" + strings.ReplaceAll(level, " ", "%20")
		handle, pool := watch(t, &db, gorm.Config{})
		s := bind(t, handle, "test", nil)
		for name, do := range map[string]func(){
			"claim":     func() { claim(t, s, "w1") },
			"heartbeat": func() { beat(t, s, "w1") },
			"fire":      func() { fireOnTime(t, s, punctual("a", 1)) },
		} {
			require.Greater(t, len(pool.during(do)), 1, "%s: not known yet", name)
		}
		require.NoError(t, s.Ready(t.Context()))
		for name, do := range map[string]func(){
			"claim":     func() { claim(t, s, "w1") },
			"heartbeat": func() { beat(t, s, "w1") },
			"fire":      func() { fireOnTime(t, s, punctual("a", 1)) },
		} {
			require.Equal(t, alone, len(pool.during(do)) == 1, "%s under %s", name, level)
		}
	}
}

// O6: one connection among others may have a default of its own: what it refuses is asked for again, properly.
func TestAConnectionWithAnotherIsolationIsFoundOut(t *testing.T) {
	db := dbtest.Postgres(t)
	handle, pool := watch(t, db, gorm.Config{})
	s := bind(t, handle, "test", nil)
	insert(t, s, dueAt("a", time.Now().Add(-time.Hour)))
	require.NoError(t, s.Ready(t.Context()))
	refused := false
	pool.on = func(string) error {
		if !refused {
			refused = true
			return fail(db.DB, "40001")
		}
		return nil
	}
	require.Len(t, claim(t, s, "w1").Rows, 1)
	require.True(t, refused)
	require.Greater(t, len(pool.during(func() { claim(t, s, "w1") })), 1, "from then on it asks")
}

// O4: a fire on time that is asked for it says whether anything is left that is due, and if not when to come back: what the
// claim after it says.
func TestAFireOnTimeSaysWhetherAnythingIsLeft(t *testing.T) {
	type rows func(t *testing.T, db *dbtest.DB, s hourbell.Store)
	idle := map[string]rows{
		"nothing else":    func(*testing.T, *dbtest.DB, hourbell.Store) {},
		"a slot to come":  func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insert(t, s, dueAt("x", noon.Add(time.Minute))) },
		"a slot far off":  func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insert(t, s, dueAt("x", noon.Add(time.Hour*24))) },
		"an excepted row": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insert(t, s, schedule("excepted")) },
		"a disabled row": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insert(t, s, schedule("x"))
			set(t, db, "x", "enabled", false)
		},
	}
	left := map[string]rows{
		"another that is due": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) { insert(t, s, schedule("x")) },
		"one that another holds": func(t *testing.T, _ *dbtest.DB, s hourbell.Store) {
			insert(t, s, schedule("x"))
			claimOne(t, s, "w1")
		},
		"a back-off": func(t *testing.T, db *dbtest.DB, s hourbell.Store) {
			insert(t, s, schedule("x"))
			set(t, db, "x", "held_until", noon.Add(30*time.Second))
		},
	}
	onPostgres(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		try := func(want bool) func(string, rows) {
			return func(name string, prepare rows) {
				t.Run(name, func(t *testing.T) {
					for _, table := range []string{"hourbell_schedules", "hourbell_workers", "hourbell_job_runs"} {
						require.NoError(t, db.Exec("DELETE FROM "+table).Error)
					}
					prepare(t, db, s)
					insert(t, s, schedule("a"), schedule("b"))
					fired, err := s.FireOnTime(t.Context(), hourbell.FireRequest{
						Fires: []hourbell.Fire{punctual("a", 1), punctual("b", 2)}, Ask: true, Except: []string{"excepted h1"},
					})
					require.NoError(t, err)
					require.Positive(t, fired.Slots)
					require.Equal(t, want, fired.Idle)
					if claims := claim(t, s, "w2"); want && name != "an excepted row" {
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
