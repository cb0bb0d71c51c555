package cron_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// R8: Parse rejects an invalid expression with a message that names the field
// and the value.
func TestParseErrorsNameFieldAndValue(t *testing.T) {
	const notAWeekday = `is neither a number nor a three-letter name such as MON`
	for expr, message := range map[string]string{
		"":                            `expected 5 fields, or 6 with leading seconds, got 0`,
		" \t ":                        `expected 5 fields, or 6 with leading seconds, got 0`,
		"*":                           `expected 5 fields, or 6 with leading seconds, got 1`,
		"* * * *":                     `expected 5 fields, or 6 with leading seconds, got 4`,
		"0 0 0 1 1 * 2026":            `expected 5 fields, or 6 with leading seconds, got 7`,
		"61 * * * *":                  `minute 61 is not in 0-59`,
		"* 24 * * *":                  `hour 24 is not in 0-23`,
		"60 * * * * *":                `second 60 is not in 0-59`,
		"* * 0 * *":                   `day-of-month 0 is not in 1-31`,
		"* * 32 * *":                  `day-of-month 32 is not in 1-31`,
		"* * * 13 *":                  `month 13 is not in 1-12`,
		"* * * * 8":                   `day-of-week 8 is not in 0-7`,
		"100 * * * *":                 `minute 100 is not in 0-59`,
		"005 * * * *":                 `minute "005" has more than two digits`,
		"9999999999999999999 * * * *": `minute 9999999999999999999 is not in 0-59`,
		"0 0 1 1 * 2026":              `day-of-week 2026 is not in 0-7`,
		"x * * * *":                   `minute "x" is not a number`,
		"+5 * * * *":                  `minute "+5" is not a number`,
		"1.5 * * * *":                 `minute "1.5" is not a number`,
		"MON * * * *":                 `minute "MON" is not a number`,
		"* * * foo *":                 `month "foo" is neither a number nor a three-letter name such as FEB`,
		"* * * * JAN":                 `day-of-week "JAN" ` + notAWeekday,
		"* * * * Friday":              `day-of-week "Friday" ` + notAWeekday,
		"* * * * 1MON":                `day-of-week "1MON" ` + notAWeekday,
		"* 22-2 * * *":                `hour "22-2" wraps around; write it as two ranges`,
		"* * * * FRI-MON":             `day-of-week "FRI-MON" wraps around; write it as two ranges`,
		"* * * * FRI-SUN":             `day-of-week "FRI-SUN" wraps around; write it as two ranges`,
		"5- * * * *":                  `minute "5-" is an incomplete range`,
		"-5 * * * *":                  `minute "-5" is an incomplete range`,
		"1-* * * * *":                 `minute "*" is not a number`,
		"1-5-9 * * * *":               `minute "5-9" is not a number`,
		"1,,2 * * * *":                `minute "1,,2" has an empty item`,
		", * * * *":                   `minute "," has an empty item`,
		"*/0 * * * *":                 `minute step 0 is not in 1-99`,
		"*/100 * * * *":               `minute step 100 is not in 1-99`,
		"*/ * * * *":                  `minute step "" is not a number`,
		"*/-2 * * * *":                `minute step "-2" is not a number`,
		"1-5/2/3 * * * *":             `minute step "2/3" is not a number`,
		"?/5 * * * *":                 `minute "?/5": a ? must be the whole field; use * in a list or with a step`,
		"* * ?,5 * *":                 `day-of-month "?": a ? must be the whole field; use * in a list or with a step`,
		"* L * * *":                   `hour "L" is not a number`,
		"* * LW * *":                  `day-of-month "LW" is not supported; use L or, for example, 15W`,
		"* * L-3 * *":                 `day-of-month "L-3" is not supported; use L or, for example, 15W`,
		"* * 0W * *":                  `day-of-month 0 is not in 1-31`,
		"* * 15W5 * *":                `day-of-month "15W5" is not a number`,
		"* * 1-5W * *":                `day-of-month "1-5" is not a number`,
		"* * * * 1#6":                 `day-of-week occurrence 6 is not in 1-5`,
		"* * * * 1#":                  `day-of-week occurrence "" is not a number`,
		"* * * * #1":                  `day-of-week "" ` + notAWeekday,
		"* * * * 1-3#2":               `day-of-week "1-3" ` + notAWeekday,
		"* * * * L":                   `day-of-week L needs a day in front, such as 5L for the last Friday`,
		"* * * * 8L":                  `day-of-week 8 is not in 0-7`,
		"H * * * *":                   `minute "H" is not a number`,
		"@minutely":                   `macro "@minutely" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"@every 5m":                   `macro "@every 5m" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"TZ=UTC 0 0 * * *":            `an expression cannot contain a time zone; set the time zone separately`,
		"CRON_TZ=UTC 0 0 * * *":       `an expression cannot contain a time zone; set the time zone separately`,
		"* * * * *\n":                 `the character '\n' is not allowed in an expression`,
		"* * *\u00a0* *":              `the character '\u00a0' is not allowed in an expression`,
		"* * * * \u017fUN":            `the character 'ſ' is not allowed in an expression`,
		"\xff * * * *":                `the character '�' is not allowed in an expression`,
		"0 0 31 feb,APR *":            `day-of-month "31" does not exist in month "feb,APR": never comes due`,
		strings.Repeat("*", 1001):     `the expression has 1001 characters; at most 1000 are allowed`,
	} {
		s, err := cron.Parse(expr, "UTC")
		assert.EqualError(t, err, message, "%q", expr)
		assert.NotErrorIs(t, err, cron.ErrZone, "%q", expr)
		assert.Zero(t, s, "%q", expr)
	}
}

