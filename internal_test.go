package hourbell

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/storage"
)

// SendHeartbeat and SweepOnce let heartbeat_test.go run one step of what a
// worker does every ten seconds and every hour.
func SendHeartbeat(ctx context.Context, s *Scheduler) error { return s.heartbeat(ctx) }

// SweepOnce deletes the rows that are past their retention.
func SweepOnce(ctx context.Context, s *Scheduler) (int64, error) {
	result, err := s.sweep(ctx)
	return result.Deleted, err
}

func calendarFor(t testing.TB, expression, zone string) *calendar {
	t.Helper()
	s := &Scheduler{catalog: &catalog{}}
	slots, err := s.newCalendars().get(expression, zone)
	require.NoError(t, err)
	return slots
}

// june1 returns a time of day on June 1, 2026, UTC.
func june1(t testing.TB, clock string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-06-01 "+clock, time.UTC)
	require.NoError(t, err)
	return at
}

// M1, M2, L4: what a claim of an hourly schedule with two minutes of grace
// fires and skips.
func TestDecide(t *testing.T) {
	const none = ""
	for _, c := range []struct {
		name                  string
		next, unfinished, at  string // unfinished is empty if this claim opens the unfinished claim
		abandoned             bool
		fires                 string // the slot that fires
		reason                SkipReason
		from, to              string
		count                 int
		unfinishedAfterFailed string // the start that a failure would record; empty if it would record none
	}{
		{name: "exactly at the slot", next: "12:00:00", at: "12:00:00", fires: "12:00:00", unfinishedAfterFailed: "12:00:00"},
		{name: "at the end of grace", next: "12:00:00", at: "12:02:00", fires: "12:00:00", unfinishedAfterFailed: "12:02:00"},
		{
			name: "one second out of grace", next: "12:00:00", at: "12:02:01",
			reason: SkipLate, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "latest slot on time, earlier slots late", next: "09:00:00", at: "12:00:01", fires: "12:00:00",
			reason: SkipLate, from: "09:00:00", to: "11:00:00", count: 3, unfinishedAfterFailed: "12:00:01",
		},
		{
			name: "all slots late", next: "09:00:00", at: "12:30:00",
			reason: SkipLate, from: "09:00:00", to: "12:00:00", count: 4,
		},
		{
			name: "unfinished claim, out of grace", next: "12:00:00", unfinished: "12:01:00", at: "12:40:00",
			fires: "12:00:00", unfinishedAfterFailed: "12:01:00",
		},
		{
			name: "unfinished claim, later slots due", next: "12:00:00", unfinished: "12:01:00", at: "14:30:00", fires: "14:00:00",
			reason: SkipSuperseded, from: "12:00:00", to: "13:00:00", count: 2, unfinishedAfterFailed: "12:01:00",
		},
		{
			name: "first claim was out of grace", next: "12:00:00", unfinished: "12:30:00", at: "12:40:00",
			reason: SkipLate, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "first claim was out of grace, later slot on time", next: "12:00:00", unfinished: "12:30:00", at: "13:00:30", fires: "13:00:00",
			reason: SkipLate, from: "12:00:00", to: "12:00:00", count: 1, unfinishedAfterFailed: "13:00:30",
		},
		{
			name: "first claim was out of grace, later slot due since and late", next: "12:00:00", unfinished: "12:30:00", at: "13:40:00",
			fires: "13:00:00", reason: SkipLate, from: "12:00:00", to: "12:00:00", count: 1, unfinishedAfterFailed: "12:30:00",
		},
		{
			name: "unfinished claim was abandoned", next: "12:00:00", at: "12:40:00", abandoned: true,
			reason: SkipAbandoned, from: "12:00:00", to: "12:00:00", count: 1,
		},
		{
			name: "unfinished claim was abandoned, later slot on time", next: "12:00:00", at: "13:00:00", abandoned: true, fires: "13:00:00",
			reason: SkipAbandoned, from: "12:00:00", to: "12:00:00", count: 1, unfinishedAfterFailed: "13:00:00",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim := storage.Claim{NextRunAt: june1(t, c.next), At: june1(t, c.at), Abandoned: c.abandoned}
			claim.UnfinishedSince = claim.At
			if c.unfinished != none {
				claim.UnfinishedSince = june1(t, c.unfinished)
			}
			d, err := decide(claim, 2*time.Minute, calendarFor(t, "0 * * * *", "UTC"))
			require.NoError(t, err)
			require.Equal(t, c.fires != none, d.fire)
			if d.fire {
				require.Equal(t, june1(t, c.fires), d.slot)
			}
			if c.reason == none {
				require.Nil(t, d.skipped)
			} else {
				require.Equal(t, &skip{reason: c.reason, from: june1(t, c.from), to: june1(t, c.to), count: c.count}, d.skipped)
			}
			require.Equal(t, claim.At.Truncate(time.Hour).Add(time.Hour), d.next)
			if c.unfinishedAfterFailed == none {
				require.Zero(t, d.unfinishedSince)
			} else {
				require.Equal(t, june1(t, c.unfinishedAfterFailed), d.unfinishedSince)
			}
		})
	}
}

