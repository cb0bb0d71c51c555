package cron_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// dayItem is an item of a day field and its meaning in Go. It shares no code
// with the package.
type dayItem struct {
	text    string
	matches func(date time.Time, last int) bool // last is the number of days of the month
}

// weekdayNearest returns the day of the month of the Monday to Friday that is
// nearest to a day, in the same month.
func weekdayNearest(month time.Time, day, last int) int {
	if day > last {
		return 0
	}
	switch weekday := month.AddDate(0, 0, day-month.Day()).Weekday(); {
	case weekday == time.Saturday && day > 1:
		return day - 1
	case weekday == time.Saturday:
		return day + 2
	case weekday == time.Sunday && day < last:
		return day + 1
	case weekday == time.Sunday:
		return day - 2
	}
	return day
}

// monthDayItems returns items of day-of-month of each form.
func monthDayItems(random *rand.Rand) []dayItem {
	n, day := 1+random.IntN(30), 1+random.IntN(31)
	return []dayItem{
		{"LW", func(date time.Time, last int) bool { return date.Day() == weekdayNearest(date, last, last) }},
		{fmt.Sprintf("L-%d", n), func(date time.Time, last int) bool { return date.Day() == last-n }},
		{"L", func(date time.Time, last int) bool { return date.Day() == last }},
		{fmt.Sprintf("%dW", day), func(date time.Time, last int) bool { return date.Day() == weekdayNearest(date, day, last) }},
		{strconv.Itoa(day), func(date time.Time, _ int) bool { return date.Day() == day }},
	}
}

// weekdayItems returns items of day-of-week of each form.
func weekdayItems(random *rand.Rand) []dayItem {
	d, n := random.IntN(7), 1+random.IntN(5)
	is := func(date time.Time) bool { return int(date.Weekday()) == d }
	return []dayItem{
		{strconv.Itoa(d), func(date time.Time, _ int) bool { return is(date) }},
		{fmt.Sprintf("%dL", d), func(date time.Time, last int) bool { return is(date) && date.Day() > last-7 }},
		{fmt.Sprintf("%d#%d", d, n), func(date time.Time, _ int) bool { return is(date) && (date.Day()+6)/7 == n }},
	}
}

// R6: LW and L-n match the right days of every month, alone, in lists, and with
// other fields.
func TestDaysBeforeMonthEndMatchEnumeration(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start, end := time.Date(2095, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2105, 1, 1, 0, 0, 0, 0, time.UTC)
	rounds := 300
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		var monthDays, weekdays []dayItem
		items := monthDayItems(random)
		monthDays = append(monthDays, items[random.IntN(2)])
		for range random.IntN(3) {
			monthDays = append(monthDays, items[random.IntN(len(items))])
			items = monthDayItems(random)
		}
		random.Shuffle(len(monthDays), func(i, k int) { monthDays[i], monthDays[k] = monthDays[k], monthDays[i] })
		for range random.IntN(3) {
			items := weekdayItems(random)
			weekdays = append(weekdays, items[random.IntN(len(items))])
		}
		months := []int{1 + random.IntN(12), 1 + random.IntN(12), 2}[:random.IntN(4)]
		list := func(items []string) string {
			if len(items) == 0 {
				return "*"
			}
			return strings.Join(items, ",")
		}
		texts := func(items []dayItem) (texts []string) {
			for _, item := range items {
				texts = append(texts, item.text)
			}
			return texts
		}
		monthTexts := strings.Fields(strings.Trim(fmt.Sprint(months), "[]"))
		expr := fmt.Sprintf("0 0 %s %s %s", list(texts(monthDays)), list(monthTexts), list(texts(weekdays)))

		var want []time.Time
		for date := start; date.Before(end); date = date.AddDate(0, 0, 1) {
			last := time.Date(date.Year(), date.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
			matches := false
			for _, item := range append(monthDays, weekdays...) {
				matches = matches || item.matches(date, last)
			}
			isMonth := len(months) == 0
			for _, month := range months {
				isMonth = isMonth || month == int(date.Month())
			}
			if matches && isMonth {
				want = append(want, date)
			}
		}
		s, err := cron.Parse(expr, "UTC")
		if len(want) == 0 {
			require.ErrorIs(t, err, cron.ErrNever, expr)
			continue
		}
		require.NoError(t, err, expr)
		got, err := s.Between(start, end)
		require.NoError(t, err)
		require.Equal(t, want, got, expr)
		n, err := s.Count(start, end.Add(-1), 10_000)
		require.NoError(t, err)
		require.Equal(t, len(want), n, expr)
		before := end
		for i := range min(len(want), 20) {
			prev, err := s.Prev(before)
			require.NoError(t, err)
			require.Equal(t, want[len(want)-1-i], prev, expr)
			before = prev
		}
		from := start.Add(time.Duration(random.Int64N(int64(end.Sub(start)))))
		next, err := s.Next(from)
		require.NoError(t, err)
		require.True(t, s.IsSlot(next), expr)
		slots, err := s.Between(from.Add(1), next.Add(1))
		require.NoError(t, err)
		require.Equal(t, []time.Time{next}, slots, expr)
	}
}

