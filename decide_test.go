package hourbell

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

func parsed(t testing.TB, expression, zone string) *calendar {
	t.Helper()
	slots, err := cron.Parse(expression, zone)
	require.NoError(t, err)
	return newCalendar(slots)
}

// on is a time of day of 1 June 2026, UTC.
func on(t testing.TB, clock string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-06-01 "+clock, time.UTC)
	require.NoError(t, err)
	return at
}

// M1, M2, L4: what a claim of an hourly schedule with a grace of two minutes owes.
func TestDecide(t *testing.T) {
	const no = ""
	for _, c := range []struct {
		name             string
		next, owed, at   string // owed "" means that this claim opens the debt
		lapsed           bool
		fires            string // the slot, "" for none
		reason, from, to string
		count            int
		keeps            string // the debt that a failure would leave
	}{
		{name: "on the instant", next: "12:00:00", at: "12:00:00", fires: "12:00:00", keeps: "12:00:00"},
		{name: "at the end of grace", next: "12:00:00", at: "12:02:00", fires: "12:00:00", keeps: "12:02:00"},
		{
			name: "a second past grace", next: "12:00:00", at: "12:02:01",
			reason: skipLate, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "the latest is on time, those before it are late", next: "09:00:00", at: "12:00:01", fires: "12:00:00",
			reason: skipLate, from: "09:00:00", to: "11:00:00", count: 3, keeps: "12:00:01",
		},
		{
			name: "all are late", next: "09:00:00", at: "12:30:00",
			reason: skipLate, from: "09:00:00", to: "12:00:00", count: 4,
		},
		{name: "owed and out of grace", next: "12:00:00", owed: "12:01:00", at: "12:40:00", fires: "12:00:00", keeps: "12:01:00"},
		{
			name: "owed, and a later slot has come", next: "12:00:00", owed: "12:01:00", at: "14:30:00", fires: "14:00:00",
			reason: skipSuperseded, from: "12:00:00", to: "13:00:00", count: 2, keeps: "12:01:00",
		},
		{
			name: "claimed before, but too late even then", next: "12:00:00", owed: "12:30:00", at: "12:40:00",
			reason: skipLate, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "too late when first claimed, then a slot on time", next: "12:00:00", owed: "12:30:00", at: "13:00:30", fires: "13:00:00",
			reason: skipLate, from: "12:00:00", to: "12:00:00", count: 1, keeps: "13:00:30",
		},
		{
			name: "too late when first claimed, and a slot that came while somebody was there is late now", next: "12:00:00", owed: "12:30:00",
			at: "13:40:00", fires: "13:00:00", reason: skipLate, from: "12:00:00", to: "12:00:00", count: 1, keeps: "12:30:00",
		},
		{
			name: "the debt has lapsed", next: "12:00:00", at: "12:40:00", lapsed: true,
			reason: skipLapsed, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "the debt has lapsed, and a later slot is on time", next: "12:00:00", at: "13:00:00", lapsed: true, fires: "13:00:00",
			reason: skipLapsed, from: "12:00:00", to: "12:00:00", count: 1, keeps: "13:00:00",
		},
		{name: "the pointer is no slot of the expression", next: "12:00:30", at: "12:00:40", fires: "12:00:30", keeps: "12:00:40"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim := Claim{NextRunAt: on(t, c.next), At: on(t, c.at), Lapsed: c.lapsed}
			claim.OwedSince = claim.At
			if c.owed != no {
				claim.OwedSince = on(t, c.owed)
			}
			d, err := decide(claim, 2*time.Minute, parsed(t, "0 * * * *", "UTC"))
			require.NoError(t, err)
			require.Equal(t, c.fires != no, d.fire)
			if d.fire {
				require.Equal(t, on(t, c.fires), d.slot)
			}
			if c.reason == no {
				require.Nil(t, d.skipped)
			} else {
				require.Equal(t, &skip{reason: c.reason, from: on(t, c.from), to: on(t, c.to), count: c.count}, d.skipped)
			}
			require.Equal(t, claim.At.Truncate(time.Hour).Add(time.Hour), d.next)
			if c.keeps == no {
				require.Zero(t, d.owed)
			} else {
				require.Equal(t, on(t, c.keeps), d.owed)
			}
		})
	}
}

