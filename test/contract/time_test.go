package contract_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// T1: a process whose clock is five hours wrong fires on time by the database
// clock, and its skew is shown.
func TestProcessWithWrongClockFiresOnTimeAndShowsSkew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, offset := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
			restore := setProcessClock(func() time.Time { return time.Now().Add(offset) })
			s := newReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
			earlier := len(readRuns(t, s, "s"))
			stop := startLoop(t, s)
			await(t, "a fire", func() bool { return len(readRuns(t, s, "s")) > earlier })

			workers, err := s.Workers(t.Context())
			require.NoError(t, err)
			require.InDelta(t, offset.Seconds(), workers[0].ClockSkew.Seconds(), 5)
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 5*time.Hour.Seconds(), health.MaxSkew.Seconds(), 5)
			require.NoError(t, stop())
			restore()

			runs := readRuns(t, s, "s")
			for _, run := range runs[:len(runs)-earlier] {
				require.Less(t, run.QueuedAt.Sub(run.ScheduledFor), 30*time.Second)
				require.False(t, run.QueuedAt.Before(run.ScheduledFor), "%v is before its slot", run.QueuedAt)
			}
			for _, e := range readEvents(t, s, "s", hourbell.EventSkipped) {
				require.Equal(t, hourbell.SkipSuperseded, e.Reason, "no slot may seem late")
			}
		}
	})
}

// T1: the time that the claim returns decides whether a slot is late. No time
// read before or after the claim matters, because the process may be paused for
// an hour between two lines.
func TestTimeOfClaimDecidesWhetherSlotIsLate(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause string
		fired int
	}{
		{"pause before the claim: late", "before claim", 0},
		{"pause after the claim: on time", "after claim", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				cfg := newConfig(now, hourly("a"))
				newSyncedReplica(t, db.DB, cfg)
				s := newPausedReplica(t, db.DB, cfg, c.pause, func() { now.Advance(30 * time.Minute) })
				now.Set(noon)
				report := tick(t, s)
				require.Equal(t, c.fired, report.Fired)
				require.Equal(t, 1-c.fired, report.Skipped)
				require.Len(t, readRuns(t, s, "a"), c.fired)
			})
		})
	}
}

// T2: no slot fires before the database clock has reached it, not even by a
// microsecond.
func TestSlotNeverFiresEarly(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(now, hourly("a")))
		now.Set(noon.Add(-time.Microsecond))
		require.Zero(t, tick(t, s).Claimed)
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// T2, T3: on the database clock, Run enqueues each slot of a schedule that is
// due every second at or after the slot, and promptly.
func TestRunFiresEverySecondOnTime(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		t.Parallel()
		s := newReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
		startLoop(t, s)
		await(t, "four fires", func() bool { return len(readRuns(t, s, "s")) >= 4 })
		prompt := false
		for _, run := range readRuns(t, s, "s") {
			delay := run.QueuedAt.Sub(run.ScheduledFor)
			require.GreaterOrEqual(t, delay, time.Duration(0))
			prompt = prompt || delay < 500*time.Millisecond
		}
		require.True(t, prompt, "at least one of four fires is prompt, because the loop sleeps until the slot")
	})
}

// T3: a tick reports when the next tick can find work: at the next slot, the
// end of a backoff, the end of a lock, or the death of the worker that holds
// it.
func TestTickReportsWhenNextTickCanFindWork(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		broken := true
		cfg := newConfig(now, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
			if broken {
				return errors.New("broken")
			}
			return nil
		})
		s := newSyncedReplica(t, db.DB, cfg)
		require.Equal(t, noon, tick(t, s).WakeAt, "the next slot")

		now.Set(noon)
		require.Equal(t, noon.Add(time.Second), tick(t, s).WakeAt, "the end of the backoff")
		now.Advance(time.Second)
		broken = false
		require.Equal(t, noon.Add(time.Hour), tick(t, s).WakeAt, "the next slot, after the fire")

		now.Set(noon.Add(time.Hour))
		holder := claimAndKill(t, db.DB, cfg, "a")
		require.Equal(t, now.Now().Add(5*time.Minute), tick(t, s).WakeAt, "the end of the lock")
		heartbeatAs(t, bindStore(t, db.DB, now.Now), holder)
		require.WithinDuration(t, now.Now().Add(30*time.Second), tick(t, s).WakeAt, time.Millisecond, "the holder's third missed heartbeat")

		require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{}))
		require.Zero(t, tick(t, s).WakeAt, "no schedule is enabled")
	})
}

