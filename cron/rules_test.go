package cron_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// T4, R1 to R4 and R7: examples of clock changes.
func TestNextFollowsClockChangeRules(t *testing.T) {
	for _, c := range []struct {
		rule, expr, zone, after string
		slots                   []string
	}{
		{"R3", "30 2 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"}},
		{"R3", "30 2,3 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-08T03:30-04:00"}},
		{"R3", "*/15 2 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"}},
		{"R3", "0 */2 * * *", "America/New_York", "2026-03-08T00:30-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"}},
		{"R3", "*/30 * * * *", "America/New_York", "2026-03-08T01:15-05:00", []string{"2026-03-08T01:30-05:00", "2026-03-08T03:00-04:00", "2026-03-08T03:30-04:00"}},
		{"R2", "30 1 * * *", "America/New_York", "2026-11-01T01:00-04:00", []string{"2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"}},
		{"R2", "30 1 * * *", "America/New_York", "2026-11-01T01:15-05:00", []string{"2026-11-02T01:30-05:00"}},
		{"R2", "*/30 1 * * *", "America/New_York", "2026-11-01T00:30-04:00", []string{"2026-11-01T01:00-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:00-05:00"}},
		{"R2", "*/30 * * * *", "America/New_York", "2026-11-01T01:15-04:00", []string{"2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:30-05:00", "2026-11-01T02:00-05:00"}},
		{"R3", "15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:30+10:30", []string{"2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"}},
		{"R2", "45 * * * *", "Australia/Lord_Howe", "2026-04-05T01:00+11:00", []string{"2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-05T02:45+10:30"}},
		{"R3", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T09:00-03:00", []string{"2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"}},
		{"R2", "30 23 * * *", "America/Sao_Paulo", "2018-02-17T10:00-02:00", []string{"2018-02-17T23:30-02:00", "2018-02-18T23:30-03:00"}},
		{"R4", "0 9 * * *", "Pacific/Apia", "2011-12-29T10:00-10:00", []string{"2011-12-31T09:00+14:00"}},
		{"R3", "0 0 1 * *", "America/Asuncion", "2017-09-30T08:00-04:00", []string{"2017-10-01T01:00-03:00", "2017-11-01T00:00-03:00"}},
	} {
		t.Run(c.rule+" "+c.expr+" "+c.zone, func(t *testing.T) { requireSlots(t, c.expr, c.zone, c.after, c.slots...) })
	}
	t.Run("R7 0 0 31 2 * UTC", func(t *testing.T) {
		_, err := cron.Parse("0 0 31 2 *", "UTC")
		assert.ErrorIs(t, err, cron.ErrNever)
	})
}

// R1: a local time that occurs once is due at the UTC time it maps to. Offsets
// need not be multiples of an hour or of a minute.
func TestUniqueLocalTimeMapsToOneSlot(t *testing.T) {
	requireSlots(t, "30 9 * * *", "Europe/Berlin", "2026-01-01T00:00Z", "2026-01-01T09:30+01:00", "2026-01-02T09:30+01:00")
	requireSlots(t, "30 9 * * *", "Asia/Kolkata", "2026-01-01T00:00Z", "2026-01-01T09:30+05:30", "2026-01-02T09:30+05:30")
	requireSlots(t, "30 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00Z", "2026-01-01T09:30+05:45")
	// The offset of Liberia was -00:44:30 until 1972.
	requireSlots(t, "30 9 * * *", "Africa/Monrovia", "1971-01-01T00:00Z", "1971-01-01T10:14:30Z")
}

