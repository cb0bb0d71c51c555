package hourbell_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// everySecond is an enabled schedule for tests on the database's own clock.
func everySecond(id string) hourbell.Definition {
	d := hourly(id)
	d.Cron = "* * * * * *"
	return d
}

// T1: a process whose clock is hours wrong fires on time by the database's clock, and shows how wrong it is.
// T3: what another worker gives back is claimed soon, long before its lock would have ended.
func TestWhatIsGivenBackIsClaimedSoon(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon)
		cfg := definitions(now, hourly("a"))
		looked := make(chan struct{}, 1000)
		cfg.OnTick = func(hourbell.TickReport) { looked <- struct{}{} }
		s := synced(t, db.DB, cfg)
		now.Advance(time.Hour)
		st := bound(t, db.DB, now.Now)
		claims, err := st.Claim(t.Context(), hourbell.ClaimRequest{Worker: "other", Limit: 1, LockTTL: 5 * time.Minute, MaxHold: time.Minute})
		require.NoError(t, err)
		require.Len(t, claims.Rows, 1)
		running(t, s)
		<-looked
		require.NoError(t, st.GiveBack(t.Context(), "other", claims.Rows))
		await(t, "the fire", func() bool { return len(runsOf(t, s, "a")) == 1 })
	})
}

func TestAProcessWhoseClockIsWrongFiresOnTimeAndShowsItsSkew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, wrong := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
			restore := hourbell.SetWallClock(func() time.Time { return time.Now().Add(wrong) })
			s := replica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
			earlier := len(runsOf(t, s, "s"))
			stop := running(t, s)
			await(t, "a fire", func() bool { return len(runsOf(t, s, "s")) > earlier })

			workers, err := s.Workers(t.Context())
			require.NoError(t, err)
			require.InDelta(t, wrong.Seconds(), workers[0].ClockSkew.Seconds(), 5)
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 5*time.Hour.Seconds(), health.MaxSkew.Seconds(), 5)
			require.NoError(t, stop())
			restore()

			fired := runsOf(t, s, "s")
			for _, run := range fired[:len(fired)-earlier] {
				require.Less(t, run.QueuedAt.Sub(run.ScheduledFor), 30*time.Second)
				require.False(t, run.QueuedAt.Before(run.ScheduledFor), "%v is before its slot", run.QueuedAt)
			}
			for _, e := range eventsOf(t, s, "s", "SKIPPED") {
				require.Equal(t, "SUPERSEDED", e.Reason, "no slot may look late")
			}
		}
	})
}

// T1: the instant that the claim returns judges what it claimed, and none read earlier or later. A process may be
// stopped for an hour between two lines.
func TestAClaimIsJudgedByItsOwnInstant(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause string
		fired int
	}{
		{"stopped before the claim: late", "before claim", 0},
		{"stopped after the claim: was on time", "after claim", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				cfg := definitions(now, hourly("a"))
				synced(t, db.DB, cfg)
				s := replicaOn(t, &stepped{store.New(db.DB), firstAt(c.pause, func() error {
					now.Advance(30 * time.Minute)
					return nil
				})}, cfg)
				now.Set(noon)
				report := tick(t, s)
				require.Equal(t, c.fired, report.Fired)
				require.Equal(t, 1-c.fired, report.Skipped)
				require.Len(t, runsOf(t, s, "a"), c.fired)
			})
		})
	}
}

// T2: a slot does not fire before the database's clock has reached it, not by a microsecond.
func TestNoSlotFiresEarly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, hourly("a")))
		now.Set(noon.Add(-time.Microsecond))
		require.Zero(t, tick(t, s).Claimed)
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// T2, T3: by the database's own clock, Run enqueues every slot of a second after it has begun and before it is over.
func TestRunFiresEverySecondInThatSecond(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		t.Parallel()
		s := replica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
		running(t, s)
		await(t, "four fires", func() bool { return len(runsOf(t, s, "s")) >= 4 })
		promptly := false
		for _, run := range runsOf(t, s, "s") {
			late := run.QueuedAt.Sub(run.ScheduledFor)
			require.GreaterOrEqual(t, late, time.Duration(0))
			promptly = promptly || late < 500*time.Millisecond
		}
		require.True(t, promptly, "the loop sleeps until the slot: at least one of four fires is close to it")
	})
}

