package cron

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDescribe(t *testing.T) {
	for expr, want := range map[string]string{
		// all hours
		"* * * * *":         "Every minute",
		"*/15 * * * *":      "Every 15 minutes",
		"*/5 * * * * *":     "Every 5 seconds",
		"* * * * * *":       "Every second",
		"30 * * * * *":      "Every minute at second 30",
		"0 * * * *":         "Every hour",
		"@hourly":           "Every hour",
		"30 * * * *":        "Every hour at minute 30",
		"0,30 * * * *":      "Every 30 minutes",
		"10,40 * * * *":     "Every hour at minutes 10 and 40",
		"15 30 * * * *":     "Every hour at minute 30 and second 15",
		"0 0-23 * * *":      "Every hour",
		"5-10 * * * *":      "Every hour at minutes 5 to 10",
		"5-7,20,30 * * * *": "Every hour at minutes 5 to 7, 20 and 30",
		// steps that do not divide an hour evenly
		"*/7 * * * *":    "Every hour at minutes 0, 7, 14 and so on to 56",
		"*/25 * * * *":   "Every hour at minutes 0, 25 and 50",
		"1-59/2 * * * *": "Every hour at minutes 1, 3, 5 and so on to 59",
		"*/60 * * * *":   "Every hour",
		// selected hours
		"0 */2 * * *":         "Every 2 hours",
		"5 */6 * * *":         "Every 6 hours at minute 5",
		"0 */5 * * *":         "Every day at 00:00, 05:00, 10:00, 15:00 and 20:00",
		"0 9-17 * * *":        "Every hour from 09:00 to 17:00",
		"15 9-17 * * *":       "Every hour from 09:15 to 17:15",
		"* 9-17 * * *":        "Every minute from 09:00 to 17:59",
		"*/15 9-17 * * *":     "Every 15 minutes from 09:00 to 17:45",
		"0-30/5 9-17 * * *":   "Every hour at minutes 0, 5, 10 and so on to 30, from 09:00 to 17:59",
		"*/15 8,14-16 * * *":  "Every 15 minutes in the hours 8 and 14 to 16",
		"5 1-7,20 * * *":      "Every hour from 01:05 to 07:05, and at 20:05",
		"* * 3 * * *":         "Every second from 03:00 to 03:59",
		"*/10 */20 3-9 * * *": "Every 10 seconds in minutes 0, 20 and 40 of every hour from 03:00 to 09:59",
		"* 8 * * *":           "Every minute from 08:00 to 08:59",
		"* 8,10 * * *":        "Every minute in the hours 8 and 10",
		// selected minutes of selected hours
		"5-15 8 * * *":              "Every minute from 08:05 to 08:15",
		"30 5-15 8 * * *":           "Every minute from 08:05:30 to 08:15:30",
		"0-30/5 8 * * *":            "Every 5 minutes from 08:00 to 08:30",
		"*/5 8 * * *":               "Every 5 minutes from 08:00 to 08:55",
		"1,5,7,20,21,40,50 8 * * *": "At minutes 1, 5, 7, 20, 21, 40 and 50 of the hour from 08:00 to 08:59",
		"5-15 8-10 * * *":           "Every hour at minutes 5 to 15, from 08:00 to 10:59",
		"5-15 8,10,20 * * *":        "At minutes 5 to 15 of the hours 8, 10 and 20",
		"5-15 */2 * * *":            "At minutes 5 to 15 of the hours 0, 2, 4 and so on to 22",
		// once in each of several hours
		"0 1-23/2 * * *":            "Every 2 hours from 01:00 to 23:00",
		"5 0-18/3 * * *":            "Every 3 hours from 00:05 to 18:05",
		"0 1,3,5 * * *":             "Every day at 01:00, 03:00 and 05:00",
		"0 1,2,5,6,9,10,13 * * *":   "Every day at 01:00, 02:00, 05:00, 06:00, 09:00, 10:00 and 13:00",
		"0 22-23,0-5 * * *":         "Every hour from 00:00 to 05:00, and at 22:00 and 23:00",
		"0 1-7,10-15 * * *":         "Every hour from 01:00 to 07:00 and from 10:00 to 15:00",
		"15 30 1-7,20 * * *":        "Every hour from 01:30:15 to 07:30:15, and at 20:30:15",
		"0 1-7,10-15,20,22 * * MON": "Every hour from 01:00 to 07:00 and from 10:00 to 15:00, and at 20:00 and 22:00, every Monday",
		// selected seconds of selected minutes
		"5-10 30 * * * *":      "At seconds 5 to 10 of minute 30 of every hour",
		"5-10 20,30 * * * *":   "At seconds 5 to 10 of minutes 20 and 30 of every hour",
		"30 5,10 * * * *":      "At second 30 of minutes 5 and 10 of every hour",
		"5-10 30 8-9 * * *":    "At seconds 5 to 10 of minute 30 of every hour from 08:00 to 09:59",
		"5-10 20,30 8 * * *":   "At seconds 5 to 10 of minutes 20 and 30 of the hour from 08:00 to 08:59",
		"5-10 30 8,11 * * *":   "At seconds 5 to 10 of minute 30 of the hours 8 and 11",
		"30 */15 * * * *":      "Every 15 minutes at second 30",
		"5,10 */15 9-17 * * *": "Every 15 minutes at seconds 5 and 10 from 09:00 to 17:59",
		"* 30 8 * * *":         "Every second from 08:30:00 to 08:30:59",
		"* 30 * * * *":         "Every second in minute 30 of every hour",
		"*/10 30 8,10 * * *":   "Every 10 seconds in minute 30 of the hours 8 and 10",
		"*/10 */20 3 * * *":    "Every 10 seconds in minutes 0, 20 and 40 of the hour from 03:00 to 03:59",
		"5-10 * 3 * * *":       "Every minute at seconds 5 to 10 from 03:00 to 03:59",
		// times of day
		"0 2 * * *":       "Every day at 02:00",
		"@daily":          "Every day at 00:00",
		"30 0 2 * * *":    "Every day at 02:00:30",
		"0 9,17 * * *":    "Every day at 09:00 and 17:00",
		"0,30 8 * * *":    "Every day at 08:00 and 08:30",
		"0 0,12 * * *":    "Every day at 00:00 and 12:00",
		"5,50 9,17 * * *": "Every day at 09:05, 09:50, 17:05 and 17:50",
		// days
		"30 2 * * MON-FRI":        "Monday to Friday at 02:30",
		"0 0 * * SAT,SUN":         "Every Saturday and Sunday at 00:00",
		"0 0 * * 5-7":             "Friday to Sunday at 00:00",
		"@weekly":                 "Every Sunday at 00:00",
		"0 0 1 * *":               "On the 1st of every month at 00:00",
		"0 0 2,3,11,22 * *":       "On the 2nd, 3rd, 11th and 22nd of every month at 00:00",
		"0 0 1-7 * *":             "On the 1st to 7th of every month at 00:00",
		"0 0 L * *":               "On the last day of every month at 00:00",
		"0 0 15W * *":             "On the weekday nearest the 15th of every month at 00:00",
		"0 0 1,15W,L * *":         "On the 1st, the weekday nearest the 15th and the last day of every month at 00:00",
		"0 0 * * FRI#2":           "On the second Friday of every month at 00:00",
		"0 0 * * 5L":              "On the last Friday of every month at 00:00",
		"*/15 * * * 1-5":          "Every 15 minutes, Monday to Friday",
		"*/15 * 1 * *":            "Every 15 minutes, on the 1st of every month",
		"0 0 L,1,15W * *":         "On the 1st, the weekday nearest the 15th and the last day of every month at 00:00",
		"0 0 LW * *":              "On the last weekday of every month at 00:00",
		"0 0 L-1 * *":             "On the day before the last day of every month at 00:00",
		"0 0 L-3 * *":             "On the 3rd day before the last day of every month at 00:00",
		"0 0 5W,15W,L,LW,L-3 * *": "On the weekday nearest the 5th, the weekday nearest the 15th, the last day, the last weekday and the 3rd day before the last day of every month at 00:00",
		// days that some months do not have
		"0 0 28 * *":      "On the 28th of every month at 00:00",
		"0 0 29 * *":      "On the 29th of every month that has one, at 00:00",
		"0 0 31 * *":      "On the 31st of every month that has one, at 00:00",
		"0 0 1,31 * *":    "On the 1st and 31st of every month that has the day, at 00:00",
		"0 0 29-31 * *":   "On the 29th to 31st of every month that has the day, at 00:00",
		"0 0 */2 * *":     "On the 1st, 3rd, 5th and so on to the 31st of every month that has the day, at 00:00",
		"*/15 * 31 * *":   "Every 15 minutes, on the 31st of every month that has one",
		"0 0 31W * *":     "On the weekday nearest the 31st of every month that has one, at 00:00",
		"0 0 L-27 * *":    "On the 27th day before the last day of every month at 00:00",
		"0 0 L-28 * *":    "On the 28th day before the last day of every month that has one, at 00:00",
		"0 0 30 4-6 *":    "On the 30th of every month from April to June at 00:00",
		"0 0 31 4-6 *":    "On the 31st of every month from April to June that has one, at 00:00",
		"0 0 31 1,3 *":    "On the 31st of January and March at 00:00",
		"0 0 31 1,4 *":    "On the 31st of January and April, if the month has one, at 00:00",
		"0 0 28 2 *":      "On the 28th of February at 00:00",
		"0 0 29 2 *":      "On the 29th of February in leap years at 00:00",
		"0 0 29W 2 *":     "On the weekday nearest the 29th of February in leap years at 00:00",
		"0 0 L-28 2 *":    "On the 28th day before the last day of February in leap years at 00:00",
		"0 0 29 2,3 *":    "On the 29th of February and March, if the month has one, at 00:00",
		"0 0 28,29 2 *":   "On the 28th and 29th of February, if the month has the day, at 00:00",
		"0 0 * * 5#5":     "On the fifth Friday of every month that has one, at 00:00",
		"0 0 * * 1#1,5#5": "On the first Monday and the fifth Friday of every month that has the day, at 00:00",
		"0 0 * 2 5#5":     "On the fifth Friday of February, if the month has one, at 00:00",
		"0 0 31 * MON":    "On the 31st of every month that has one, and every Monday, at 00:00",
		// months
		"0 0 * 1-3,7 *": "Every day in the months January to March and July at 00:00",
		"0 0 1 1-3,7 *": "On the 1st of the months January to March and July at 00:00",
		"0 0 * */2 MON": "Every Monday in January, March, May, July, September and November at 00:00",
		"@yearly":       "On the 1st of January at 00:00",
		"0 0 1 1,6 *":   "On the 1st of January and June at 00:00",
		"0 12 * 3-5 2":  "Every Tuesday from March to May at 12:00",
		"0 12 1 3-5 *":  "On the 1st of every month from March to May at 12:00",
		"0 0 * JAN *":   "Every day in January at 00:00",
		"*/10 * * 12 *": "Every 10 minutes, every day in December",
		// days of the month or of the week
		"0 0 1,15 * MON":   "On the 1st and 15th of every month, and every Monday, at 00:00",
		"0 0 1 2 MON":      "On the 1st of February, and every Monday in February, at 00:00",
		"0 0 * * 1#1,3,2L": "Every Wednesday, and on the first Monday and the last Tuesday of every month, at 00:00",
		"*/5 * 13 * FRI":   "Every 5 minutes, on the 13th of every month, and every Friday",
		"0 0 1-31 * 1":     "Every day at 00:00",
		"0 0 5 * 0-6":      "Every day at 00:00",
	} {
		got, err := Describe(expr)
		require.NoError(t, err, expr)
		require.Equal(t, want, got, expr)
	}
}

