//go:build unix

package hourbell_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Real processes are killed (SIGKILL) at each step of the loop, and an heir accounts for what they left. The two schedules of
// a victim are due at noon; the one that is due every ten minutes has missed two slots by then. Wherever the victim dies,
// both fire once at noon, and one event has the two slots missed.

// left is what a killed process leaves behind.
type left struct {
	Locks, Debts, Runs int
	Failures           int
}

// What a victim may leave of the two schedules, of which one has two jobs.
var (
	asItWas  = left{}
	locked   = left{Locks: 2, Debts: 2} // and debts, which tell the heir to fire
	owing    = left{Debts: 2}
	heldBack = left{Debts: 2, Failures: 2}
	fired    = left{Runs: 3}
)

func leftIn(t testing.TB, db *dbtest.DB) (l left) {
	t.Helper()
	require.NoError(t, db.Raw(`SELECT count(locked_by) AS locks, count(owed_since) AS debts, sum(failures) AS failures,
		(SELECT count(*) FROM hourbell_job_runs) AS runs FROM hourbell_schedules`).Scan(&l).Error)
	return l
}

// firstRoad is a victim that claims: it comes at noon, and has an Enqueuer.
func firstRoad(engine, step string) victim {
	return victim{Engine: engine, Clock: []time.Time{noon}, Step: step, Signal: syscall.SIGKILL}
}

// secondRoad is a victim that fires on time, without a claim: it has been there for a pass before noon.
func secondRoad(step string) victim {
	return victim{Clock: []time.Time{noon.Add(-10 * time.Second), noon}, Step: step, Signal: syscall.SIGKILL}
}

// killed sends victims to their deaths, each on a database of its own, and checks what they leave and what an heir makes of it.
func killed(t *testing.T, leaves left, victims ...victim) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, v := range victims {
			if v.Engine == "" && db.Dialect == "sqlite" {
				continue // there is no second road there
			}
			wiped(t, db)
			t.Run(v.road()+", "+v.Step, func(t *testing.T) { kill(t, db, v, leaves) })
		}
	})
}

func (v victim) road() string {
	if v.Engine == "" {
		return "on time"
	}
	return "Enqueuer " + v.Engine
}

func kill(t *testing.T, db *dbtest.DB, v victim, leaves left) {
	heir, c := survivor(t, db, v)
	sent(t, db, v).dies(t, db)
	require.Equal(t, leaves, leftIn(t, db))

	c.Set(noon.Add(5 * time.Second))
	report := tick(t, heir)
	if leaves.Locks == 0 && leaves.Runs == 0 {
		require.Equal(t, 2, report.Fired, "nobody stands in the way")
	} else {
		require.Zero(t, report.Claimed, "nothing to do, or a holder that may live")
	}
	c.Set(noon.Add(30*time.Second + time.Microsecond)) // the holder has missed three heartbeats
	require.Equal(t, leaves.Locks, tick(t, heir).Fired)
	settledAtNoon(t, db, heir, leaves)
	for _, id := range []string{"noon", "often"} {
		require.Len(t, eventsOf(t, heir, id, "LOCK_EXPIRED"), leaves.Locks/2)
	}
}

// survivor is a replica that has stored a victim's schedules half an hour before noon, and does what the victim does not live
// to do.
func survivor(t *testing.T, db *dbtest.DB, v victim) (*hourbell.Scheduler, *clock) {
	t.Helper()
	require.NoError(t, db.Exec("CREATE TABLE IF NOT EXISTS engine_jobs (key text)").Error)
	require.NoError(t, db.Exec("DELETE FROM engine_jobs").Error)
	c := newClock(noon.Add(-30 * time.Minute))
	cfg := v.config()
	cfg.Now = c.Now
	if v.Engine != "" {
		cfg.Enqueuer = &engine{}
	}
	return synced(t, db.DB, cfg), c
}

// settledAtNoon checks that both schedules have fired at noon, once and whole, that one event has the slots missed
// before, that the engine has the runs that are stored, and that nothing is left over.
func settledAtNoon(t *testing.T, db *dbtest.DB, s *hourbell.Scheduler, leaves left) {
	t.Helper()
	require.Equal(t, fired, leftIn(t, db))
	runs := append(runsOf(t, s, "noon"), runsOf(t, s, "often")...)
	require.Len(t, runs, 3)
	for _, run := range runs {
		require.Equal(t, noon, run.ScheduledFor)
	}
	require.Empty(t, skipped(t, s, "noon"))
	reason := "LATE"
	if leaves.Debts > 0 { // which is what made the slot of noon fire
		reason = "SUPERSEDED"
	}
	require.Equal(t, []string{reason + " 11:40:00-11:50:00 2"}, skipped(t, s, "often"))
	require.Equal(t, noon.Add(time.Hour), row(t, s, "noon").NextRunAt)
	require.Equal(t, noon.Add(10*time.Minute), row(t, s, "often").NextRunAt)
	if keys := handed(t, db); len(keys) > 0 {
		require.Equal(t, keysOf(runs), keys)
	}
}

// L1: what is killed before its claim is committed has done nothing, on either road.
func TestKilledBeforeItsClaim(t *testing.T) {
	killed(t, asItWas, firstRoad("writes", "before claim"), secondRoad("before fire-on-time"))
}

// L2, L4: between claim and commit it leaves locks, which are taken over, and debts, which make the heir fire. Whatever
// the transaction had written is gone, the Enqueuer's part with it (E2).
func TestKilledBetweenClaimAndCommit(t *testing.T) {
	steps := []string{
		"after claim", "before begin", "before advance", "after advance", "before insert-events", "after insert-events",
		"before insert-runs", "after insert-runs", "before enqueuer", "after enqueuer", "before commit",
	}
	if testing.Short() {
		steps = []string{"after claim", "after advance", "after enqueuer", "before commit"}
	}
	var victims []victim
	for _, step := range steps {
		victims = append(victims, firstRoad("writes", step))
	}
	killed(t, locked, victims...)
}

// L3: once it has committed it has fired, whether it has learnt of it or not, and asleep it has nothing to leave.
func TestKilledAfterItsCommit(t *testing.T) {
	killed(t, fired, firstRoad("writes", "after commit"), firstRoad("writes", "sleep"),
		secondRoad("after fire-on-time"), secondRoad("sleep"))
}

// E4: killed before it has recorded that its Enqueuer fails, or that the database is away, it leaves locks and debts; killed
// after, debts alone.
func TestKilledWhileItRecordsAFailure(t *testing.T) {
	killed(t, locked, firstRoad("fails", "before hold"), firstRoad("fails", "after hold"), firstRoad("away", "before give-back"))
	t.Run("recorded", func(t *testing.T) { killed(t, heldBack, firstRoad("fails", "after commit")) })
	t.Run("given back", func(t *testing.T) { killed(t, owing, firstRoad("away", "after give-back")) })
}