// T3: however far the next slot is, the loop ticks after PollInterval, because
// a schedule may have been enabled.
func TestRunSleepsAtMostPollInterval(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		yearly := hourly("y")
		yearly.Cron = "@yearly"
		reports := make(chan hourbell.TickReport, 100)
		startLoop(t, newReplica(t, db.DB, hourbell.Config{
			Definitions: []hourbell.Definition{yearly}, PollInterval: 20 * time.Millisecond,
			OnTick: func(r hourbell.TickReport) {
				select {
				case reports <- r:
				default:
				}
			},
		}))
		for range 5 {
			require.Zero(t, awaitTick(t, reports).Claimed)
		}
	})
}

// T3: while another transaction locks the only due row, the pauses between
// ticks grow.
func TestRunBacksOffWhileDueRowIsLocked(t *testing.T) {
	db := dbtest.Postgres(t)
	observer := newSyncedReplica(t, db.DB, hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}})
	await(t, "a slot is due", func() bool {
		health, err := observer.Health(t.Context())
		require.NoError(t, err)
		return !health.At.Before(readSchedule(t, observer, "s").NextRunAt)
	})
	other := db.Begin()
	defer other.Rollback()
	require.NoError(t, other.Exec("SELECT id FROM hourbell_schedules FOR UPDATE").Error)

	reports := make(chan hourbell.TickReport, 100)
	s := newReplica(t, db.DB, hourbell.Config{
		Definitions: []hourbell.Definition{everySecond("s")},
		OnTick:      func(r hourbell.TickReport) { reports <- r },
	})
	start := time.Now()
	startLoop(t, s)
	for range 6 {
		require.Zero(t, awaitTick(t, reports).Claimed)
	}
	// Between six ticks there are pauses of 10, 20, 40, 80 and 160 ms. Jitter
	// shortens each by at most a quarter.
	require.GreaterOrEqual(t, time.Since(start), 310*time.Millisecond*3/4)
	require.NoError(t, other.Rollback().Error)
	await(t, "a fire", func() bool { return len(readRuns(t, s, "s")) > 0 })
}

// T3: the loop sleeps until a lock expires; it does not poll for it.
func TestRunSleepsUntilLockExpires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		newSyncedReplica(t, db.DB, cfg)
		now.Set(noon)
		claimAndKill(t, db.DB, cfg, "a")
		reports := make(chan hourbell.TickReport, 100)
		cfg.OnTick = func(r hourbell.TickReport) { reports <- r }
		stop := startLoop(t, newReplica(t, db.DB, cfg))
		report := awaitTick(t, reports)
		require.Zero(t, report.Claimed)
		require.Equal(t, noon.Add(5*time.Minute), report.WakeAt)
		require.NoError(t, stop())
		require.Empty(t, reports, "the loop ticked again")
	})
}

// T3: a schedule that another worker releases is claimed soon, long before its
// lock would have expired.
func TestReleasedScheduleIsClaimedSoon(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon)
		cfg := newConfig(now, hourly("a"))
		reports := make(chan hourbell.TickReport, 1000)
		cfg.OnTick = func(r hourbell.TickReport) { reports <- r }
		s := newSyncedReplica(t, db.DB, cfg)
		now.Advance(time.Hour)
		st := bindStore(t, db.DB, now.Now)
		claims := claimAs(t, st, "other", 1)
		require.Len(t, claims, 1)
		startLoop(t, s)
		awaitTick(t, reports)
		require.NoError(t, st.Release(t.Context(), "other", claims))
		await(t, "the fire", func() bool { return len(readRuns(t, s, "a")) == 1 })
	})
}

// T3: the loop uses each connection that a slot needs once, shortly before the
// slot. A connection that was idle for long or is broken then delays no fire.
func TestRunUsesConnectionsBeforeSlot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ schedules, connections int }{"one batch": {3, 1}, "two batches": {150, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Postgres(t)
			fire := slices.Repeat([]string{"before fire-on-time"}, c.connections)
			want := slices.Concat(fire, slices.Repeat([]string{"after now"}, c.connections), fire)
			var mu sync.Mutex
			var last []string
			var seen atomic.Bool
			var cfg hourbell.Config
			for i := range c.schedules {
				cfg.Definitions = append(cfg.Definitions, everySecond(fmt.Sprintf("s%03d", i)))
			}
			startLoop(t, newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(step string) error {
				mu.Lock()
				defer mu.Unlock()
				if step == fire[0] || step == "after now" {
					last = append(last, step)
					last = last[max(len(last)-len(want), 0):]
					seen.Store(seen.Load() || slices.Equal(last, want))
				}
				return nil
			}}, cfg))
			await(t, strings.Join(want, ", "), seen.Load)
		})
	}
}