// R2: the second occurrence of a local time is due for every-hour schedules
// only. The allowed hours decide, not their spelling.
func TestOverlapRepeatsEveryHourSlotsOnly(t *testing.T) {
	for _, hours := range []string{"*", "*/1", "0-23", "0/1", "0-11,12-23", "*,5"} {
		requireSlots(t, "30 "+hours+" * * *", "America/New_York", "2026-11-01T00:30-04:00",
			"2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00", "2026-11-01T02:30-05:00")
	}
	for _, hours := range []string{"0-22", "1-23", "*/2,1-22"} {
		requireSlots(t, "30 "+hours+" * * *", "America/New_York", "2026-11-01T01:00-04:00",
			"2026-11-01T01:30-04:00", "2026-11-01T02:30-05:00")
	}
	// The clock moves back from midnight to 23:00, into the day and the month
	// before.
	requireSlots(t, "30 23 31 10 *", "Africa/Cairo", "2024-10-01T00:00Z", "2024-10-31T23:30+03:00", "2025-10-31T23:30+02:00")
	requireSlots(t, "30 * 31 10 *", "Africa/Cairo", "2024-10-31T22:45+03:00",
		"2024-10-31T23:30+03:00", "2024-10-31T23:30+02:00", "2025-10-31T00:30+02:00")
	// A search may start within the second occurrence, also in an overlap of
	// two hours.
	requireSlots(t, "30 2 * * *", "Antarctica/Troll", "2026-10-25T02:10Z", "2026-10-26T02:30Z")
	requireSlots(t, "30 1,2 * * *", "Antarctica/Troll", "2026-10-24T23:00Z", "2026-10-24T23:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z")
	requireSlots(t, "*/20 1 * * *", "America/New_York", "2026-11-01T01:10-05:00", "2026-11-02T01:00-05:00")
}

// R3: local times in a gap are due as one slot at the end of the gap for
// fixed-time schedules, and not due for every-hour schedules.
func TestGapMovesFixedTimesToItsEnd(t *testing.T) {
	// All matches in the gap and a match at its end are one slot.
	requireSlots(t, "*/10 2,3 * * *", "America/New_York", "2026-03-08T01:59-05:00", "2026-03-08T03:00-04:00", "2026-03-08T03:10-04:00")
	requireSlots(t, "* * 2 * * *", "America/New_York", "2026-03-08T01:59-05:00", "2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00")
	// The end of the gap is strictly after the nanosecond before it, and not
	// after itself.
	requireSlots(t, "30 2 * * *", "America/New_York", "2026-03-08T06:59:59.999999999Z", "2026-03-08T07:00Z")
	requireSlots(t, "30 2 * * *", "America/New_York", "2026-03-08T07:00Z", "2026-03-09T06:30Z")
	// The local times next to the gap are not in it.
	requireSlots(t, "59 1 * * *", "America/New_York", "2026-03-08T01:00-05:00", "2026-03-08T01:59-05:00", "2026-03-09T01:59-04:00")
	requireSlots(t, "1 3 * * *", "America/New_York", "2026-03-08T01:00-05:00", "2026-03-08T03:01-04:00")
	for _, hours := range []string{"*", "0-23", "*/1"} {
		requireSlots(t, "30 "+hours+" * * *", "America/New_York", "2026-03-08T01:00-05:00", "2026-03-08T01:30-05:00", "2026-03-08T03:30-04:00")
	}
	// The day fields match the local time in the gap: midnight of Sunday,
	// 4 November, is in the gap.
	requireSlots(t, "0 0 * * SUN", "America/Sao_Paulo", "2018-11-01T00:00Z", "2018-11-04T01:00-02:00")
	requireSlots(t, "0 0 * * SAT", "America/Sao_Paulo", "2018-11-03T12:00Z", "2018-11-10T00:00-02:00")
	// A gap need not end on a whole minute.
	requireSlots(t, "20 0 * * *", "Africa/Monrovia", "1972-01-06T12:00Z", "1972-01-07T00:44:30Z", "1972-01-08T00:20Z")
	// A gap may be two hours long.
	requireSlots(t, "15 1-2 * * *", "Antarctica/Troll", "2026-03-28T20:00Z", "2026-03-29T01:00Z", "2026-03-29T23:15Z")
}