// M2: of slots that come faster than grace ends, the older are superseded, not late.
func TestDecideSupersedesWhatIsStillInGrace(t *testing.T) {
	claim := Claim{NextRunAt: on(t, "12:00:00"), At: on(t, "12:00:30")}
	claim.OwedSince = claim.At
	d, err := decide(claim, time.Minute, parsed(t, "*/10 * * * * *", "UTC"))
	require.NoError(t, err)
	require.True(t, d.fire)
	require.Equal(t, on(t, "12:00:30"), d.slot)
	require.Equal(t, &skip{reason: skipSuperseded, from: on(t, "12:00:00"), to: on(t, "12:00:20"), count: 3}, d.skipped)
}

// M5: what is settled when a schedule is stopped or moved.
func TestSettle(t *testing.T) {
	hours := parsed(t, "0 * * * *", "UTC")
	for _, c := range []struct{ name, next, at, to string }{
		{"nothing is due yet", "12:00:00", "11:59:59", ""},
		{"due this instant", "12:00:00", "12:00:00", "12:00:00"},
		{"long due", "12:00:00", "15:30:00", "15:00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := settle(Schedule{NextRunAt: on(t, c.next)}, on(t, c.at), skipDisabled, hours)
			require.NoError(t, err)
			if c.to == "" {
				require.Nil(t, got)
				return
			}
			from, to := on(t, c.next), on(t, c.to)
			require.Equal(t, &skip{reason: skipDisabled, from: from, to: to, count: 1 + int(to.Sub(from)/time.Hour)}, got)
		})
	}
	t.Run("not enabled", func(t *testing.T) {
		got, err := settle(Schedule{}, on(t, "12:00:00"), skipDisabled, hours)
		require.NoError(t, err)
		require.Nil(t, got)
	})
}

// M3: up to 1,000 slots are counted, and of more it is said that there are more.
func TestSkippedSlotsAreCountedExactlyUpToAThousand(t *testing.T) {
	minutes := parsed(t, "* * * * *", "UTC")
	from := on(t, "00:00:00")
	for _, c := range []struct {
		slots, count int
		atLeast      bool
	}{{1, 1, false}, {999, 999, false}, {1000, 1000, false}, {1001, 1000, true}, {525_600, 1000, true}} {
		to := from.Add(time.Duration(c.slots-1) * time.Minute)
		got, err := minutes.skip(skipLate, from, to)
		require.NoError(t, err)
		require.Equal(t, &skip{reason: skipLate, from: from, to: to, count: c.count, atLeast: c.atLeast}, got)
	}
}

// The expressions and zones of random claims: often and seldom, every-hour and set-hours, with and without clock changes.
var (
	someExpressions = []string{"* * * * * *", "*/7 * * * * *", "* * * * *", "*/15 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * 1-5", "0 0 1 * *"}
	someZones       = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}
)