// T3: a slot does not wait for a connection that hangs, and the loop uses no
// further connections before slots until that call has ended.
func TestSlotDoesNotWaitForHangingConnection(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := hourbell.Config{Definitions: []hourbell.Definition{everySecond("s")}}
		observer := newSyncedReplica(t, db.DB, cfg) // so that the loop's own sync does not call Now
		var calls atomic.Int32
		release := make(chan struct{})
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before now" {
				calls.Add(1)
				<-release
			}
			return nil
		}}, cfg)
		stop := startLoop(t, s)
		releaseCalls := sync.OnceFunc(func() { close(release) })
		t.Cleanup(releaseCalls)
		await(t, "a call hangs", func() bool { return calls.Load() == 1 })
		awaitNextFire(t, observer)
		awaitNextFire(t, observer)
		require.EqualValues(t, 1, calls.Load())
		releaseCalls()
		await(t, "the next call", func() bool { return calls.Load() > 1 })
		require.NoError(t, stop())
	})
}

// T4: slots follow local time in their zone through both clock changes, and
// are stored in UTC.
func TestSlotsFollowZoneThroughClockChanges(t *testing.T) {
	inBerlin := func(id, cron string) hourbell.Definition {
		d := hourly(id)
		d.Cron, d.TimeZone = cron, "Europe/Berlin"
		return d
	}
	// The hour from 02:00 is in a gap on the day in March, and in an overlap on
	// the day in October.
	list := []hourbell.Definition{inBerlin("night", "30 2 * * *"), inBerlin("morning", "0 9 * * *"), inBerlin("half-hourly", "*/30 * * * *")}
	for _, c := range []struct {
		day            time.Time
		night, morning []string
	}{
		{
			day:     time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC),
			night:   []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
			morning: []string{"2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z"},
		},
		{
			day:     time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC),
			night:   []string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
			morning: []string{"2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z", "2026-10-26T08:00:00Z"},
		},
	} {
		t.Run(c.day.Format(time.DateOnly), func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				now := newClock(c.day.Add(-25 * time.Hour))
				s := newSyncedReplica(t, db.DB, newConfig(now, list...))
				var halfHours []string
				for range 2 * 61 {
					now.Advance(30 * time.Minute)
					halfHours = append(halfHours, now.Now().Format(time.RFC3339))
					tick(t, s)
				}
				require.Equal(t, c.night, firedSlotTexts(t, s, "night"))
				require.Equal(t, c.morning, firedSlotTexts(t, s, "morning"))
				require.Equal(t, halfHours, firedSlotTexts(t, s, "half-hourly"))
			})
		})
	}
}

// T4, M2: a loop that runs across the clock changes of many zones fires a
// half-hourly schedule every half-hour and a daily one once a day. A daily slot
// keeps its local time where the day has that time. Nothing is skipped.
func TestRunFiresAcrossClockChangesOfManyZones(t *testing.T) {
	allZones := []string{
		"Europe/Berlin", "America/New_York", "America/Havana", // by one hour, at 02:00 or at midnight
		"Africa/Cairo", "Australia/Lord_Howe", // at midnight; by half an hour
		"Antarctica/Troll", // by two hours
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		zones := allZones
		if testing.Short() || db.Dialect == "sqlite" { // zones do not depend on the database
			zones = zones[4:5]
		}
		for _, name := range zones {
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			changes := clockChanges(zone, 2026)
			require.Len(t, changes, 2, name)
			for _, change := range changes {
				clearTables(t, db)
				runAcrossClockChange(t, db, zone, change)
			}
		}
	})
}

// clockChanges returns the times at which the UTC offset of a zone changes.
func clockChanges(zone *time.Location, year int) (changes []time.Time) {
	offset := func(at time.Time) int { _, o := at.In(zone).Zone(); return o }
	at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; at.Year() == year; at = at.Add(30 * time.Minute) {
		if offset(at) != offset(at.Add(-30*time.Minute)) {
			changes = append(changes, at)
		}
	}
	return changes
}

