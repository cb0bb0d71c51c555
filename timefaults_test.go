package hourbell_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// T5, M1: a clock that is stepped hours ahead skips what it passes over, and once it is set right nothing of that is repeated: what was
// settled stays settled, and the next slot after it fires.
func TestAClockSteppedForwardAndSetRightRepeatsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(noon.Add(-time.Minute))
		s := synced(t, db.DB, definitions(now, hourly("a")))
		now.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)

		now.Set(noon.Add(5*time.Hour + 30*time.Minute))
		require.Equal(t, []int{0, 5}, []int{tick(t, s).Fired, len(slotsSkipped(t, s, "a"))})
		now.Set(noon.Add(10 * time.Minute))
		for now.Now().Before(noon.Add(6 * time.Hour)) {
			require.Zero(t, tick(t, s).Claimed)
			now.Advance(10 * time.Minute)
		}
		require.Equal(t, 1, tick(t, s).Fired)
		account(t, s, hourly("a"), noon.Add(-time.Minute), now.Now())
	})
}

// slotsSkipped lists the slots of a schedule that are in a skip.
func slotsSkipped(t testing.TB, s *hourbell.Scheduler, id string) (list []time.Time) {
	t.Helper()
	for _, e := range eventsOf(t, s, id, "SKIPPED") {
		slots, err := hourly(id).Between(e.SlotFrom, e.SlotTo.Add(time.Second))
		require.NoError(t, err)
		list = append(list, slots...)
	}
	return list
}

// T1, T5, L3, M1: the whole host is suspended for hours between two lines of a pass, so that nobody takes over, or its clock is
// stepped back there. On either road, whichever lines these are, every slot fires once or is in one skip, none fires early, and
// nothing is left over.
func TestAClockThatJumpsAtAnyStepOfAPassLosesAndRepeatsNothing(t *testing.T) {
	steps := map[bool][]string{
		true: {
			"before claim", "after claim", "before begin", "before advance", "after advance", "before insert-events", "after insert-runs",
			"before commit", "after commit",
		},
		false: {"before fire-on-time", "after fire-on-time"},
	}
	by := []time.Duration{5*time.Hour + 30*time.Second, 90 * time.Second, -90 * time.Second, -5 * time.Hour}
	if testing.Short() {
		steps[true] = []string{"after claim", "before advance", "before commit"}
		by = []time.Duration{5*time.Hour + 30*time.Second, -90 * time.Second}
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, claims := range []bool{true, false} {
			if !claims && db.Dialect == "sqlite" {
				continue // there is no second road there
			}
			for _, step := range steps[claims] {
				for _, jump := range by {
					if jump < 0 && (step == "after advance" || step == "before insert-events") {
						continue // the slot had come at the advance, which is what counts; its run would say an earlier instant
					}
					wiped(t, db)
					jumps(t, db, step, claims, jump)
				}
			}
		}
	})
}

func jumps(t *testing.T, db *dbtest.DB, step string, claims bool, jump time.Duration) {
	t.Helper()
	start := noon.Add(-150 * time.Second)
	now := newClock(start)
	list := []hourbell.Definition{hourly("hour"), minutely("minute")}
	cfg := definitions(now, list...)
	if claims {
		cfg.Enqueuer = idle
	}
	armed, jumped := false, false
	s := replicaOn(t, &stepped{store.New(db.DB), func(reached string) error {
		if armed && reached == step {
			armed, jumped = false, true
			now.Advance(jump)
		}
		return nil
	}}, cfg)
	require.NoError(t, s.Sync(t.Context()))
	tick(t, s)
	if claims {
		now.Set(noon.Add(time.Second)) // two slots of the minute before are passed over
	} else {
		now.Set(noon.Add(-time.Minute))
		tick(t, s) // and so everything is on time at noon
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
		account(t, s, d, start, now.Now())
		require.Empty(t, row(t, s, d.ID).LockedBy)
		require.Zero(t, row(t, s, d.ID).OwedSince)
	}
}

// T4, M2: a loop that runs across the changes of the clocks of many zones, into daylight saving and out of it, fires what is due each
// half-hour each half-hour, and what is due once a day once a day, at its hour on the wall where the day has it, and skips nothing.
func TestALoopRunsAcrossTheClockChangesOfManyZones(t *testing.T) {
	zones := []string{
		"Europe/Berlin", "America/New_York", "America/Havana", // by an hour: at two o'clock, and at midnight
		"Africa/Cairo", "Australia/Lord_Howe", // at midnight; by half an hour
		"Antarctica/Troll", // by two hours
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		zones := zones
		if testing.Short() || db.Dialect == "sqlite" { // the zones are not the database's affair
			zones = zones[4:5]
		}
		for _, name := range zones {
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			changes := changesOf(zone, 2026)
			require.Len(t, changes, 2, name)
			for _, change := range changes {
				wiped(t, db)
				runAcross(t, db, zone, change)
			}
		}
	})
}

// changesOf lists the instants of a year at which a zone's clocks change.
func changesOf(zone *time.Location, year int) (list []time.Time) {
	offset := func(at time.Time) int { _, o := at.In(zone).Zone(); return o }
	at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; at.Year() == year; at = at.Add(30 * time.Minute) {
		if offset(at) != offset(at.Add(-30*time.Minute)) {
			list = append(list, at)
		}
	}
	return list
}

func runAcross(t *testing.T, db *dbtest.DB, zone *time.Location, change time.Time) {
	t.Helper()
	around := 26 * time.Hour
	if testing.Short() {
		around /= 2
	}
	start, end := change.Add(-around-time.Minute), change.Add(around)
	now := newClock(start)
	in := func(id, cron string) hourbell.Definition {
		d := hourly(id)
		d.Cron, d.TimeZone = cron, zone.String()
		return d
	}
	list := []hourbell.Definition{in("often", "*/30 * * * *"), in("night", "30 2 * * *"), in("midnight", "0 0 * * *"), in("morning", "0 9 * * *")}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cfg := definitions(now, list...)
	cfg.OnTick = func(hourbell.TickReport) {
		if now.Set(now.Now().Truncate(30 * time.Minute).Add(30 * time.Minute)); now.Now().After(end) {
			stop()
		}
	}
	s := replica(t, db.DB, cfg)
	require.NoError(t, s.Run(ctx))
	require.Len(t, slots(runsOf(t, s, "often")), 1+int(2*around/(30*time.Minute)), "%v: each half-hour from end to end", zone)
	for _, d := range list {
		require.Empty(t, eventsOf(t, s, d.ID, "SKIPPED"))
		account(t, s, d, start, end)
		fires := slots(runsOf(t, s, d.ID)) // newest first
		for i := 1; d.ID != "often" && i < len(fires); i++ {
			require.Equal(t, 24*time.Hour, dayOf(fires[i-1].In(zone)).Sub(dayOf(fires[i].In(zone))), "%v, %s: once a day", zone, d.ID)
		}
		for _, slot := range fires {
			require.True(t, d.ID != "morning" || slot.In(zone).Format(time.TimeOnly) == "09:00:00", "%v", slot.In(zone))
		}
	}
}

// dayOf is the date on the wall, as an instant to count days by.
func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}