// R4: no schedule is due for the local times of an omitted day.
func TestOmittedDayHasNoSlots(t *testing.T) {
	requireSlots(t, "0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00Z", "2012-12-30T09:00+14:00")
	requireSlots(t, "0 0 * * *", "Pacific/Apia", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00")
	requireSlots(t, "0 12 * * FRI", "Pacific/Apia", "2011-12-25T00:00-10:00", "2012-01-06T12:00+14:00")
	requireSlots(t, "*/30 * * * *", "Pacific/Apia", "2011-12-29T23:10-10:00", "2011-12-29T23:30-10:00", "2011-12-31T00:00+14:00")
	requireSlots(t, "0 9 * * *", "Pacific/Kwajalein", "1993-08-20T00:00-12:00", "1993-08-20T09:00-12:00", "1993-08-22T09:00+12:00")
}

// R5: Next is strictly after its argument and Prev strictly before it, on whole
// seconds and in any location.
func TestNextAndPrevAreStrict(t *testing.T) {
	s := mustParse(t, "0 12 * * *", "UTC")
	noon := parseTime(t, "2026-05-05T12:00Z")
	for _, c := range []struct {
		from       time.Time
		next, prev string
	}{
		{noon, "2026-05-06T12:00Z", "2026-05-04T12:00Z"},
		{noon.Add(-1), "2026-05-05T12:00Z", "2026-05-04T12:00Z"},
		{noon.Add(1), "2026-05-06T12:00Z", "2026-05-05T12:00Z"},
		{noon.Add(-time.Second), "2026-05-05T12:00Z", "2026-05-04T12:00Z"},
		{noon.Add(time.Second), "2026-05-06T12:00Z", "2026-05-05T12:00Z"},
		{noon.In(time.FixedZone("", 5*3600)), "2026-05-06T12:00Z", "2026-05-04T12:00Z"},
	} {
		next, err := s.Next(c.from)
		require.NoError(t, err)
		assert.Equal(t, parseTime(t, c.next), next, "Next of %s", c.from)
		prev, err := s.Prev(c.from)
		require.NoError(t, err)
		assert.Equal(t, parseTime(t, c.prev), prev, "Prev of %s", c.from)
	}
}

// R5: searches are correct before 1970, where Unix times are negative.
func TestNextAndPrevWorkBefore1970(t *testing.T) {
	requireSlots(t, "30 59 23 * * *", "UTC", "1969-12-31T12:00Z", "1969-12-31T23:59:30Z", "1970-01-01T23:59:30Z")
	requireSlots(t, "0 0 * * *", "Europe/Berlin", "1969-12-31T23:00:00.5Z", "1970-01-01T23:00Z")
	requireSlots(t, "0 0 29 2 *", "UTC", "1900-01-01T00:00Z", "1904-02-29T00:00Z")
	s := mustParse(t, "* * * * * *", "UTC")
	next, err := s.Next(time.Unix(-1, 500_000_000))
	require.NoError(t, err)
	assert.Equal(t, time.Unix(0, 0).UTC(), next)
	prev, err := s.Prev(time.Unix(-1, 500_000_000))
	require.NoError(t, err)
	assert.Equal(t, time.Unix(-1, 0).UTC(), prev)
}

// R5: searches are correct on the last day of a leap year in a zone that
// follows a yearly rule, although Time.ZoneBounds is wrong there.
func TestSearchContinuesOnLastDayOfLeapYear(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Europe/Berlin", "Australia/Sydney"} {
		for _, year := range []int{2036, 2040, 2044, 2096} {
			for _, expr := range []string{"0 * * * *", "0 */6 * * *"} {
				s := mustParse(t, expr, zone)
				from := time.Date(year, 12, 30, 0, 0, 0, 0, s.Location())
				want := 4 * 24
				if expr != "0 * * * *" {
					want /= 6
				}
				n, err := s.Count(from, from.AddDate(0, 0, 4).Add(-1), 1000)
				require.NoError(t, err)
				assert.Equal(t, want, n, "%q in %s, %d", expr, zone, year)
			}
			s := mustParse(t, "0 12 1 1 *", zone)
			for hour := range 24 {
				slot, err := s.Next(time.Date(year, 12, 31, hour, 0, 0, 0, time.UTC))
				require.NoError(t, err)
				assert.Equal(t, time.Date(year+1, 1, 1, 12, 0, 0, 0, s.Location()).UTC(), slot, zone)
			}
		}
	}
}

