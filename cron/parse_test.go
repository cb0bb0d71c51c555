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
	const count = `expected 5 fields, or 6 with leading seconds, got `
	const notForTwo = `? is allowed in the two day fields only, and there is no year field; `
	const notInSix = `? is allowed in the two day fields only, and there is no year field; six fields begin with seconds`
	const six = `six fields begin with seconds`
	for expr, message := range map[string]string{
		// the whole expression
		"":                          `the expression is empty`,
		" \t\r\n ":                  `the expression is empty`,
		"*":                         count + `1`,
		"* * * *":                   count + `4`,
		"* * *\n* *":                `the character '\n' is not allowed in an expression`,
		"* * *\u00a0* *":            `the character '\u00a0' is not allowed in an expression`,
		"* * * * \u017fUN":          `the character 'ſ' is not allowed in an expression`,
		"\xff * * * *":              `the character '�' is not allowed in an expression`,
		strings.Repeat("*", 1001):   `the expression has 1001 characters; at most 1000 are allowed`,
		strings.Repeat("é", 1001):   `the expression has 1001 characters; at most 1000 are allowed`,
		strings.Repeat("é", 1000):   `the character 'é' is not allowed in an expression`,
		"@fortnightly":              `macro "@fortnightly" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"@":                         `macro "@" is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly`,
		"@Minutely":                 `macro "@Minutely" is not supported; write "* * * * *"`,
		"@every 5m":                 `"@every 5m" is an interval and not an expression; use Every`,
		"@reboot":                   `"@reboot" is not a time; do the work when the program starts`,
		"@daily\troot":              `macro "@daily" must be the whole expression; remove "root"`,
		"TZ=UTC 0 0 * * *":          `an expression cannot contain a time zone; remove "TZ=UTC" and set TimeZone to "UTC"`,
		"CRON_TZ=Asia/Tokyo @daily": `an expression cannot contain a time zone; remove "CRON_TZ=Asia/Tokyo" and set TimeZone to "Asia/Tokyo"`,
		"cron_tz=UTC * * * * *":     `an expression cannot contain a time zone; remove "cron_tz=UTC" and set TimeZone to "UTC"`,
		"0 0 31 feb,APR *":          `day-of-month "31" does not exist in month "feb,APR": never comes due`,
		"0 0 0 31 feb *":            `day-of-month "31" does not exist in month "feb": never comes due`,
		"0 0 L-30 2,4 *":            `day-of-month "L-30" does not exist in month "2,4": never comes due`,
		// values
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
		"x * * * *":                   `minute "x" is not a number`,
		"+5 * * * *":                  `minute "+5" is not a number`,
		"1.5 * * * *":                 `minute "1.5" is not a number`,
		"MON * * * *":                 `minute "MON" is not a number`,
		"* * * foo *":                 `month "foo" is neither a number nor a three-letter name such as FEB`,
		"* * * * JAN":                 `day-of-week "JAN" ` + notAWeekday,
		"* * * * 1MON":                `day-of-week "1MON" ` + notAWeekday,
		"* * * * Friday":              `day-of-week "Friday" is not a three-letter name; write FRI`,
		"* * * * Thurs":               `day-of-week "Thurs" is not a three-letter name; write THU`,
		"* * * * MON-FRIDAY":          `day-of-week "MON-FRIDAY": "FRIDAY" is not a three-letter name; write FRI`,
		"* * * Sept *":                `month "Sept" is not a three-letter name; write SEP`,
		"* * * Mayor *":               `month "Mayor" is neither a number nor a three-letter name such as FEB`,
		"1,,2 * * * *":                `minute "1,,2" has an empty item`,
		", * * * *":                   `minute "," has an empty item`,
		"H * * * *":                   `minute "H": H is not supported; write a number in 0-59`,
		"* h/6 * * *":                 `hour "h/6": H is not supported; write "*/6"`,
		"H(0-29)/10 * * * *":          `minute "H(0-29)/10": H is not supported; write a number in 0-59`,
		// question marks
		"? * * * *":   `minute "?": ` + notForTwo + `write "*"`,
		"* ? * * *":   `hour "?": ` + notForTwo + `write "*"`,
		"* * * ? *":   `month "?": ` + notForTwo + `write "*"`,
		"? * * * * *": `second "?": ` + notForTwo + `write "*"`,
		"?/5 * * * *": `minute "?/5": ` + notForTwo + `write "*/5"`,
		"* * ?/5 * *": `day-of-month "?/5": a ? must be the whole field; use * in a list or with a step`,
		"* * ?,5 * *": `day-of-month "?": a ? must be the whole field; use * in a list or with a step`,
		// ranges
		"* 22-2 * * *":     `hour "22-2" wraps around; write "22-23,0-2"`,
		"* 1,22-2/2 * * *": `hour "22-2/2" wraps around; write "22,0-2/2"`,
		"* * * 11-2 *":     `month "11-2" wraps around; write "11-12,1-2"`,
		"* * * dec-FEB *":  `month "dec-FEB" wraps around; write "DEC,JAN-FEB"`,
		"* * * * FRI-MON":  `day-of-week "FRI-MON" wraps around; write "FRI-SUN,MON"`,
		"* * * * 5-1":      `day-of-week "5-1" wraps around; write "5-6,0-1"`,
		"* * * * 5-0":      `day-of-week "5-0" wraps around; write "5-6,0"`,
		"* * * * FRI-1":    `day-of-week "FRI-1" wraps around; write "FRI-SUN,MON"`,
		"* * * * FRI-0":    `day-of-week "FRI-0" wraps around; write "FRI-SUN"`,
		"* 9-24 * * *":     `hour "9-24": 24 is not in 0-23`,
		"5- * * * *":       `minute "5-" is an incomplete range`,
		"-5 * * * *":       `minute "-5" is an incomplete range`,
		"- * * * *":        `minute "-" is an incomplete range`,
		"1-* * * * *":      `minute "1-*": "*" is not a number`,
		"1-5-9 * * * *":    `minute "1-5-9": "5-9" is not a number`,
		// steps
		"*/0 * * * *":                    `minute "*/0": the step 0 is not in 1-60`,
		"*/90 * * * *":                   `minute "*/90": the step 90 is not in 1-60; for a longer interval, use Every or a step in hour`,
		"*/100 * * * *":                  `minute "*/100": the step 100 is not in 1-60; for a longer interval, use Every or a step in hour`,
		"*/120 * * * *":                  `minute "*/120": the step 120 is not in 1-60; write 0 in minute and */2 in hour`,
		"5/120 * * * *":                  `minute "5/120": the step 120 is not in 1-60; for a longer interval, use Every or a step in hour`,
		"*/300 * * * *":                  `minute "*/300": the step 300 is not in 1-60; for a longer interval, use Every or a step in hour`,
		"*/90 * * * * *":                 `second "*/90": the step 90 is not in 1-60; for a longer interval, use Every or a step in minute`,
		"*/180 * * * * *":                `second "*/180": the step 180 is not in 1-60; write 0 in second and */3 in minute`,
		"0 */36 * * *":                   `hour "*/36": the step 36 is not in 1-24; for a longer interval, use Every or a step in day-of-month`,
		"0 0 */45 * *":                   `day-of-month "*/45": the step 45 is not in 1-31; for a longer interval, use Every or a step in month`,
		"0 0 1 */24 *":                   `month "*/24": the step 24 is not in 1-12; an expression has no year field`,
		"0 0 * * */14":                   `day-of-week "*/14": the step 14 is not in 1-7; for a longer interval, use Every`,
		"*/99999999999999999999 * * * *": `minute "*/99999999999999999999": the step 99999999999999999999 is not in 1-60; for a longer interval, use Every or a step in hour`,
		"*/015 * * * *":                  `minute "*/015": the step "015" has more than two digits`,
		"*/ * * * *":                     `minute "*/" has no step after /`,
		"1-5/ * * * *":                   `minute "1-5/" has no step after /`,
		"/5 * * * *":                     `minute "/5" has no value before /; write "*/5"`,
		"/ * * * *":                      `minute "/" has no value before /`,
		"/x * * * *":                     `minute "/x" has no value before /`,
		"*/-2 * * * *":                   `minute "*/-2": the step "-2" is not a number`,
		"1-5/2/3 * * * *":                `minute "1-5/2/3": the step "2/3" is not a number`,
		// special days
		"* L * * *":      `hour "L" is not a number`,
		"* * 0W * *":     `day-of-month "0W": 0 is not in 1-31`,
		"* * 15W5 * *":   `day-of-month "15W5" is not a number`,
		"* * 1-5W * *":   `day-of-month "1-5W": "1-5" is not a number`,
		"* * W * *":      `day-of-month "W" has no day before W; write, for example, 15W`,
		"* * w15 * *":    `day-of-month "w15": W follows the day; write 15W`,
		"* * WL * *":     `day-of-month "WL" is not supported; write LW for the last weekday of the month`,
		"* * L-3W * *":   `day-of-month "L-3W" is not supported; write LW for the last weekday of the month`,
		"* * L3 * *":     `day-of-month "L3" is not supported; write L-3 for that many days before the last one`,
		"* * L- * *":     `day-of-month "L-" has no number of days from 1 to 30; write L for the last day, or L-1 for the day before it`,
		"* * l-0 * *":    `day-of-month "l-0" has no number of days from 1 to 30; write L for the last day, or L-1 for the day before it`,
		"* * L-31 * *":   `day-of-month "L-31": 31 is not in 1-30`,
		"* * L-x * *":    `day-of-month "L-x": "x" is not a number`,
		"* * 25-L * *":   `day-of-month "25-L": a range cannot end with L; write "25-31"`,
		"* * * * 1#6":    `day-of-week "1#6": the occurrence 6 is not in 1-5`,
		"* * * * 1#":     `day-of-week "1#" has no number after #; write, for example, 5#2 for the second Friday of the month`,
		"* * * * #1":     `day-of-week "#1" has no day before #; write, for example, 5#2 for the second Friday of the month`,
		"* * * * #6":     `day-of-week "#6" has no day before #; write, for example, 5#2 for the second Friday of the month`,
		"* * * * 1-3#2":  `day-of-week "1-3#2": "1-3" ` + notAWeekday,
		"* * * * L":      `day-of-week "L" needs a day in front, such as 5L for the last Friday`,
		"* * * * 8L":     `day-of-week "8L": 8 is not in 0-7`,
		"* * * * 5#L":    `day-of-week "5#L" is not supported; write 5L for the last Friday of the month`,
		"* * * * SUN#-1": `day-of-week "SUN#-1" is not supported; write SUNL for the last Sunday of the month`,
		"* * * * L5":     `day-of-week "L5": L follows the day; write 5L for the last Friday of the month`,
		"* * * * L-MON":  `day-of-week "L-MON": L follows the day; write MONL for the last Monday of the month`,
		// five fields with something behind them
		"0 10 * * ? *":                   `month "?": ` + notInSix + `: if the last one is a year, write "0 10 * * ?"`,
		"0 10 ? * MON-FRI *":             `hour "?": ` + notInSix + `: if the last one is a year, write "0 10 ? * MON-FRI"`,
		"0 18 ? * 2-6 2026":              `hour "?": ` + notInSix + `, without a year: write "0 18 ? * 2-6", where day-of-week 1 is Monday`,
		"0 0 1 1 * 2026":                 `day-of-week 2026 is not in 0-7; ` + six + `, without a year: write "0 0 1 1 *"`,
		"0 0 1 1 * 2026-2030/2":          `day-of-week "2026-2030/2": 2026 is not in 0-7; ` + six + `, without a year: write "0 0 1 1 *"`,
		"0 2 * * MON 5":                  `month "MON" is neither a number nor a three-letter name such as FEB; ` + six,
		"0 0 1 1 * UTC":                  `day-of-week "UTC" ` + notAWeekday + `; ` + six + `: set TimeZone to "UTC" and write "0 0 1 1 *"`,
		"0 0 * * * Europe/Berlin":        `day-of-week "Europe/Berlin": "Europe" ` + notAWeekday + `; ` + six + `: set TimeZone to "Europe/Berlin" and write "0 0 * * *"`,
		"30 2 * * * root":                `day-of-week "root" ` + notAWeekday + `; ` + six + `, without a user or a command: write "30 2 * * *"`,
		"30 2 1 * * /usr/bin/backup":     `day-of-week "/usr/bin/backup" has no value before /; ` + six + `, without a user or a command: write "30 2 1 * *"`,
		"0 0 5 1 * 8":                    `day-of-week 8 is not in 0-7`,
		"0 0 24 * * *":                   `hour 24 is not in 0-23; ` + six + `: if the last one is a year, write "0 0 24 * *"`,
		"0 0 0 1 1 * 2026":               count + `7; there is no year field: write "0 0 0 1 1 *"`,
		"0 0 12 ? * 2-6 *":               count + `7; there is no year field: write "0 0 12 ? * 2-6", where day-of-week 1 is Monday`,
		"0 2 * * * root /bin/backup":     count + `7; an expression has no user or command: write "0 2 * * *"`,
		"0 2 * * * /bin/backup --now -v": count + `8; an expression has no user or command: write "0 2 * * *"`,
		"0 0 2 * * * /bin/backup":        count + `7; an expression has no user or command: write "0 0 2 * * *"`,
		"a b c d e f g":                  count + `7`,
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
		{"0 0 * * *", "0 */24 * * *", "00 0-23/24 * * *", "*/60 0 * * *", "0-5/60 0/24 * * *", " \r\n0 0 * * *\t\n", "\n@daily\n"},
		{"0 0 1/10 * *", "0 0 */10 * *", "0 0 1,11,21,31 * *"},
		{"0 0 1 */4 *", "0 0 1 1/4 *", "0 0 1 JAN,may,Sep *"},
		{"0 0 * * SUN", "0 0 * * 0", "0 0 * * 7", "0 0 * * 7-7", "0 0 * * 7-0", "0 0 * * sun-SUN", "0 0 * * */7"},
		{"0 0 * * 5-7", "0 0 * * 0,5,6", "0 0 * * FRI-7", "0 0 * * fri-sat,sun"},
		{"0 0 * * FRI-SUN", "0 0 * * 5-SUN", "0 0 * * fri-sun", "0 0 * * 5-7", "0 0 * * FRI,SAT-SUN"},
		{"0 0 * * SAT-SUN", "0 0 * * SAT,SUN"},
		{"0 0 * * MON-SUN", "0 0 * * 1-7", "0 0 * * *", "0 0 * * SUN,MON-SAT", "0 0 1 * MON-SUN"},
		{"0 0 * * SUN", "0 0 * * SUN-SUN", "0 0 * * 0-SUN", "0 0 * * 7-SUN"},
		{"0 0 * * 5-SUN/2", "0 0 * * FRI,SUN"},
		{"0 0 * * 7-2", "0 0 * * 0-2", "0 0 * * SUN-TUE"},
		{"0 0 * * 7/2", "0 0 * * */2", "0 0 * * 0/2", "0 0 * * SUN/2", "0 0 * * 0,2,4,6"},
		{"0 0 * * 4-7/3", "0 0 * * 0,4"},
		{"0 0 * * 5/2", "0 0 * * 5"}, // an open step ends on Saturday
		{"0 0 * * 7#2", "0 0 * * 0#2", "0 0 * * sun#2", "0 0 * * SUN#2,0#2"},
		{"0 0 * * 5L", "0 0 * * friL", "0 0 * * 5l", "0 0 * * FRIL,5L"},
		{"0 0 L,15w * *", "0 0 15W,l,L * *"},
		{"0 0 31W,30W 1,4 *", "0 0 30W,31W JAN,APR ?"},
		{"0 0 LW * *", "0 0 lw * ?", "0 0 LW,LW * *"},
		{"0 0 L-3 * *", "0 0 l-03 * *", "0 0 L-3,l-3 * *"},
		{"0 0 30,L-3 2 *", "0 0 L-3,L-30 2 *", "0 0 L-3 2 *"},
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
		"../Europe/Berlin": `unknown time zone "../Europe/Berlin": it is a path; use a name such as Europe/Berlin`,
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
		"./localtime":            `unknown time zone "./localtime": it is a path; use a name such as Europe/Berlin`,
		"Europe/./Berlin":        `unknown time zone "Europe/./Berlin": it is a path; use a name such as Europe/Berlin`,
		"Europe/Berlin/":         `unknown time zone "Europe/Berlin/": it is a path; use a name such as Europe/Berlin`,
		`Europe\Berlin`:          `unknown time zone "Europe\\Berlin": it is a path; use a name such as Europe/Berlin`,
		"Europe//Berlin":         `unknown time zone "Europe//Berlin": it is a path; use a name such as Europe/Berlin`,
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