func runAcrossClockChange(t *testing.T, db *dbtest.DB, zone *time.Location, change time.Time) {
	t.Helper()
	margin := 26 * time.Hour
	if testing.Short() {
		margin /= 2
	}
	start, end := change.Add(-margin-time.Minute), change.Add(margin)
	now := newClock(start)
	inZone := func(id, cron string) hourbell.Definition {
		d := hourly(id)
		d.Cron, d.TimeZone = cron, zone.String()
		return d
	}
	list := []hourbell.Definition{
		inZone("half-hourly", "*/30 * * * *"), inZone("night", "30 2 * * *"),
		inZone("midnight", "0 0 * * *"), inZone("morning", "0 9 * * *"),
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cfg := newConfig(now, list...)
	cfg.OnTick = func(hourbell.TickReport) {
		if now.Set(now.Now().Truncate(30 * time.Minute).Add(30 * time.Minute)); now.Now().After(end) {
			stop()
		}
	}
	s := newReplica(t, db.DB, cfg)
	require.NoError(t, s.Run(ctx))
	require.Len(t, firedSlots(readRuns(t, s, "half-hourly")), 1+int(2*margin/(30*time.Minute)), "%v: every half-hour", zone)
	for _, d := range list {
		require.Empty(t, readEvents(t, s, d.ID, hourbell.EventSkipped))
		requireLedger(t, s, d, start, end)
		fires := firedSlots(readRuns(t, s, d.ID)) // newest first
		for i := 1; d.ID != "half-hourly" && i < len(fires); i++ {
			require.Equal(t, 24*time.Hour, localDate(fires[i-1].In(zone)).Sub(localDate(fires[i].In(zone))), "%v, %s: once a day", zone, d.ID)
		}
		for _, slot := range fires {
			require.True(t, d.ID != "morning" || slot.In(zone).Format(time.TimeOnly) == "09:00:00", "%v", slot.In(zone))
		}
	}
}

// localDate returns the date of t as midnight UTC, so that dates can be
// subtracted.
func localDate(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// T5: after the clock was stepped back, settled slots are not repeated. The
// schedule fires again once the clock has passed its next slot; until then
// health shows how far the clock is behind.
func TestClockSteppedBackRepeatsNoSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(now, hourly("a")))
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)

		clockBehind := func() time.Duration {
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			return health.ClockBehind
		}
		require.Zero(t, clockBehind())
		now.Advance(-90 * time.Minute)
		require.Equal(t, 90*time.Minute, clockBehind())
		for now.Now().Before(noon.Add(time.Hour)) {
			require.Zero(t, tick(t, s).Claimed)
			now.Advance(10 * time.Minute)
		}
		require.Zero(t, clockBehind())
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []string{"2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z"}, firedSlotTexts(t, s, "a"))
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// T5, M1: a clock that is stepped hours ahead skips the slots in between. Once
// it is set right, none of them is repeated, and the next slot fires.
func TestClockSteppedAheadAndSetRightRepeatsNoSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(now, hourly("a")))
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)

		now.Set(noon.Add(5*time.Hour + 30*time.Minute))
		require.Zero(t, tick(t, s).Fired)
		require.Equal(t, []string{"LATE 13:00:00-17:00:00 5"}, skipTexts(t, s, "a"))
		now.Set(noon.Add(10 * time.Minute))
		for now.Now().Before(noon.Add(6 * time.Hour)) {
			require.Zero(t, tick(t, s).Claimed)
			now.Advance(10 * time.Minute)
		}
		require.Equal(t, 1, tick(t, s).Fired)
		requireLedger(t, s, hourly("a"), noon.Add(-time.Minute), now.Now())
	})
}

// T5: after a step back, a lock further in the future than LockTTL is expired.
func TestLockFromFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(50 * time.Minute))
		claimAndKill(t, db.DB, cfg, "a")
		now.Advance(-5 * time.Minute)
		require.Zero(t, tick(t, s).Claimed, "LockTTL ahead is not expired")
		now.Advance(-time.Microsecond)
		require.Equal(t, 1, tick(t, s).Claimed)
	})
}