// T3: after a pass the loop knows when the next can find something: at the next slot, at the end of a back-off, at
// the end of a lease, or when a silent holder will be taken for dead.
func TestAPassKnowsWhenTheNextCanFindSomething(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		broken := true
		cfg := definitions(now, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
			if broken {
				return errors.New("broken")
			}
			return nil
		})
		s := synced(t, db.DB, cfg)
		require.Equal(t, noon, tick(t, s).Wake, "the next slot")

		now.Set(noon)
		require.Equal(t, noon.Add(time.Second), tick(t, s).Wake, "the end of a back-off")
		now.Advance(time.Second)
		broken = false
		require.Equal(t, noon.Add(time.Hour), tick(t, s).Wake, "the next slot again")

		now.Set(noon.Add(time.Hour))
		holder := killedHolding(t, db.DB, cfg, "a")
		require.Equal(t, now.Now().Add(5*time.Minute), tick(t, s).Wake, "the end of a lease")
		_, err := bound(t, db.DB, now.Now).Heartbeat(t.Context(), hourbell.Worker{ID: holder, WorkerType: "schedule_daemon"}, 30*time.Second)
		require.NoError(t, err)
		require.WithinDuration(t, now.Now().Add(30*time.Second), tick(t, s).Wake, time.Millisecond, "a holder's third heartbeat missed")

		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{}))
		require.Zero(t, tick(t, s).Wake, "nothing is to come")
	})
}

// pass waits for the loop's next pass.
func pass(t testing.TB, passes <-chan hourbell.TickReport) hourbell.TickReport {
	t.Helper()
	select {
	case report := <-passes:
		return report
	case <-time.After(30 * time.Second):
		t.Fatal("the loop makes no pass")
		return hourbell.TickReport{}
	}
}

// T3: however far the next slot is, the loop looks again after PollInterval: somebody may have enabled a schedule.
func TestRunSleepsNoLongerThanPollInterval(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		yearly := hourly("y")
		yearly.Cron = "@yearly"
		passes := make(chan hourbell.TickReport, 100)
		running(t, replica(t, db.DB, hourbell.Config{
			Definitions: []hourbell.Definition{yearly}, PollInterval: 20 * time.Millisecond,
			OnTick: func(r hourbell.TickReport) {
				select {
				case passes <- r:
				default:
				}
			},
		}))
		for range 5 {
			require.Zero(t, pass(t, passes).Claimed)
		}
	})
}

// T3: while another transaction is at the only row due, the loop looks again ever more seldom, not in a spin.
func TestRunDoesNotSpinOnARowThatSomebodyElseIsAt(t *testing.T) {
	db := dbtest.Postgres(t)
	due := synced(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
	await(t, "a slot is due", func() bool {
		health, err := due.Health(t.Context())
		require.NoError(t, err)
		return !health.At.Before(row(t, due, "s").NextRunAt)
	})
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Exec("SELECT id FROM hourbell_schedules FOR UPDATE").Error)

	passes := make(chan hourbell.TickReport, 100)
	s := replica(t, db.DB, hourbell.Config{
		Definitions: []hourbell.Definition{everySecond("s")},
		OnTick:      func(r hourbell.TickReport) { passes <- r },
	})
	began := time.Now()
	running(t, s)
	for range 6 {
		require.Zero(t, pass(t, passes).Claimed)
	}
	// Between six passes lie five pauses of 10, 20, 40, 80 and 160 ms, each shortened by a quarter at most.
	require.GreaterOrEqual(t, time.Since(began), 310*time.Millisecond*3/4)
	require.NoError(t, other.Rollback().Error)
	await(t, "a fire", func() bool { return len(runsOf(t, s, "s")) > 0 })
}

// T3: a lock is a lease: nobody polls for its end before it comes.
func TestRunDoesNotPollForTheEndOfALease(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		synced(t, db.DB, cfg)
		now.Set(noon)
		killedHolding(t, db.DB, cfg, "a")
		passes := make(chan hourbell.TickReport, 100)
		cfg.OnTick = func(r hourbell.TickReport) { passes <- r }
		stop := running(t, replica(t, db.DB, cfg))
		report := pass(t, passes)
		require.Zero(t, report.Claimed)
		require.Equal(t, noon.Add(5*time.Minute), report.Wake)
		require.NoError(t, stop())
		require.Empty(t, passes, "the loop slept on")
	})
}