// R8: spellings of the same values have the same slots.
func TestParseAcceptsEquivalentSpellings(t *testing.T) {
	from, to := parseTime(t, "2024-01-01T00:00Z"), parseTime(t, "2024-12-31T00:00Z")
	for _, same := range [][]string{
		{"*/15 * * * *", "0/15 * * * *", "00,15,30,45 * * * *", "0-59/15 * * * *", "45,30,15,0,0 * * * *", "0-14/15,15,30-59/15 * * * *"},
		{"0 */60 * * *", "0 0 * * *", "0 */99 * * *", "00 0-23/24 * * *"},
		{"0 0 1/10 * *", "0 0 */10 * *", "0 0 1,11,21,31 * *"},
		{"0 0 1 */4 *", "0 0 1 1/4 *", "0 0 1 JAN,may,Sep *"},
		{"0 0 * * SUN", "0 0 * * 0", "0 0 * * 7", "0 0 * * 7-7", "0 0 * * 7-0", "0 0 * * sun-SUN", "0 0 * * */7"},
		{"0 0 * * 5-7", "0 0 * * 0,5,6", "0 0 * * FRI-7", "0 0 * * fri-sat,sun"},
		{"0 0 * * 7-2", "0 0 * * 0-2", "0 0 * * SUN-TUE"},
		{"0 0 * * 7/2", "0 0 * * */2", "0 0 * * 0/2", "0 0 * * SUN/2", "0 0 * * 0,2,4,6"},
		{"0 0 * * 4-7/3", "0 0 * * 0,4"},
		{"0 0 * * 5/2", "0 0 * * 5"}, // an open step ends on Saturday
		{"0 0 * * 7#2", "0 0 * * 0#2", "0 0 * * sun#2", "0 0 * * SUN#2,0#2"},
		{"0 0 * * 5L", "0 0 * * friL", "0 0 * * 5l", "0 0 * * FRIL,5L"},
		{"0 0 L,15w * *", "0 0 15W,l,L * *"},
		{"0 0 31W,30W 1,4 *", "0 0 30W,31W JAN,APR ?"},
	} {
		want, err := mustParse(t, same[0], "UTC").Between(from, to)
		require.NoError(t, err)
		require.NotEmpty(t, want)
		for _, expr := range same[1:] {
			got, err := mustParse(t, expr, "UTC").Between(from, to)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%q and %q", same[0], expr)
		}
	}
}

