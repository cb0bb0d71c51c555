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

// R8: what is refused, and that the message says which field and value, in words for whoever wrote the expression.
func TestR8Messages(t *testing.T) {
	const openWeekday = `is neither a number nor a three-letter name such as MON`
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
		"* * * * JAN":                 `day-of-week "JAN" ` + openWeekday,
		"* * * * Friday":              `day-of-week "Friday" ` + openWeekday,
		"* * * * 1MON":                `day-of-week "1MON" ` + openWeekday,
		"* 22-2 * * *":                `hour "22-2" wraps around; write it as two ranges`,
		"* * * * FRI-MON":             `day-of-week "FRI-MON" wraps around; write it as two ranges`,
		"* * * * FRI-SUN":             `day-of-week "FRI-SUN" wraps around; write it as two ranges`,
		"5- * * * *":                  `minute "5-" lacks an end of its range`,
		"-5 * * * *":                  `minute "-5" lacks an end of its range`,
		"1-* * * * *":                 `minute "*" is not a number`,
		"1-5-9 * * * *":               `minute "5-9" is not a number`,
		"1,,2 * * * *":                `minute "1,,2" has an empty item`,
		", * * * *":                   `minute "," has an empty item`,
		"*/0 * * * *":                 `minute step 0 is not in 1-99`,
		"*/100 * * * *":               `minute step 100 is not in 1-99`,
		"*/ * * * *":                  `minute step "" is not a number`,
		"*/-2 * * * *":                `minute step "-2" is not a number`,
		"1-5/2/3 * * * *":             `minute step "2/3" is not a number`,
		"?/5 * * * *":                 `minute "?/5": a ? stands alone; write * in a list or before a step`,
		"* * ?,5 * *":                 `day-of-month "?": a ? stands alone; write * in a list or before a step`,
		"* L * * *":                   `hour "L" is not a number`,
		"* * LW * *":                  `day-of-month "LW" is not supported; of this kind there are L and, for example, 15W`,
		"* * L-3 * *":                 `day-of-month "L-3" is not supported; of this kind there are L and, for example, 15W`,
		"* * 0W * *":                  `day-of-month 0 is not in 1-31`,
		"* * 15W5 * *":                `day-of-month "15W5" is not a number`,
		"* * 1-5W * *":                `day-of-month "1-5" is not a number`,
		"* * * * 1#6":                 `day-of-week week 6 is not in 1-5`,
		"* * * * 1#":                  `day-of-week week "" is not a number`,
		"* * * * #1":                  `day-of-week "" ` + openWeekday,
		"* * * * 1-3#2":               `day-of-week "1-3" ` + openWeekday,
		"* * * * L":                   `day-of-week L needs a day in front, such as 5L for the last Friday`,
		"* * * * 8L":                  `day-of-week 8 is not in 0-7`,
		"H * * * *":                   `minute "H" is not a number`,
		"@minutely":                   `macro "@minutely" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"@every 5m":                   `macro "@every 5m" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"TZ=UTC 0 0 * * *":            `a time zone has no place in an expression; it is given beside it`,
		"CRON_TZ=UTC 0 0 * * *":       `a time zone has no place in an expression; it is given beside it`,
		"* * * * *\n":                 `the character '\n' has no place in an expression`,
		"* * *\u00a0* *":              `the character '\u00a0' has no place in an expression`,
		"* * * * \u017fUN":            `the character 'ſ' has no place in an expression`,
		"\xff * * * *":                `the character '�' has no place in an expression`,
		"0 0 31 feb,APR *":            `day-of-month "31" does not exist in month "feb,APR": never comes due`,
		strings.Repeat("*", 1001):     `the expression has 1001 characters; at most 1000 are allowed`,
	} {
		s, err := cron.Parse(expr, "UTC")
		assert.EqualError(t, err, message, "%q", expr)
		assert.NotErrorIs(t, err, cron.ErrZone, "%q", expr)
		assert.Zero(t, s, "%q", expr)
	}
}

// R8: what is accepted, by the value and not by the spelling.
func TestR8SpellingsOfTheSame(t *testing.T) {
	from, to := at(t, "2024-01-01T00:00Z"), at(t, "2024-12-31T00:00Z")
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
		want, err := parse(t, same[0], "UTC").Between(from, to)
		require.NoError(t, err)
		require.NotEmpty(t, want)
		for _, expr := range same[1:] {
			got, err := parse(t, expr, "UTC").Between(from, to)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%q and %q", same[0], expr)
		}
	}
}