// R6: examples of LW and L-n.
func TestDaysBeforeMonthEndAreDue(t *testing.T) {
	const after = "2026-01-15T00:00Z"
	for expr, days := range map[string][]string{
		"0 0 LW * *":      {"2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"},
		"0 0 L-1 * *":     {"2026-01-30", "2026-02-27", "2026-03-30"},
		"0 0 L-3 * *":     {"2026-01-28", "2026-02-25", "2026-03-28", "2026-04-27"},
		"0 0 L-30 * *":    {"2026-03-01", "2026-05-01", "2026-07-01", "2026-08-01"},
		"0 0 L-28 2 *":    {"2028-02-01", "2032-02-01"},
		"0 0 L,LW,1 * *":  {"2026-01-30", "2026-01-31", "2026-02-01", "2026-02-27", "2026-02-28"},
		"0 0 L-3 * MON#1": {"2026-01-28", "2026-02-02", "2026-02-25", "2026-03-02"},
		"0 0 L-30 2 MON":  {"2026-02-02", "2026-02-09"},
		"0 0 LW * 0-6":    {"2026-01-16", "2026-01-17"},
		"0 0 L-3,*/1 * *": {"2026-01-16", "2026-01-17"},
	} {
		var slots []string
		for _, day := range days {
			slots = append(slots, day+"T00:00Z")
		}
		requireSlots(t, expr, "UTC", after, slots...)
	}
	// R3: the last day before a gap, and a gap at midnight of it.
	requireSlots(t, "30 2 L-2 3 *", "Europe/Berlin", "2026-03-01T00:00Z", "2026-03-29T03:00+02:00", "2027-03-29T02:30+02:00")
	// R7: the years end with 9999.
	s := mustParse(t, "0 0 LW 12 *", "UTC")
	last := parseTime(t, "9999-12-31T00:00Z") // a Friday
	next, err := s.Next(last.Add(-1))
	require.NoError(t, err)
	assert.Equal(t, last, next)
	_, err = s.Next(last)
	assert.ErrorIs(t, err, cron.ErrNever)
	_, err = s.Prev(parseTime(t, "0001-12-31T00:00Z"))
	assert.ErrorIs(t, err, cron.ErrNever)
}

// R7: Parse rejects L-n if no allowed month is long enough.
func TestParseRejectsDaysBeforeShortMonths(t *testing.T) {
	longest := []int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for month := 1; month <= 12; month++ {
		for n := 1; n <= 30; n++ {
			for _, dom := range []string{"L-%d", "L-%d,L-30,31"} {
				if n == 30 && dom != "L-%d" {
					continue
				}
				expr := fmt.Sprintf("0 0 "+dom+" %d *", n, month)
				requireDayExists(t, expr, month, n < longest[month])
			}
		}
	}
	// A gronx search up to its limit makes thousands of allocations.
	for _, expr := range []string{"0 0 31,L-3 2 *", "0 0 31,30W,LW 2 ?", "0 0 31,L-28 2 *"} {
		s := mustParse(t, expr, "UTC")
		from := parseTime(t, "2096-03-01T00:00Z")
		assert.Less(t, testing.AllocsPerRun(1, func() { _, _ = s.Next(from) }), 100.0, expr)
	}
}

// R8: the two ranges in the message for a range that wraps around match the
// values that the range would match.
func TestWrappingRangeMessageIsEquivalent(t *testing.T) {
	advice := regexp.MustCompile(`^[a-z-]+ ".*" wraps around; write "(.*)"$`)
	weekdays, months := strings.Fields("SUN MON TUE WED THU FRI SAT"), strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
	for _, f := range []struct {
		format string // of an expression, with the field
		lo, n  int
		names  []string
	}{
		{"%s * * * * *", 0, 60, nil},
		{"0 %s * * *", 0, 24, nil},
		{"0 0 %s * *", 1, 31, nil},
		{"0 0 1 %s *", 1, 12, months},
		{"0 0 * * %s", 0, 7, weekdays},
	} {
		for lo := f.lo + 1; lo < f.lo+f.n; lo++ {
			for hi := f.lo; hi < lo; hi++ {
				step := 1 + (lo*7+hi)%min(f.n, 9)
				var values []string
				for n := lo; n <= hi+f.n; n += step {
					values = append(values, strconv.Itoa((n-f.lo)%f.n+f.lo))
				}
				texts := []string{fmt.Sprintf("%d-%d/%d", lo, hi, step)}
				if f.names != nil && (f.lo == 1 || hi > 0) { // SUN as the end is no wrap
					texts = append(texts, fmt.Sprintf("%s-%s/%d", f.names[lo-f.lo], f.names[hi-f.lo], step))
				}
				for _, text := range texts {
					_, err := cron.Parse(fmt.Sprintf(f.format, text), "UTC")
					require.Error(t, err, text)
					match := advice.FindStringSubmatch(err.Error())
					require.NotNil(t, match, err)
					got, err := cron.Describe(fmt.Sprintf(f.format, match[1]))
					require.NoError(t, err, match[1])
					want, err := cron.Describe(fmt.Sprintf(f.format, strings.Join(values, ",")))
					require.NoError(t, err)
					require.Equal(t, want, got, "%s is not %s", text, match[1])
				}
			}
		}
	}
}

// R8: a step is at most the number of values of its field.
func TestStepIsAtMostNumberOfValues(t *testing.T) {
	for format, count := range map[string]int{
		"*/%d * * * * *": 60, "*/%d * * * *": 60, "0 */%d * * *": 24, "0 0 */%d * *": 31, "0 0 1 */%d *": 12, "0 0 * * */%d": 7,
	} {
		for step := 1; step <= 70; step++ {
			_, err := cron.Parse(fmt.Sprintf(format, step), "UTC")
			if step <= count {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, fmt.Sprintf("the step %d is not in 1-%d", step, count))
			}
		}
	}
}