func TestDescribeReturnsErrorsOfParse(t *testing.T) {
	for _, expr := range []string{"", "whenever", "61 * * * *", "*/90 * * * *", "0 10 * * ? *", "0 0 L-30 2 *", "0 0 31 2 *", "* * * *", "@fortnightly"} {
		_, want := Parse(expr, "UTC")
		require.Error(t, want)
		_, err := Describe(expr)
		require.EqualError(t, err, want.Error())
	}
}

// Two expressions have the same description if and only if they match the same
// local times.
func TestDescribeDistinguishesExpressions(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	random := rand.New(rand.NewPCG(1, 2))
	type meaning [6]string // one element for each field
	meanings := map[string]meaning{}
	texts := map[meaning]string{}
	for range 40_000 {
		expr := randomExpression(random)
		text, err := Describe(expr)
		if err != nil {
			continue // for example, 31 February
		}
		v, err := parseFields(expr)
		require.NoError(t, err)
		var m meaning
		for i := range m {
			m[i] = fieldMeaning(v, i)
		}
		if other, known := meanings[text]; known {
			require.Equal(t, other, m, "%q describes two meanings; one expression is %s", text, expr)
		}
		if other, known := texts[m]; known {
			require.Equal(t, other, text, expr)
		}
		meanings[text], texts[m] = m, text
	}
	require.Greater(t, len(meanings), 10_000)
}