// M2: earlier slots that are still within grace are superseded, not late.
func TestDecideSupersedesSlotsWithinGrace(t *testing.T) {
	claim := storage.Claim{NextRunAt: june1(t, "12:00:00"), At: june1(t, "12:00:30")}
	claim.UnfinishedSince = claim.At
	d, err := decide(claim, time.Minute, calendarFor(t, "*/10 * * * * *", "UTC"))
	require.NoError(t, err)
	require.True(t, d.fire)
	require.Equal(t, june1(t, "12:00:30"), d.slot)
	require.Equal(t, &skip{reason: SkipSuperseded, from: june1(t, "12:00:00"), to: june1(t, "12:00:20"), count: 3}, d.skipped)
}

// M2: a next run that is not an unsettled slot fires nothing, and the slots
// since the last settled one are recorded.
func TestDecideFiresOnlySlots(t *testing.T) {
	hours := calendarFor(t, "0 * * * *", "UTC")
	for _, c := range []struct {
		name, settled, next, at string
		from, to, continues     string
		count                   int
		detail                  string
	}{
		{
			name: "no slot since the last settled one", settled: "12:00:00", next: "12:10:00", at: "12:10:01",
			from: "12:10:00", to: "12:10:00", continues: "13:00:00",
			detail: "next run 2026-06-01T12:10:00Z was not a slot; no slot was due",
		},
		{
			name: "slots since the last settled one", settled: "09:00:00", next: "12:10:00", at: "12:10:01",
			from: "10:00:00", to: "12:00:00", continues: "13:00:00", count: 3,
			detail: "next run 2026-06-01T12:10:00Z was not a slot",
		},
		{
			name: "slots after the wrong next run", settled: "12:00:00", next: "12:10:00", at: "14:30:00",
			from: "13:00:00", to: "14:00:00", continues: "15:00:00", count: 2,
			detail: "next run 2026-06-01T12:10:00Z was not a slot",
		},
		{
			name: "next run is settled", settled: "12:00:00", next: "11:00:00", at: "12:00:30",
			from: "11:00:00", to: "11:00:00", continues: "13:00:00",
			detail: "next run 2026-06-01T11:00:00Z was not a slot; no slot was due",
		},
		{
			name: "settled ahead of the clock", settled: "14:00:00", next: "11:30:00", at: "12:00:30",
			from: "11:30:00", to: "11:30:00", continues: "15:00:00",
			detail: "next run 2026-06-01T11:30:00Z was not a slot; no slot was due",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim := storage.Claim{SettledThrough: june1(t, c.settled), NextRunAt: june1(t, c.next), At: june1(t, c.at)}
			claim.UnfinishedSince = claim.At
			d, err := decide(claim, 2*time.Minute, hours)
			require.NoError(t, err)
			require.False(t, d.fire)
			require.Equal(t, &skip{
				reason: SkipNotASlot, from: june1(t, c.from), to: june1(t, c.to), count: c.count, detail: c.detail,
			}, d.skipped)
			require.Equal(t, june1(t, c.continues), d.next)
			require.False(t, d.slot.After(claim.At))
		})
	}
	t.Run("manual schedule", func(t *testing.T) {
		d, err := decide(storage.Claim{NextRunAt: june1(t, "12:00:00"), At: june1(t, "12:00:00")}, time.Minute, calendarFor(t, "", "UTC"))
		require.NoError(t, err)
		require.False(t, d.fire)
		require.Zero(t, d.next)
	})
}