// T4: Parse accepts IANA names of zones. ErrZone distinguishes an invalid zone
// from an invalid expression.
func TestParseRejectsInvalidZones(t *testing.T) {
	for zone, message := range map[string]string{
		"Europe/Berln":     `unknown time zone "Europe/Berln"`,
		" UTC":             `unknown time zone " UTC"`,
		"Local":            `unknown time zone "Local": it differs between hosts; use a name such as Europe/Berlin`,
		"../Europe/Berlin": `unknown time zone "../Europe/Berlin": time: invalid location name`,
		"+02:00":           `unknown time zone "+02:00"`,
		// Files of a host that are not zones, or not the same on each host.
		"local":                  `unknown time zone "local": it differs between hosts; use a name such as Europe/Berlin`,
		"localtime":              `unknown time zone "localtime": it differs between hosts; use a name such as Europe/Berlin`,
		"LocalTime":              `unknown time zone "LocalTime": it differs between hosts; use a name such as Europe/Berlin`,
		"posixrules":             `unknown time zone "posixrules": it differs between hosts; use a name such as Europe/Berlin`,
		"Factory":                `unknown time zone "Factory": it means that no zone has been set; use a name such as Europe/Berlin`,
		"FACTORY":                `unknown time zone "FACTORY": it means that no zone has been set; use a name such as Europe/Berlin`,
		"right/Europe/Berlin":    `unknown time zone "right/Europe/Berlin": its times count leap seconds; use "Europe/Berlin"`,
		"posix/Europe/Berlin":    `unknown time zone "posix/Europe/Berlin": not every host has it; use "Europe/Berlin"`,
		"Posix/America/New_York": `unknown time zone "Posix/America/New_York": not every host has it; use "America/New_York"`,
		"posix/localtime":        `unknown time zone "posix/localtime": it differs between hosts; use a name such as Europe/Berlin`,
		"right/Factory":          `unknown time zone "right/Factory": it means that no zone has been set; use a name such as Europe/Berlin`,
		"./localtime":            `unknown time zone "./localtime"`,
		"Europe/./Berlin":        `unknown time zone "Europe/./Berlin"`,
		"Europe//Berlin":         `unknown time zone "Europe//Berlin"`,
	} {
		s, err := cron.Parse("0 0 * * *", zone)
		assert.EqualError(t, err, message)
		assert.ErrorIs(t, err, cron.ErrZone)
		assert.Zero(t, s)
	}
	_, err := cron.Parse("0 0 * * *", "Europe") // a directory on hosts with zone files
	assert.ErrorIs(t, err, cron.ErrZone)

	assert.Equal(t, time.UTC, mustParse(t, "@daily", "").Location())
	assert.Equal(t, time.UTC, mustParse(t, "@daily", "UTC").Location())
	assert.Equal(t, "Asia/Tokyo", mustParse(t, "@daily", "Asia/Tokyo").Location().String())
}

func TestZeroScheduleReturnsErrors(t *testing.T) {
	var s cron.Schedule
	now := parseTime(t, "2026-01-01T00:00Z")
	_, err := s.Next(now)
	assert.ErrorContains(t, err, "not created by Parse")
	_, err = s.Prev(now)
	assert.Error(t, err)
	_, err = s.Between(now, now)
	assert.Error(t, err)
	_, err = s.Count(now, now, 1)
	assert.Error(t, err)
	assert.Equal(t, time.UTC, s.Location())
}