// T4: zones are IANA names; a caller can tell a wrong zone from a wrong expression.
func TestZones(t *testing.T) {
	for zone, message := range map[string]string{
		"Europe/Berln":     `unknown time zone "Europe/Berln"`,
		" UTC":             `unknown time zone " UTC"`,
		"Local":            `unknown time zone "Local": it differs from host to host; give a name such as Europe/Berlin`,
		"../Europe/Berlin": `unknown time zone "../Europe/Berlin": time: invalid location name`,
		"+02:00":           `unknown time zone "+02:00"`,
	} {
		s, err := cron.Parse("0 0 * * *", zone)
		assert.EqualError(t, err, message)
		assert.ErrorIs(t, err, cron.ErrZone)
		assert.Zero(t, s)
	}
	_, err := cron.Parse("0 0 * * *", "Europe") // a directory where there are zone files
	assert.ErrorIs(t, err, cron.ErrZone)

	assert.Equal(t, time.UTC, parse(t, "@daily", "").Location())
	assert.Equal(t, time.UTC, parse(t, "@daily", "UTC").Location())
	assert.Equal(t, "Asia/Tokyo", parse(t, "@daily", "Asia/Tokyo").Location().String())
}

func TestZeroScheduleIsAnErrorAndNoPanic(t *testing.T) {
	var s cron.Schedule
	now := at(t, "2026-01-01T00:00Z")
	_, err := s.Next(now)
	assert.ErrorContains(t, err, "does not come from Parse")
	_, err = s.Prev(now)
	assert.Error(t, err)
	_, err = s.Between(now, now)
	assert.Error(t, err)
	_, err = s.Count(now, now, 1)
	assert.Error(t, err)
	assert.Equal(t, time.UTC, s.Location())
}

func TestBetweenIsHalfOpenAndBounded(t *testing.T) {
	s := parse(t, "0 * * * *", "UTC")
	one, two, four := at(t, "2026-01-01T01:00Z"), at(t, "2026-01-01T02:00Z"), at(t, "2026-01-01T04:00Z")
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
		{two, four, []time.Time{two, at(t, "2026-01-01T03:00Z")}},
	} {
		got, err := s.Between(c.from, c.to)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "[%s, %s)", c.from, c.to)
	}

	every := parse(t, "* * * * * *", "UTC")
	got, err := every.Between(one, one.Add(100_000*time.Second))
	require.NoError(t, err)
	assert.Len(t, got, 100_000)
	_, err = every.Between(one, one.Add(100_001*time.Second))
	assert.EqualError(t, err, "more than 100000 slots from 2026-01-01T01:00:00Z to 2026-01-02T04:46:41Z")
	got, err = s.Between(at(t, "9999-12-31T22:30Z"), time.Unix(1<<60, 0))
	require.NoError(t, err)
	assert.Len(t, got, 1, "the end of time is the end of the slots, and no error")
}

// M3: counting costs no more than the limit, and is exact below it.
func TestM3CountStopsAtTheLimit(t *testing.T) {
	s := parse(t, "0 * * * *", "America/New_York")
	from := at(t, "2026-10-31T00:00-04:00") // the day before one of 25 hours
	for _, c := range []struct {
		to    time.Time
		limit int
		want  int
	}{
		{from, 1000, 1},
		{from.Add(-1), 1000, 0},
		{from.Add(time.Hour - 1), 1000, 1},
		{from.Add(time.Hour), 1000, 2},
		{at(t, "2026-11-01T23:59-05:00"), 1000, 49},
		{at(t, "2026-11-01T23:59-05:00"), 49, 49},
		{at(t, "2026-11-01T23:59-05:00"), 48, 48},
		{at(t, "9999-12-31T23:59Z"), 1000, 1000},
		{at(t, "9999-12-31T23:59Z"), 0, 0},
		{from.AddDate(0, 0, -1), 1000, 0},
	} {
		got, err := s.Count(from, c.to, c.limit)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "to %s, limit %d", c.to, c.limit)
	}
	_, err := s.Count(from, from, -1)
	assert.EqualError(t, err, "the limit -1 is negative")
}

// A schedule that is dense for a short time and silent for long is the worst case for looking back.
func TestPrevOfDenseAndSilentSchedules(t *testing.T) {
	for expr, want := range map[string]string{
		"* * * * 1 *":     "2026-01-31T23:59:59Z",
		"* * 1 1 *":       "2026-01-01T23:59:00Z",
		"* 0 0 1 1 *":     "2026-01-01T00:00:59Z",
		"*/7 * 5 29 2 *":  "2024-02-29T05:59:56Z",
		"59 59 23 31 1 ?": "2026-01-31T23:59:59Z",
	} {
		s := parse(t, expr, "UTC")
		got, err := s.Prev(at(t, "2026-12-31T00:00Z"))
		require.NoError(t, err)
		assert.Equal(t, at(t, want), got, expr)
	}
}

// One Schedule serves many goroutines: the race detector watches.
func TestScheduleIsSafeForConcurrentUse(t *testing.T) {
	s := parse(t, "*/20 1-3 * * SUN#1,MON", "America/New_York")
	want, err := s.Between(at(t, "2026-01-01T00:00Z"), at(t, "2027-01-01T00:00Z"))
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