// R6: if both day fields are restricted, a day matches if it matches either.
// Every field is restricted except a lone * or ?.
func TestDayMatchesEitherRestrictedField(t *testing.T) {
	const after = "2026-06-01T12:00Z" // a Monday
	for expr, days := range map[string][]string{
		"0 0 10 * FRI":   {"2026-06-05", "2026-06-10", "2026-06-12"},
		"0 0 */10 * FRI": {"2026-06-05", "2026-06-11", "2026-06-12"},
		"0 0 10 * */4":   {"2026-06-04", "2026-06-07", "2026-06-10"},
		"0 0 10 * *":     {"2026-06-10", "2026-07-10"},
		"0 0 10 * ?":     {"2026-06-10", "2026-07-10"},
		"0 0 * * FRI":    {"2026-06-05", "2026-06-12"},
		"0 0 ? * FRI":    {"2026-06-05", "2026-06-12"},
		"0 0 */1 * FRI":  {"2026-06-02", "2026-06-03"},
		"0 0 *,10 * FRI": {"2026-06-02", "2026-06-03"},
		"0 0 1-31 7 FRI": {"2026-07-01", "2026-07-02"},
		"0 0 10 * 0-7":   {"2026-06-02", "2026-06-03"},
		"0 0 L * TUE#2":  {"2026-06-09", "2026-06-30", "2026-07-14"},
		"0 0 13W * 5L":   {"2026-06-12", "2026-06-26", "2026-07-13"},
		"0 0 31 2 FRI":   {"2027-02-05", "2027-02-12"},
		"0 0 ? * ?":      {"2026-06-02", "2026-06-03"},
	} {
		var slots []string
		for _, day := range days {
			slots = append(slots, day+"T00:00Z")
		}
		requireSlots(t, expr, "UTC", after, slots...)
	}
}

// R7: Parse rejects an expression that matches no date, and accepts one that
// matches a rare date.
func TestParseRejectsImpossibleDates(t *testing.T) {
	longest := []int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for month := 1; month <= 12; month++ {
		for day := 1; day <= 31; day++ {
			for _, item := range []string{"%d", "%dW"} {
				expr := "0 0 " + fmt.Sprintf(item, day) + fmt.Sprintf(" %d *", month)
				requireDayExists(t, expr, month, day <= longest[month])
			}
		}
	}
	for _, expr := range []string{"0 0 30-31 2 *", "0 0 31 4,6,9,11 *", "0 0 31,30W FEB ?", "0 0 31/2 2,4 *"} {
		_, err := cron.Parse(expr, "America/New_York")
		assert.ErrorIs(t, err, cron.ErrNever, expr)
	}
	for _, expr := range []string{"0 0 31 2,3 *", "0 0 30,L 2 *", "0 0 30W,29W 2 *", "0 0 31 2 0", "0 0 * 2 MON#5"} {
		_, err := cron.Parse(expr, "America/New_York")
		assert.NoError(t, err, expr)
	}
}

// R7: Next and Prev return ErrNever outside the years 1 to 9999.
func TestNextAndPrevReturnErrNeverAtHorizon(t *testing.T) {
	for _, zone := range []string{"UTC", "America/New_York", "Pacific/Kiritimati"} {
		s := mustParse(t, "* * * * *", zone)
		for _, after := range []time.Time{parseTime(t, "9999-12-31T23:59:59Z"), time.Unix(1<<60, 0)} {
			_, err := s.Next(after)
			assert.ErrorIs(t, err, cron.ErrNever, "%s %s", zone, after)
			prev, err := s.Prev(after)
			assert.NoError(t, err)
			assert.True(t, prev.Before(after) && prev.Year() == 9999, prev)
		}
		for _, before := range []time.Time{{}, time.Time{}.Add(time.Second), time.Unix(-1<<60, 0)} {
			_, err := s.Prev(before)
			assert.ErrorIs(t, err, cron.ErrNever, "%s %s", zone, before)
			next, err := s.Next(before)
			assert.NoError(t, err)
			assert.True(t, next.After(time.Time{}) && next.Year() == 1, next)
		}
	}
	s := mustParse(t, "0 0 29 2 *", "UTC")
	_, err := s.Next(parseTime(t, "9996-02-29T00:00Z"))
	assert.ErrorIs(t, err, cron.ErrNever)
	_, err = s.Prev(parseTime(t, "0004-02-29T00:00Z"))
	assert.ErrorIs(t, err, cron.ErrNever)
}

// R7: Next and Prev find the rarest dates. February has five of a given weekday
// as rarely as every 40 years.
func TestNextAndPrevFindRareDates(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for weekday := time.Sunday; weekday <= time.Saturday; weekday++ {
		for _, dom := range []string{"*", "30", "31,30W"} { // 30 and 31,30W match no day of February
			s := mustParse(t, fmt.Sprintf("59 23 %s 2 %d#5", dom, weekday), "UTC")
			want := parseTime(t, "1896-01-01T23:59Z")
			for want.Year() < 2140 {
				from := want
				for want = from.AddDate(0, 0, 1); want.Month() != 2 || want.Day() != 29 || want.Weekday() != weekday; {
					want = want.AddDate(0, 0, 1)
				}
				slot, err := s.Next(from)
				require.NoError(t, err)
				require.Equal(t, want, slot)
				if prev, err := s.Prev(slot); assert.NoError(t, err) && from.Month() == 2 {
					assert.Equal(t, from, prev)
				}
			}
		}
	}
}

