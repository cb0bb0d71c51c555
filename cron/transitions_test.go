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

// changing are zones with every kind of clock change: by an hour, by half of one, by two, by a day; at midnight, at
// the start of a month; northern and southern; decreed, by a table that ends, and by a yearly rule without an end.
var changing = []string{
	"America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Asuncion", "America/Havana",
	"America/Santiago", "America/Caracas", "America/Nuuk", "America/Scoresbysund", "Europe/London", "Europe/Dublin",
	"Europe/Moscow", "Africa/Cairo", "Africa/Casablanca", "Africa/Windhoek", "Asia/Tehran", "Asia/Gaza",
	"Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati",
	"Pacific/Chatham", "Antarctica/Troll", "Antarctica/Casey", "Atlantic/Azores",
	"Asia/Kolkata", // which has none since 1970, and no slot of which may differ from any other day's
}

// shown is what the clock on the wall shows at a whole minute.
type shown struct {
	wall                           time.Time // as if it were UTC
	minute, hour, day, month, last int       // last is the number of days in the month
	weekday                        time.Weekday
}

// witness is an expression, and what it means in Go: this test shares no code with the package.
type witness struct {
	expr      string
	everyHour bool
	matches   func(shown) bool
}

var witnesses = []witness{
	{"* * * * *", true, func(shown) bool { return true }},
	{"*/15 * * * *", true, func(w shown) bool { return w.minute%15 == 0 }},
	{"45 0-23 * * *", true, func(w shown) bool { return w.minute == 45 }},
	{"*/30 */1 1-7 * *", true, func(w shown) bool { return w.minute%30 == 0 && w.day <= 7 }},
	{"10 0-11,12-23 * * SUN", true, func(w shown) bool { return w.minute == 10 && w.weekday == 0 }},
	{"30 2 * * *", false, func(w shown) bool { return w.minute == 30 && w.hour == 2 }},
	{"*/15 2 * * *", false, func(w shown) bool { return w.minute%15 == 0 && w.hour == 2 }},
	{"30 1-3 * * *", false, func(w shown) bool { return w.minute == 30 && w.hour >= 1 && w.hour <= 3 }},
	{"0 0 * * *", false, func(w shown) bool { return w.minute == 0 && w.hour == 0 }},
	{"0 */2 * * *", false, func(w shown) bool { return w.minute == 0 && w.hour%2 == 0 }},
	{"*/20 0-22 * * *", false, func(w shown) bool { return w.minute%20 == 0 && w.hour <= 22 }},
	{"59 23 L * *", false, func(w shown) bool { return w.minute == 59 && w.hour == 23 && w.day == w.last }},
	{"0 0 1 * *", false, func(w shown) bool { return w.minute == 0 && w.hour == 0 && w.day == 1 }},
	{"*/10 1-3 * * 0L", false, func(w shown) bool {
		return w.minute%10 == 0 && w.hour >= 1 && w.hour <= 3 && w.weekday == 0 && w.day > w.last-7
	}},
	{"5 0-5,23 */6 3,4,9-11 5-7", false, func(w shown) bool {
		return w.minute == 5 && (w.hour <= 5 || w.hour == 23) && (w.month == 3 || w.month == 4 || w.month >= 9 && w.month <= 11) &&
			(w.day%6 == 1 || w.weekday == 0 || w.weekday >= 5)
	}},
}

// around is how far before and after a change the slots are looked at: more than a day, so that R4 shows.
const around = 26 * time.Hour

// T4, and R1 to R5 under it: around every clock change from 1970 to 2040 the slots are those of an enumeration of
// all minutes, whichever way one asks for them.
func TestEveryClockChangeAgreesWithEnumeration(t *testing.T) {
	for _, zone := range changing {
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
			schedules := make([]cron.Schedule, len(witnesses))
			for i, w := range witnesses {
				schedules[i] = parse(t, w.expr, zone)
			}
			for n, change := range changes {
				if testing.Short() && n%10 != 0 {
					continue
				}
				minutes := enumerate(location, change)
				for i, w := range witnesses {
					checkChange(t, w, schedules[i], n+i, change, minutes)
				}
			}
		})
	}
}

// clockChanges are the instants at which the offset of a zone changes. No zone has two of them within a day.
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

// minuteShown is a minute, and the readings that are first due at it: its own, and those passed over before it.
type minuteShown struct {
	at      time.Time
	reading shown
	again   bool    // the reading was shown before
	twice   bool    // it is shown twice
	passed  []shown // by a change of less than a day
}

