package cron_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// changingZones are zones with every kind of clock change: by an hour, half an
// hour, two hours and a day; at midnight and at the start of a month; on both
// hemispheres; from a list of dates, and from a yearly rule.
var changingZones = []string{
	"America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Asuncion", "America/Havana",
	"America/Santiago", "America/Caracas", "America/Nuuk", "America/Scoresbysund", "Europe/London", "Europe/Dublin",
	"Europe/Moscow", "Africa/Cairo", "Africa/Casablanca", "Africa/Windhoek", "Asia/Tehran", "Asia/Gaza",
	"Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati",
	"Pacific/Chatham", "Antarctica/Troll", "Antarctica/Casey", "Atlantic/Azores",
	"Asia/Kolkata", // no clock change since 1970, for comparison
}

// localTime is a local time on a whole minute.
type localTime struct {
	time                           time.Time // in UTC
	minute, hour, day, month, last int       // last is the number of days in the month
	weekday                        time.Weekday
}

func newLocalTime(t time.Time) localTime {
	return localTime{
		time: t, minute: t.Minute(), hour: t.Hour(), day: t.Day(), month: int(t.Month()), weekday: t.Weekday(),
		last: time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day(),
	}
}

// reference is an expression and its meaning in Go. It shares no code with the
// package.
type reference struct {
	expr      string
	everyHour bool
	matches   func(localTime) bool
}

var references = []reference{
	{"* * * * *", true, func(localTime) bool { return true }},
	{"*/15 * * * *", true, func(l localTime) bool { return l.minute%15 == 0 }},
	{"45 0-23 * * *", true, func(l localTime) bool { return l.minute == 45 }},
	{"*/30 */1 1-7 * *", true, func(l localTime) bool { return l.minute%30 == 0 && l.day <= 7 }},
	{"10 0-11,12-23 * * SUN", true, func(l localTime) bool { return l.minute == 10 && l.weekday == 0 }},
	{"30 2 * * *", false, func(l localTime) bool { return l.minute == 30 && l.hour == 2 }},
	{"*/15 2 * * *", false, func(l localTime) bool { return l.minute%15 == 0 && l.hour == 2 }},
	{"30 1-3 * * *", false, func(l localTime) bool { return l.minute == 30 && l.hour >= 1 && l.hour <= 3 }},
	{"0 0 * * *", false, func(l localTime) bool { return l.minute == 0 && l.hour == 0 }},
	{"0 */2 * * *", false, func(l localTime) bool { return l.minute == 0 && l.hour%2 == 0 }},
	{"*/20 0-22 * * *", false, func(l localTime) bool { return l.minute%20 == 0 && l.hour <= 22 }},
	{"59 23 L * *", false, func(l localTime) bool { return l.minute == 59 && l.hour == 23 && l.day == l.last }},
	{"0 0 1 * *", false, func(l localTime) bool { return l.minute == 0 && l.hour == 0 && l.day == 1 }},
	{"*/10 1-3 * * 0L", false, func(l localTime) bool {
		return l.minute%10 == 0 && l.hour >= 1 && l.hour <= 3 && l.weekday == 0 && l.day > l.last-7
	}},
	{"5 0-5,23 */6 3,4,9-11 5-7", false, func(l localTime) bool {
		return l.minute == 5 && (l.hour <= 5 || l.hour == 23) && (l.month == 3 || l.month == 4 || l.month >= 9 && l.month <= 11) &&
			(l.day%6 == 1 || l.weekday == 0 || l.weekday >= 5)
	}},
}

// window is the time before and after a clock change in which the slots are
// compared. It is longer than a day, so that it covers rule R4.
const window = 26 * time.Hour

// T4, R1 to R5: around every clock change from 1970 to 2040, all methods agree
// with an enumeration of the minutes.
func TestSlotsMatchEnumerationAtClockChanges(t *testing.T) {
	for _, zone := range changingZones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			location, err := time.LoadLocation(zone)
			require.NoError(t, err)
			changes := clockChanges(location)
			if zone == "Asia/Kolkata" {
				require.Empty(t, changes)
				changes = append(changes, time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC))
			}
			require.NotEmpty(t, changes)
			schedules := make([]cron.Schedule, len(references))
			for i, r := range references {
				schedules[i] = mustParse(t, r.expr, zone)
			}
			for n, change := range changes {
				if testing.Short() && n%10 != 0 {
					continue
				}
				minutes := enumerate(location, change)
				for i, r := range references {
					checkClockChange(t, r, schedules[i], n+i, change, minutes)
				}
			}
		})
	}
}

// clockChanges returns the times at which the offset of a zone changes, up to
// 2040. No zone changes its offset twice within a day.
func clockChanges(location *time.Location) []time.Time {
	offset := func(unix int64) int {
		_, offset := time.Unix(unix, 0).In(location).Zone()
		return offset
	}
	const step = 86400
	var changes []time.Time
	end := time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for lo := int64(0); lo < end; lo += step {
		if offset(lo) == offset(lo+step) {
			continue
		}
		before, after := lo, lo+step
		for after-before > 1 {
			if middle := (before + after) / 2; offset(middle) == offset(lo) {
				before = middle
			} else {
				after = middle
			}
		}
		changes = append(changes, time.Unix(after, 0).UTC())
	}
	return changes
}

// localMinute is a minute and the local times that may be due at it.
type localMinute struct {
	at        time.Time
	local     localTime
	second    bool        // at is the second occurrence of the local time
	inOverlap bool        // the local time occurs twice
	gap       []localTime // the local times in a gap of less than a day that ends here
}

