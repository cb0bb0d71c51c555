//go:build unix

package hourbell_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Real processes are stopped (SIGSTOP) at each step of the loop, as by a host that is suspended, and continued when another
// has long done what they were at.

// stoppedAt is a victim that is stopped. The server ends its transaction after a second.
func stoppedAt(v victim, step string) victim {
	v.Step, v.Signal, v.LockTTL = step, syscall.SIGSTOP, 2*time.Second
	return v
}

// L2, L3, O2, T1: whatever a stopped process was at, another does it meanwhile, and the process fires nothing when it goes
// on.
func TestStoppedAndContinuedAtAnyStep(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and one process at a time")
	}
	first, second := firstRoad("writes", ""), secondRoad("")
	victims := map[string][]victim{"sqlite": {}, "postgres": {stoppedAt(second, "before fire-on-time"), stoppedAt(second, "after fire-on-time")}}
	for _, step := range []string{"before claim", "after claim", "before begin", "after commit", "sleep"} {
		victims["sqlite"] = append(victims["sqlite"], stoppedAt(first, step))
	}
	for _, step := range []string{"before advance", "after advance", "after insert-runs", "after enqueuer", "before commit"} {
		victims["postgres"] = append(victims["postgres"], stoppedAt(first, step))
	}
	victims["postgres"] = append(victims["postgres"], victims["sqlite"]...)
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, v := range victims[db.Dialect] {
			wiped(t, db)
			t.Run(v.road()+", "+v.Step, func(t *testing.T) {
				heir, c := survivor(t, db, v)
				p := sent(t, db, v)
				p.prints(t, "struck at")
				before := leftIn(t, db)
				c.Set(noon.Add(31 * time.Second))
				await(t, "the heir fires, unless the victim has", func() bool { return tick(t, heir).Fired > 0 || before == fired })
				settled := []hourbell.Schedule{row(t, heir, "noon"), row(t, heir, "often")}
				p.goesOn(t, v)
				require.Equal(t, settled, []hourbell.Schedule{row(t, heir, "noon"), row(t, heir, "often")})
				settledAtNoon(t, db, heir, before)
			})
		}
	})
}

// On SQLite nobody can end the transaction of another process. What is stopped in mid-transaction keeps the file until it
// goes on; then it fires, and nobody else does.
func TestOnSQLiteAStoppedTransactionKeepsTheFile(t *testing.T) {
	db := dbtest.SQLite(t)
	for _, step := range []string{"after advance", "before commit"} {
		wiped(t, db)
		v := stoppedAt(firstRoad("writes", ""), step)
		v.LockTTL = 10 * time.Minute // and so the client's deadline does not pass meanwhile
		_, c := survivor(t, db, v)
		cfg := v.config()
		cfg.Now = c.Now
		heir := replica(t, brief(t, db), cfg)
		p := sent(t, db, v)
		p.prints(t, "struck at")
		c.Set(noon.Add(31 * time.Second))
		_, err := heir.Tick(t.Context())
		require.ErrorIs(t, err, hourbell.ErrBusy)
		p.goesOn(t, v)
		require.Zero(t, tick(t, heir).Claimed)
		settledAtNoon(t, db, heir, left{})
	}
}

// T1, L3: processes whose own clocks are minutes apart share one database and fire every slot once, for the database's
// clock alone judges.
func TestProcessesWhoseClocksAreMinutesApartFireEverySlotOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		t.Parallel()
		watcher := synced(t, db.DB, victim{}.config())
		processes := map[time.Duration]*struck{}
		for _, wrong := range []time.Duration{-7 * time.Minute, 0, 7 * time.Minute} {
			processes[wrong] = sent(t, db, victim{Wrong: wrong})
		}
		await(t, "three workers are there", func() bool { return len(workersOf(t, watcher)) == 3 })
		for _, p := range processes {
			before := p.passes()
			await(t, "every process makes passes", func() bool { return p.passes() >= before+1 })
		}
		from := len(slots(runsOf(t, watcher, "s")))
		await(t, "three more fires", func() bool { return len(slots(runsOf(t, watcher, "s"))) >= from+3 })
		for wrong, p := range processes {
			require.NoError(t, p.Process.Signal(syscall.SIGTERM))
			<-p.exited
			require.Zero(t, p.ProcessState.ExitCode())
			require.Equal(t, wrong != 0, strings.Contains(p.log.String(), "clock is wrong"))
		}
		closed(t, watcher)
		for _, e := range eventsOf(t, watcher, "s", "SKIPPED") {
			require.Equal(t, "SUPERSEDED", e.Reason, "no slot looks late to anybody")
		}
		require.Empty(t, eventsOf(t, watcher, "s", "LOCK_EXPIRED"), "nobody is taken for dead")
	})
}