// enumerate lists the minutes around a change, by the wording of the rules.
func enumerate(location *time.Location, change time.Time) []minuteShown {
	minutes := make([]minuteShown, 0, 2*around/time.Minute+1)
	seen := make(map[int64]int, cap(minutes)) // how often, by the Unix time of the reading as if it were UTC
	var last time.Time
	for instant := change.Add(-around); !instant.After(change.Add(around)); instant = instant.Add(time.Minute) {
		year, month, day := instant.In(location).Date()
		hour, minute, _ := instant.In(location).Clock()
		wall := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
		m := minuteShown{at: instant, reading: look(wall), again: seen[wall.Unix()] > 0}
		if gap := wall.Sub(last) - time.Minute; !last.IsZero() && gap > 0 && gap < 24*time.Hour {
			for passed := last.Add(time.Minute); passed.Before(wall); passed = passed.Add(time.Minute) {
				m.passed = append(m.passed, look(passed))
			}
		}
		seen[wall.Unix()]++
		last = wall
		minutes = append(minutes, m)
	}
	for i := range minutes {
		minutes[i].twice = seen[minutes[i].reading.wall.Unix()] > 1
	}
	return minutes
}

func look(wall time.Time) shown {
	return shown{
		wall: wall, minute: wall.Minute(), hour: wall.Hour(), day: wall.Day(), month: int(wall.Month()), weekday: wall.Weekday(),
		last: time.Date(wall.Year(), wall.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day(),
	}
}

// due says whether the rules make a witness due at a minute.
func (w witness) due(m minuteShown) bool {
	if w.everyHour {
		return w.matches(m.reading)
	}
	return !m.again && w.matches(m.reading) || slices.ContainsFunc(m.passed, w.matches)
}

// flagged says whether a minute is near enough to a change for it to do something to a slot there.
func flagged(m minuteShown, change time.Time) bool {
	return m.twice || m.at.Sub(change).Abs() <= time.Minute
}

// flag is what the rules make of a slot that a clock change moves or repeats.
func (w witness) flag(m minuteShown) (c cron.Change) {
	if i := slices.IndexFunc(m.passed, w.matches); i >= 0 && !w.everyHour {
		return cron.Change{Kind: "MOVED", Reading: m.passed[i].wall.Format("2006-01-02T15:04:05")}
	}
	if m.twice {
		c = cron.Change{Kind: "REPEATED", Reading: m.reading.wall.Format("2006-01-02T15:04:05"), Occurrence: 1, Once: !w.everyHour}
	}
	if m.again {
		c.Occurrence, c.Once = 2, false
	}
	return c
}

func checkChange(t *testing.T, w witness, s cron.Schedule, turn int, change time.Time, minutes []minuteShown) {
	t.Helper()
	label := fmt.Sprintf("%q in %s around %s", w.expr, s.Location(), change)
	first, end := minutes[0].at, minutes[len(minutes)-1].at.Add(time.Minute)

	var want []time.Time
	for _, m := range minutes {
		flag := cron.Change{} // of what is no slot
		if w.due(m) {
			want = append(want, m.at)
			flag = w.flag(m)
		}
		if !flagged(m, change) {
			continue
		}
		if got := s.Change(m.at); got != flag {
			require.Equal(t, flag, got, "%s at %s", label, m.at)
		}
	}
	got, err := s.Between(first, end)
	require.NoError(t, err)
	if !slices.EqualFunc(want, got, time.Time.Equal) {
		require.Equal(t, want, got, label)
	}
	n, err := s.Count(first, end.Add(-1), 10_000)
	require.NoError(t, err)
	require.Equal(t, len(want), n, label)

	// The answers do not depend on where the question starts: at the change or next to it by turns, and anywhere.
	random := rand.New(rand.NewPCG(uint64(change.Unix()), uint64(turn)))
	for _, offset := range []time.Duration{
		[]time.Duration{-time.Second, 0, time.Second, time.Minute, -1}[turn%5],
		time.Duration(random.Int64N(int64(2*around))) - around,
		time.Duration(random.Int64N(int64(8*time.Hour))) - 4*time.Hour,
	} {
		from := change.Add(offset)
		i, on := slices.BinarySearchFunc(want, from, time.Time.Compare)
		before := i - 1 // in want; -1 lies before what was enumerated
		if on {
			i++
		}
		next, err := s.Next(from)
		require.NoError(t, err)
		if next.Nanosecond() != 0 || !next.After(from) || i < len(want) && !next.Equal(want[i]) || i == len(want) && next.Before(end) {
			require.Fail(t, "Next is wrong", "%s: after %s it is %s", label, from, next)
		}
		prev, err := s.Prev(from)
		require.NoError(t, err)
		if prev.Nanosecond() != 0 || !prev.Before(from) || before >= 0 && !prev.Equal(want[before]) || before < 0 && !prev.Before(first) {
			require.Fail(t, "Prev is wrong", "%s: before %s it is %s", label, from, prev)
		}
	}
	// Prev undoes Next, also where the slots lie outside what was enumerated.
	from := change.Add(-time.Duration(random.Int64N(int64(around))))
	next, err := s.Next(from)
	require.NoError(t, err)
	back, err := s.Prev(next)
	require.NoError(t, err)
	if back.After(from) {
		require.Fail(t, "Prev found what Next did not", "%s: after %s comes %s, before that %s", label, from, next, back)
	}
	if again, err := s.Next(back); err != nil || !again.Equal(next) {
		require.Fail(t, "Next does not undo Prev", "%s: before %s comes %s, after that %s", label, next, back, again)
	}
}