func TestBetweenIsHalfOpenAndBounded(t *testing.T) {
	s := mustParse(t, "0 * * * *", "UTC")
	one, two, four := parseTime(t, "2026-01-01T01:00Z"), parseTime(t, "2026-01-01T02:00Z"), parseTime(t, "2026-01-01T04:00Z")
	for _, c := range []struct {
		from, to time.Time
		want     []time.Time
	}{
		{one, two, []time.Time{one}},
		{one.Add(-1), two, []time.Time{one}},
		{one, two.Add(1), []time.Time{one, two}},
		{one.Add(1), two, nil},
		{one, one, nil},
		{four, one, nil},
		{two, four, []time.Time{two, parseTime(t, "2026-01-01T03:00Z")}},
	} {
		got, err := s.Between(c.from, c.to)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "[%s, %s)", c.from, c.to)
	}

	every := mustParse(t, "* * * * * *", "UTC")
	got, err := every.Between(one, one.Add(100_000*time.Second))
	require.NoError(t, err)
	assert.Len(t, got, 100_000)
	_, err = every.Between(one, one.Add(100_001*time.Second))
	assert.EqualError(t, err, "more than 100000 slots from 2026-01-01T01:00:00Z to 2026-01-02T04:46:41Z")
	got, err = s.Between(parseTime(t, "9999-12-31T22:30Z"), time.Unix(1<<60, 0))
	require.NoError(t, err)
	assert.Len(t, got, 1, "the horizon ends the slots without an error")
}

// M3: Count is exact below its limit and stops there.
func TestCountStopsAtLimit(t *testing.T) {
	s := mustParse(t, "0 * * * *", "America/New_York")
	from := parseTime(t, "2026-10-31T00:00-04:00") // the next day has 25 hours
	for _, c := range []struct {
		to    time.Time
		limit int
		want  int
	}{
		{from, 1000, 1},
		{from.Add(-1), 1000, 0},
		{from.Add(time.Hour - 1), 1000, 1},
		{from.Add(time.Hour), 1000, 2},
		{parseTime(t, "2026-11-01T23:59-05:00"), 1000, 49},
		{parseTime(t, "2026-11-01T23:59-05:00"), 49, 49},
		{parseTime(t, "2026-11-01T23:59-05:00"), 48, 48},
		{parseTime(t, "9999-12-31T23:59Z"), 1000, 1000},
		{parseTime(t, "9999-12-31T23:59Z"), 0, 0},
		{from.AddDate(0, 0, -1), 1000, 0},
	} {
		got, err := s.Count(from, c.to, c.limit)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "to %s, limit %d", c.to, c.limit)
	}
	_, err := s.Count(from, from, -1)
	assert.EqualError(t, err, "the limit -1 is negative")
}

// Prev is slowest for a schedule with many slots in a short time, followed by a
// long time without any.
func TestPrevFindsLastSlotBeforeLongPause(t *testing.T) {
	for expr, want := range map[string]string{
		"* * * * 1 *":     "2026-01-31T23:59:59Z",
		"* * 1 1 *":       "2026-01-01T23:59:00Z",
		"* 0 0 1 1 *":     "2026-01-01T00:00:59Z",
		"*/7 * 5 29 2 *":  "2024-02-29T05:59:56Z",
		"59 59 23 31 1 ?": "2026-01-31T23:59:59Z",
	} {
		s := mustParse(t, expr, "UTC")
		got, err := s.Prev(parseTime(t, "2026-12-31T00:00Z"))
		require.NoError(t, err)
		assert.Equal(t, parseTime(t, want), got, expr)
	}
}

// The race detector reports a violation.
func TestScheduleIsSafeForConcurrentUse(t *testing.T) {
	s := mustParse(t, "*/20 1-3 * * SUN#1,MON", "America/New_York")
	want, err := s.Between(parseTime(t, "2026-01-01T00:00Z"), parseTime(t, "2027-01-01T00:00Z"))
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := 1; i < len(want); i++ {
				next, err := s.Next(want[i-1])
				assert.NoError(t, err)
				assert.Equal(t, want[i], next)
				prev, err := s.Prev(want[i])
				assert.NoError(t, err)
				assert.Equal(t, want[i-1], prev)
			}
		})
	}
	group.Wait()
}