// enumerate lists the minutes around a clock change.
func enumerate(location *time.Location, change time.Time) []localMinute {
	minutes := make([]localMinute, 0, 2*window/time.Minute+1)
	occurrences := make(map[int64]int, cap(minutes)) // by the Unix time of localTime.time
	var last time.Time
	for at := change.Add(-window); !at.After(change.Add(window)); at = at.Add(time.Minute) {
		year, month, day := at.In(location).Date()
		hour, minute, _ := at.In(location).Clock()
		local := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
		m := localMinute{at: at, local: newLocalTime(local), second: occurrences[local.Unix()] > 0}
		if gap := local.Sub(last) - time.Minute; !last.IsZero() && gap > 0 && gap < 24*time.Hour {
			for inGap := last.Add(time.Minute); inGap.Before(local); inGap = inGap.Add(time.Minute) {
				m.gap = append(m.gap, newLocalTime(inGap))
			}
		}
		occurrences[local.Unix()]++
		last = local
		minutes = append(minutes, m)
	}
	for i := range minutes {
		minutes[i].inOverlap = occurrences[minutes[i].local.time.Unix()] > 1
	}
	return minutes
}

// isDue reports whether the rules make the expression due at a minute.
func (r reference) isDue(m localMinute) bool {
	if r.everyHour {
		return r.matches(m.local)
	}
	return !m.second && r.matches(m.local) || slices.ContainsFunc(m.gap, r.matches)
}

// mayBeAffected reports whether a clock change may affect a slot at a minute.
func mayBeAffected(m localMinute, change time.Time) bool {
	return m.inOverlap || m.at.Sub(change).Abs() <= time.Minute
}

// change returns the effect of a clock change on a slot according to the rules.
func (r reference) change(m localMinute) (c cron.Change) {
	const layout = "2006-01-02T15:04:05"
	if i := slices.IndexFunc(m.gap, r.matches); i >= 0 && !r.everyHour {
		return cron.Change{Kind: "MOVED", LocalTime: m.gap[i].time.Format(layout)}
	}
	if m.inOverlap {
		c = cron.Change{Kind: "REPEATED", LocalTime: m.local.time.Format(layout), Occurrence: 1, Once: !r.everyHour}
	}
	if m.second {
		c.Occurrence, c.Once = 2, false
	}
	return c
}

func checkClockChange(t *testing.T, r reference, s cron.Schedule, turn int, change time.Time, minutes []localMinute) {
	t.Helper()
	label := fmt.Sprintf("%q in %s around %s", r.expr, s.Location(), change)
	first, end := minutes[0].at, minutes[len(minutes)-1].at.Add(time.Minute)

	var slots []time.Time
	for _, m := range minutes {
		want := cron.Change{}
		if r.isDue(m) {
			slots = append(slots, m.at)
			want = r.change(m)
		}
		if !mayBeAffected(m, change) {
			continue
		}
		if got := s.Change(m.at); got != want {
			require.Equal(t, want, got, "%s at %s", label, m.at)
		}
	}
	got, err := s.Between(first, end)
	require.NoError(t, err)
	if !slices.EqualFunc(slots, got, time.Time.Equal) {
		require.Equal(t, slots, got, label)
	}
	n, err := s.Count(first, end.Add(-1), 10_000)
	require.NoError(t, err)
	require.Equal(t, len(slots), n, label)

	// Next and Prev must agree with the enumeration from any start: close to
	// the change, and at random times.
	random := rand.New(rand.NewPCG(uint64(change.Unix()), uint64(turn)))
	for _, offset := range []time.Duration{
		[]time.Duration{-time.Second, 0, time.Second, time.Minute, -1}[turn%5],
		time.Duration(random.Int64N(int64(2*window))) - window,
		time.Duration(random.Int64N(int64(8*time.Hour))) - 4*time.Hour,
	} {
		from := change.Add(offset)
		following, isSlot := slices.BinarySearchFunc(slots, from, time.Time.Compare)
		preceding := following - 1
		if isSlot {
			following++
		}
		next, err := s.Next(from)
		require.NoError(t, err)
		if next.Nanosecond() != 0 || !next.After(from) || following < len(slots) && !next.Equal(slots[following]) ||
			following == len(slots) && next.Before(end) {
			require.Fail(t, "Next is wrong", "%s: after %s it is %s", label, from, next)
		}
		prev, err := s.Prev(from)
		require.NoError(t, err)
		if prev.Nanosecond() != 0 || !prev.Before(from) || preceding >= 0 && !prev.Equal(slots[preceding]) ||
			preceding < 0 && !prev.Before(first) {
			require.Fail(t, "Prev is wrong", "%s: before %s it is %s", label, from, prev)
		}
	}
	// Prev is the inverse of Next, also for slots outside the enumeration.
	from := change.Add(-time.Duration(random.Int64N(int64(window))))
	next, err := s.Next(from)
	require.NoError(t, err)
	prev, err := s.Prev(next)
	require.NoError(t, err)
	if prev.After(from) {
		require.Fail(t, "Prev found a slot that Next did not", "%s: Next of %s is %s, Prev of that is %s", label, from, next, prev)
	}
	if slot, err := s.Next(prev); err != nil || !slot.Equal(next) {
		require.Fail(t, "Next is not the inverse of Prev", "%s: Prev of %s is %s, Next of that is %s", label, next, prev, slot)
	}
}