// T4: slots follow the clock on the wall of their zone through both changes, and are UTC instants.
func TestSlotsFollowTheirZoneThroughClockChanges(t *testing.T) {
	berlin := func(id, cron string) hourbell.Definition {
		d := hourly(id)
		d.Cron, d.TimeZone = cron, "Europe/Berlin"
		return d
	}
	// 02:00 to 03:00 does not exist on the day in March, and comes twice on the day in October.
	list := []hourbell.Definition{berlin("set", "30 2 * * *"), berlin("day", "0 9 * * *"), berlin("every", "*/30 * * * *")}
	for _, c := range []struct {
		day       time.Time
		set, day9 []string
	}{
		{
			day:  time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC),
			set:  []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
			day9: []string{"2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"},
		},
		{
			day:  time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC),
			set:  []string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
			day9: []string{"2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z", "2026-10-26T08:00:00Z"},
		},
	} {
		t.Run(c.day.Format(time.DateOnly), func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				start := c.day.Add(-25 * time.Hour)
				now := newClock(start)
				s := synced(t, db.DB, definitions(now, list...))
				var every []string
				for range 2 * 61 {
					now.Advance(30 * time.Minute)
					every = append(every, now.Now().Format(time.RFC3339))
					tick(t, s)
				}
				require.Equal(t, c.set, slotsOf(t, s, "set"))
				require.Equal(t, c.day9, slotsOf(t, s, "day"))
				require.Equal(t, every, slotsOf(t, s, "every"))
			})
		})
	}
}

// slotsOf writes out the slots of a schedule that fired, oldest first.
func slotsOf(t testing.TB, s *hourbell.Scheduler, id string) []string {
	t.Helper()
	var list []string
	for _, slot := range slots(runsOf(t, s, id)) {
		list = append([]string{slot.Format(time.RFC3339)}, list...)
	}
	return list
}

// T5: when the clock is stepped back, slots settled are not repeated, and nothing fires until it has passed the next
// slot again. Health says why.
func TestAClockSteppedBackRepeatsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, hourly("a")))
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)

		behind := func() time.Duration {
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			return health.ClockBehind
		}
		require.Zero(t, behind())
		now.Advance(-90 * time.Minute)
		require.Equal(t, 90*time.Minute, behind())
		for now.Now().Before(noon.Add(time.Hour)) {
			require.Zero(t, tick(t, s).Claimed)
			now.Advance(10 * time.Minute)
		}
		require.Zero(t, behind())
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z"}, slotsOf(t, s, "a"))
		require.Empty(t, skipped(t, s, "a"))
	})
}

// T5: after a step back, a lock that lies in the future by more than LockTTL is no lock.
func TestALockFromTheFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon.Add(50 * time.Minute))
		killedHolding(t, db.DB, cfg, "a")
		now.Advance(-5 * time.Minute)
		require.Zero(t, tick(t, s).Claimed, "not further ahead than a lock may be old")
		now.Advance(-time.Microsecond)
		require.Equal(t, 1, tick(t, s).Claimed)
	})
}

// T5: after a step back, a worker whose heartbeat lies in the future by more than it may be silent is dead.
func TestAHeartbeatFromTheFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		s := synced(t, db.DB, cfg)
		now.Set(noon.Add(time.Minute))
		holder := killedHolding(t, db.DB, cfg, "a")
		_, err := bound(t, db.DB, now.Now).Heartbeat(t.Context(), hourbell.Worker{ID: holder, WorkerType: "schedule_daemon"}, 30*time.Second)
		require.NoError(t, err)
		alive := func() int {
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			return health.Workers
		}
		now.Advance(-30 * time.Second)
		require.Equal(t, 1, alive())
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(-time.Microsecond)
		require.Zero(t, alive())
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// T5: after a step back, a back-off that lies in the future by more than the longest is over.
func TestABackOffFromTheFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errors.New("broken") })
		s := synced(t, db.DB, cfg)
		now.Set(noon.Add(time.Minute + 30*time.Second))
		require.Equal(t, 1, tick(t, s).Failed)
		now.Advance(-59 * time.Second) // the back-off of a second ends a minute from now
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(-time.Microsecond)
		require.Equal(t, 1, tick(t, s).Claimed)
	})
}

// T5: a slot that the clock has not reached at the advance, because it was stepped back since the claim, is refused.
// It fires once the clock has reached it again.
func TestASlotAheadOfTheClockAtTheAdvanceIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := definitions(now, hourly("a"))
		synced(t, db.DB, cfg)
		s := replicaOn(t, &stepped{store.New(db.DB), firstAt("before advance", func() error {
			now.Set(noon.Add(-time.Second))
			return nil
		})}, cfg)
		now.Set(noon)
		report := tick(t, s)
		require.Equal(t, 1, report.LockLost)
		require.Zero(t, report.Fired)
		require.Empty(t, runsOf(t, s, "a"))
		require.Equal(t, noon, row(t, s, "a").NextRunAt)
		require.Empty(t, row(t, s, "a").LockedBy)

		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}