// checkDecision compares a decision with that of a walk over every slot due. Its arguments are seconds, but for the
// choice of expression and zone, and are bent to a claim that can be.
func checkDecision(t testing.TB, choice uint8, start, passed, owedAfter, grace uint32, lapsed bool) {
	t.Helper()
	slots := parsed(t, someExpressions[int(choice)%len(someExpressions)], someZones[int(choice/8)%len(someZones)])
	seconds := func(n uint32) time.Duration { return time.Duration(n) * time.Second }

	// A row waits for a slot in 2026, and is claimed some time after it: an hour at most where slots are seconds apart.
	next, err := slots.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(seconds(start % (360 * 86400))))
	require.NoError(t, err)
	second, err := slots.Next(next)
	require.NoError(t, err)
	gap := uint32(second.Sub(next) / time.Second)
	claimable := seconds(1 + grace%(4*gap))
	claim := Claim{
		NextRunAt: next,
		At:        next.Add(seconds(passed % (20 * gap))).Add(time.Duration(passed%3) * 300 * time.Millisecond),
	}
	claim.OwedSince = next.Add(seconds(owedAfter % (20 * gap)))
	if lapsed || claim.OwedSince.After(claim.At) {
		claim.OwedSince = claim.At
	}
	claim.Lapsed = lapsed

	d, err := decide(claim, claimable, slots)
	require.NoError(t, err)

	due, err := slots.slots.Between(next, claim.At.Add(time.Nanosecond))
	require.NoError(t, err)
	latest := due[len(due)-1]
	owes := false
	if claim.OwedSince.Before(claim.At) {
		var then time.Time
		for _, slot := range due {
			if !slot.After(claim.OwedSince) {
				then = slot
			}
		}
		owes = !claim.OwedSince.After(then.Add(claimable))
	}
	inGrace := !claim.At.After(latest.Add(claimable))

	require.Equal(t, latest, d.slot)
	attended := latest.After(claim.OwedSince)
	require.Equal(t, inGrace || owes || attended, d.fire, "in grace %v, owes %v, attended %v", inGrace, owes, attended)
	passedOver := due
	if d.fire {
		passedOver = due[:len(due)-1]
	}
	if len(passedOver) == 0 {
		require.Nil(t, d.skipped)
	} else {
		require.NotNil(t, d.skipped)
		last := passedOver[len(passedOver)-1]
		require.Equal(t, passedOver[0], d.skipped.from)
		require.Equal(t, last, d.skipped.to)
		require.Equal(t, min(len(passedOver), countLimit), d.skipped.count)
		require.Equal(t, len(passedOver) > countLimit, d.skipped.atLeast)
		switch {
		case d.fire && (owes || !claim.At.After(last.Add(claimable))):
			require.Equal(t, skipSuperseded, d.skipped.reason)
		case lapsed:
			require.Equal(t, skipLapsed, d.skipped.reason)
		default:
			require.Equal(t, skipLate, d.skipped.reason)
		}
	}
	require.True(t, d.next.After(claim.At))
	between, err := slots.slots.Between(claim.At.Add(time.Nanosecond), d.next)
	require.NoError(t, err)
	require.Empty(t, between, "slots before the next")

	// A failure keeps a debt exactly where the next attempt would still owe the run.
	require.Equal(t, d.fire, !d.owed.IsZero())

	// Stopped at the same instant, all of it would have been passed over.
	stopped, err := settle(Schedule{NextRunAt: next}, claim.At, skipDisabled, slots)
	require.NoError(t, err)
	require.Equal(t, &skip{reason: skipDisabled, from: next, to: latest, count: min(len(due), countLimit), atLeast: len(due) > countLimit}, stopped)
}

// M1, M2, L4, M5: random claims are decided and settled as by walking over all their slots.
func TestDecisionsAgreeWithAWalkOverEverySlot(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		// Small numbers as often as large ones: most of what is special happens near the slot.
		number := func() uint32 { return r.Uint32() >> r.IntN(32) }
		checkDecision(t, uint8(r.Uint32()), r.Uint32(), number(), number(), number(), r.IntN(4) == 0)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(uint8(0), uint32(0), uint32(0), uint32(0), uint32(0), false)
	f.Add(uint8(13), uint32(87*86400), uint32(3*86400), uint32(90), uint32(120), false)
	f.Add(uint8(4), uint32(7), uint32(50_000), uint32(1), uint32(3600), true)
	f.Fuzz(func(t *testing.T, choice uint8, start, passed, owedAfter, grace uint32, lapsed bool) {
		checkDecision(t, choice, start, passed, owedAfter, grace, lapsed)
	})
}