// T5: after a step back, a worker whose heartbeat is further in the future than
// 30 s is dead.
func TestHeartbeatFromFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(time.Minute))
		holder := claimAndKill(t, db.DB, cfg, "a")
		heartbeatAs(t, bindStore(t, db.DB, now.Now), holder)
		activeWorkers := func() int {
			health, err := s.Health(t.Context())
			require.NoError(t, err)
			return health.Workers
		}
		now.Advance(-30 * time.Second)
		require.Equal(t, 1, activeWorkers())
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(-time.Microsecond)
		require.Zero(t, activeWorkers())
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// T5: after a step back, a backoff that ends further in the future than the
// longest backoff is over.
func TestBackoffFromFutureIsExpired(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return errors.New("broken") })
		s := newSyncedReplica(t, db.DB, cfg)
		now.Set(noon.Add(time.Minute + 30*time.Second))
		require.Equal(t, 1, tick(t, s).Failed)
		now.Advance(-59 * time.Second) // the backoff of one second then ends in a minute
		require.Zero(t, tick(t, s).Claimed)
		now.Advance(-time.Microsecond)
		require.Equal(t, 1, tick(t, s).Claimed)
	})
}

// T5: if the clock was stepped back since the claim, the advance refuses a slot
// that is now in the future. It fires once the clock has reached it again.
func TestAdvanceRefusesSlotInFuture(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		cfg := newConfig(now, hourly("a"))
		newSyncedReplica(t, db.DB, cfg)
		s := newPausedReplica(t, db.DB, cfg, "before advance", func() { now.Set(noon.Add(-time.Second)) })
		now.Set(noon)
		report := tick(t, s)
		require.Equal(t, 1, report.LockLost)
		require.Zero(t, report.Fired)
		require.Empty(t, readRuns(t, s, "a"))
		require.Equal(t, noon, readSchedule(t, s, "a").NextRunAt)
		require.Empty(t, readSchedule(t, s, "a").LockedBy)

		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// T1, T5, L3, M1: between two steps of a tick the host is suspended for up to
// hours, or its clock is stepped back, and no other replica takes over. At each
// step of both paths, every slot still fires once or lies in one skip, none
// fires early, and no lock or unfinished claim remains.
func TestClockJumpDuringTickLosesAndRepeatsNoSlot(t *testing.T) {
	claimSteps := []string{
		"before claim", "after claim", "before begin", "before advance", "after advance", "before insert-events", "after insert-runs",
		"before commit", "after commit",
	}
	fastPathSteps := []string{"before fire-on-time", "after fire-on-time"}
	jumps := []time.Duration{5*time.Hour + 30*time.Second, 90 * time.Second, -90 * time.Second, -5 * time.Hour}
	if testing.Short() {
		claimSteps = []string{"after claim", "before advance", "before commit"}
		jumps = []time.Duration{5*time.Hour + 30*time.Second, -90 * time.Second}
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, jump := range jumps {
			for _, step := range claimSteps {
				if jump < 0 && (step == "after advance" || step == "before insert-events") {
					continue // the advance checked the clock before, but the run would show an earlier time
				}
				testClockJump(t, db, step, jump, noopEnqueuer)
			}
			for _, step := range fastPathSteps {
				if db.Dialect == "sqlite" {
					continue // SQLite has no fast path
				}
				testClockJump(t, db, step, jump, nil)
			}
		}
	})
}

// testClockJump advances the clock by jump when the tick of noon reaches step.
func testClockJump(t *testing.T, db *dbtest.DB, step string, jump time.Duration, enqueuer hourbell.Enqueuer) {
	t.Helper()
	clearTables(t, db)
	start := noon.Add(-150 * time.Second)
	now := newClock(start)
	list := []hourbell.Definition{hourly("hour"), minutely("minute")}
	cfg := newConfig(now, list...)
	cfg.Enqueuer = enqueuer
	armed, jumped := false, false
	s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), func(reached string) error {
		if armed && reached == step {
			armed, jumped = false, true
			now.Advance(jump)
		}
		return nil
	}}, cfg)
	require.NoError(t, s.Sync(t.Context()))
	tick(t, s)
	if enqueuer != nil {
		now.Set(noon.Add(time.Second)) // two earlier slots of "minute" are skipped
	} else {
		now.Set(noon.Add(-time.Minute))
		tick(t, s) // so that all slots are on time at noon
		now.Set(noon)
	}
	armed = true
	tick(t, s)
	require.True(t, jumped, "%s is reached", step)

	for end := noon.Add(2 * time.Hour); now.Now().Before(end); now.Advance(11 * time.Minute) {
		tick(t, s)
	}
	tick(t, s)
	for _, d := range list {
		requireLedger(t, s, d, start, now.Now())
		require.Empty(t, readSchedule(t, s, d.ID).LockedBy)
		require.Zero(t, readSchedule(t, s, d.ID).UnfinishedSince)
	}
}