// fieldMeaning returns the same text for fields that match the same local
// times. Both restricted and unrestricted day fields can match every day.
func fieldMeaning(v [6]values, i int) string {
	matchesAlways := func(i int) bool { return !v[i].unrestricted && fields[i].allowsAll(v[i]) }
	if i == dayOfMonthField || i == dayOfWeekField {
		if matchesAlways(dayOfMonthField) || matchesAlways(dayOfWeekField) ||
			v[dayOfMonthField].unrestricted && v[dayOfWeekField].unrestricted {
			return "every day"
		}
		if v[i].unrestricted {
			return "unrestricted"
		}
	}
	return strings.Join(append(slices.Clone(v[i].specials), describeSet(v[i].set, ordinal)), " ")
}

// randomExpression returns an expression with fields of every form.
func randomExpression(random *rand.Rand) string {
	pick := func(options ...string) string { return options[random.IntN(len(options))] }
	texts := []string{
		pick("0", "0", "0", "0", "*", "30", "*/10", "5,10", "*/7", "5-10", "0,30"),
		pick("0", "*", "5", "*/15", "*/7", "10,20", "5-9", "0,30", "1-59/2", "7,8", "0-58/2", "5-59/15", "1,5,7,20,21,40,50", "0-30/5"),
		pick("*", "0", "2", "9,17", "9-17", "*/2", "*/8", "*/5", "1-3,20", "0-12/3", "22,23", "1-23/2", "1-7,10-15", "1-7,10,20-22", "1,2,5,6,9,10,13"),
		pick("*", "*", "1", "1,15", "L", "15W", "1,L", "5-9", "1-31", "*/2", "2,3,4,20", "1-30", "31", "29-31", "29", "LW", "L-1", "L-3", "L-28", "LW,L,1", "31W,15"),
		pick("*", "*", "1", "1,6", "3-5", "*/2", "2", "1-11", "1,2", "3-5,7", "4-6", "1,4"),
		pick("*", "*", "1", "1-5", "0,6", "FRI#2", "5L", "1,5L", "0-6", "1,2,3,5", "2,4", "5-7", "1#1,1#3", "5#5", "5#5,1#1", "3,5#5"),
	}
	return strings.Join(texts, " ")
}

func FuzzDescribe(f *testing.F) {
	f.Add("*/15 9-17 1,L * MON#1,5L")
	f.Fuzz(func(t *testing.T, expr string) {
		_, want := Parse(expr, "UTC")
		text, err := Describe(expr)
		if (want == nil) != (err == nil) || (err == nil) != (text != "") {
			t.Fatalf("%q is described as %q, %v; Parse returns %v", expr, text, err, want)
		}
	})
}