// M5: what is recorded when a schedule is stopped or moved.
func TestSettle(t *testing.T) {
	hours := calendarFor(t, "0 * * * *", "UTC")
	for _, c := range []struct{ name, next, at, to string }{
		{"nothing due", "12:00:00", "11:59:59", ""},
		{"due now", "12:00:00", "12:00:00", "12:00:00"},
		{"due for hours", "12:00:00", "15:30:00", "15:00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := unsettledSlots(june1(t, c.next), june1(t, c.at), SkipDisabled, hours)
			require.NoError(t, err)
			if c.to == "" {
				require.Nil(t, got)
				return
			}
			from, to := june1(t, c.next), june1(t, c.to)
			require.Equal(t, &skip{reason: SkipDisabled, from: from, to: to, count: 1 + int(to.Sub(from)/time.Hour)}, got)
		})
	}
	t.Run("not enabled", func(t *testing.T) {
		got, err := unsettledSlots(time.Time{}, june1(t, "12:00:00"), SkipDisabled, hours)
		require.NoError(t, err)
		require.Nil(t, got)
	})
}

// M3: up to 1,000 skipped slots are counted exactly.
func TestSkippedSlotsCountExactToThousand(t *testing.T) {
	minutes := calendarFor(t, "* * * * *", "UTC")
	from := june1(t, "00:00:00")
	for _, c := range []struct {
		slots, count int
		atLeast      bool
	}{{1, 1, false}, {999, 999, false}, {1000, 1000, false}, {1001, 1000, true}, {525_600, 1000, true}} {
		to := from.Add(time.Duration(c.slots-1) * time.Minute)
		got, err := minutes.skip(SkipLate, from, to)
		require.NoError(t, err)
		require.Equal(t, &skip{reason: SkipLate, from: from, to: to, count: c.count, atLeast: c.atLeast}, got)
	}
}

// The expressions and time zones of random claims: frequent and rare,
// every-hour and fixed-time, with and without clock changes.
var (
	randomExpressions = []string{"* * * * * *", "*/7 * * * * *", "* * * * *", "*/15 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * 1-5", "0 0 1 * *"}
	randomZones       = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"}
)