// R8: Parse accepts five or six fields, seconds first and no year, and the
// seven macros in upper or lower case.
func TestParseAcceptsFieldsAndMacros(t *testing.T) {
	const after = "2026-06-01T12:00Z"
	requireSlots(t, "10 3 4 5 *", "", after, "2027-05-04T03:10Z")
	requireSlots(t, "20 10 3 4 5 *", "", after, "2027-05-04T03:10:20Z")
	requireSlots(t, "0 0 1 1 * *", "", after, "2026-07-01T01:00Z") // the last field is not a year
	requireSlots(t, "\t 10   3 4\t5 * ", "", after, "2027-05-04T03:10Z")
	for macro, slot := range map[string]string{
		"@yearly": "2027-01-01T00:00Z", "@annually": "2027-01-01T00:00Z", "@monthly": "2026-07-01T00:00Z",
		"@weekly": "2026-06-07T00:00Z", "@daily": "2026-06-02T00:00Z", "@midnight": "2026-06-02T00:00Z",
		"@hourly": "2026-06-01T13:00Z", "@DAILY": "2026-06-02T00:00Z", " @Weekly\t": "2026-06-07T00:00Z",
	} {
		requireSlots(t, macro, "", after, slot)
	}
}

// R2, R3: Change describes how a clock change affects a slot.
func TestChangeDescribesAffectedSlots(t *testing.T) {
	for _, c := range []struct {
		expr, zone, slot string
		want             cron.Change
	}{
		{"30 2 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", cron.Change{Kind: "MOVED", LocalTime: "2026-03-08T02:30:00"}},
		{"0 0-22/2 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", cron.Change{Kind: "MOVED", LocalTime: "2026-03-08T02:00:00"}},
		{"30 2,3 * * *", "America/New_York", "2026-03-08T03:30:00-04:00", cron.Change{}},
		{"0 3 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", cron.Change{}},
		{"0 * * * *", "America/New_York", "2026-03-08T03:00:00-04:00", cron.Change{}},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-04T02:30:00+11:00", cron.Change{Kind: "MOVED", LocalTime: "2026-10-04T02:15:00"}},
		{"0 9 * * *", "Pacific/Apia", "2011-12-31T09:00:00+14:00", cron.Change{}}, // R4: the day before is omitted
		{"30 1 * * *", "America/New_York", "2026-11-01T01:30:00-04:00", cron.Change{Kind: "REPEATED", LocalTime: "2026-11-01T01:30:00", Occurrence: 1, Once: true}},
		{"30 1 * * *", "America/New_York", "2026-11-01T01:30:00-05:00", cron.Change{}}, // R2: not a slot
		{"30 * * * *", "America/New_York", "2026-11-01T01:30:00-04:00", cron.Change{Kind: "REPEATED", LocalTime: "2026-11-01T01:30:00", Occurrence: 1}},
		{"30 * * * *", "America/New_York", "2026-11-01T01:30:00-05:00", cron.Change{Kind: "REPEATED", LocalTime: "2026-11-01T01:30:00", Occurrence: 2}},
		{"45 * * * *", "Australia/Lord_Howe", "2026-04-05T01:45:00+10:30", cron.Change{Kind: "REPEATED", LocalTime: "2026-04-05T01:45:00", Occurrence: 2}},
		{"0 2 * * *", "UTC", "2026-03-08T02:00:00Z", cron.Change{}},
		{"0 2 * * *", "America/New_York", "2026-03-09T02:00:00-04:00", cron.Change{}},
		{"0 2 * * *", "America/New_York", "2026-03-09T02:00:00.5-04:00", cron.Change{}},
	} {
		slot, err := time.Parse(time.RFC3339, c.slot)
		require.NoError(t, err)
		require.Equal(t, c.want, mustParse(t, c.expr, c.zone).Change(slot), "%s in %s at %s", c.expr, c.zone, c.slot)
	}
	require.Zero(t, cron.Schedule{}.Change(time.Now()))
}