// checkDecision compares a decision with one that visits every slot that is
// due. choice selects expression and zone. The other numbers are seconds and
// are reduced to possible values.
func checkDecision(t testing.TB, choice uint8, start, passed, unfinishedAfter, graceSeconds uint32, abandoned bool) {
	t.Helper()
	slots := calendarFor(t, randomExpressions[int(choice)%len(randomExpressions)], randomZones[int(choice/8)%len(randomZones)])
	seconds := func(n uint32) time.Duration { return time.Duration(n) * time.Second }

	// The row waits for a slot in 2026 and is claimed up to 20 slots later.
	next, err := slots.next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(seconds(start % (360 * 86400))))
	require.NoError(t, err)
	second, err := slots.next(next)
	require.NoError(t, err)
	gap := uint32(second.Sub(next) / time.Second)
	grace := seconds(1 + graceSeconds%(4*gap))
	claim := storage.Claim{
		NextRunAt: next,
		At:        next.Add(seconds(passed % (20 * gap))).Add(time.Duration(passed%3) * 300 * time.Millisecond),
		Abandoned: abandoned,
	}
	claim.UnfinishedSince = next.Add(seconds(unfinishedAfter % (20 * gap)))
	if abandoned || claim.UnfinishedSince.After(claim.At) {
		claim.UnfinishedSince = claim.At
	}

	d, err := decide(claim, grace, slots)
	require.NoError(t, err)

	due, err := slots.schedule.Between(next, claim.At.Add(time.Nanosecond))
	require.NoError(t, err)
	latest := due[len(due)-1]
	unfinished := false
	if claim.UnfinishedSince.Before(claim.At) {
		var claimed time.Time
		for _, slot := range due {
			if !slot.After(claim.UnfinishedSince) {
				claimed = slot
			}
		}
		unfinished = !claim.UnfinishedSince.After(claimed.Add(grace))
	}
	inGrace := !claim.At.After(latest.Add(grace))

	require.Equal(t, latest, d.slot)
	dueSinceClaim := latest.After(claim.UnfinishedSince)
	require.Equal(t, inGrace || unfinished || dueSinceClaim, d.fire,
		"in grace %v, unfinished %v, due since the claim %v", inGrace, unfinished, dueSinceClaim)
	skipped := due
	if d.fire {
		skipped = due[:len(due)-1]
	}
	if len(skipped) == 0 {
		require.Nil(t, d.skipped)
	} else {
		require.NotNil(t, d.skipped)
		last := skipped[len(skipped)-1]
		require.Equal(t, skipped[0], d.skipped.from)
		require.Equal(t, last, d.skipped.to)
		require.Equal(t, min(len(skipped), maxCount), d.skipped.count)
		require.Equal(t, len(skipped) > maxCount, d.skipped.atLeast)
		switch {
		case d.fire && (unfinished || !claim.At.After(last.Add(grace))):
			require.Equal(t, SkipSuperseded, d.skipped.reason)
		case abandoned:
			require.Equal(t, SkipAbandoned, d.skipped.reason)
		default:
			require.Equal(t, SkipLate, d.skipped.reason)
		}
	}
	require.True(t, d.next.After(claim.At))
	between, err := slots.schedule.Between(claim.At.Add(time.Nanosecond), d.next)
	require.NoError(t, err)
	require.Empty(t, between, "slots before the next")

	// A failure keeps an unfinished claim exactly if the slot would have fired.
	require.Equal(t, d.fire, !d.unfinishedSince.IsZero())

	// If the schedule is stopped at the same time, every slot is recorded.
	stopped, err := unsettledSlots(next, claim.At, SkipDisabled, slots)
	require.NoError(t, err)
	require.Equal(t, &skip{reason: SkipDisabled, from: next, to: latest, count: min(len(due), maxCount), atLeast: len(due) > maxCount}, stopped)
}

// M1, M2, L4, M5: random claims are decided as if every slot was visited.
func TestDecideAgreesWithVisitOfEverySlot(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		// Small numbers are as frequent as large ones: most special cases are
		// near the slot.
		number := func() uint32 { return r.Uint32() >> r.IntN(32) }
		checkDecision(t, uint8(r.Uint32()), r.Uint32(), number(), number(), number(), r.IntN(4) == 0)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(uint8(0), uint32(0), uint32(0), uint32(0), uint32(0), false)
	f.Add(uint8(13), uint32(87*86400), uint32(3*86400), uint32(90), uint32(120), false)
	f.Add(uint8(4), uint32(7), uint32(50_000), uint32(1), uint32(3600), true)
	f.Fuzz(func(t *testing.T, choice uint8, start, passed, unfinishedAfter, grace uint32, abandoned bool) {
		checkDecision(t, choice, start, passed, unfinishedAfter, grace, abandoned)
	})
}

// T3: of the connections of a tick, the last report decides the wake-up. Of
// reports for the same time, the latest wake-up does.
func TestNoteIdleKeepsLatestReport(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := &pass{scheduler: &Scheduler{}}
	for _, report := range []struct{ at, wakeAt, want time.Time }{
		{at, at, at},
		{at, at.Add(time.Hour), at.Add(time.Hour)},
		{at, at, at.Add(time.Hour)},
		{at.Add(-time.Second), at.Add(time.Minute), at.Add(time.Hour)},
		{at.Add(time.Second), at.Add(time.Minute), at.Add(time.Minute)},
	} {
		p.noteIdle(report.at, report.wakeAt, report.wakeAt.Equal(report.at))
		require.Equal(t, report.want, p.report.WakeAt)
		require.Equal(t, report.want.Equal(at), p.heldByOthers)
	}
}
