package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Describe says an expression in plain English, such as "Every 15 minutes" or "Monday to Friday at 02:30". Expressions
// that allow the same values are described alike, however they are written. The error is that of Parse.
func Describe(expr string) (string, error) {
	texts, v, err := parseFields(expr)
	if err != nil {
		return "", err
	}
	if err := checkDates(texts, v); err != nil {
		return "", err
	}
	times, often := describeTime(v[0].set, v[1].set, v[atHour].set)
	days := describeDays(v[atDayOfMonth], v[atMonth], v[atDayOfWeek])
	switch {
	case often && days == "every day":
		return capital(times), nil
	case often:
		return capital(times + ", " + days), nil
	case strings.Contains(days, ", and "):
		return capital(days + ", " + times), nil
	}
	return capital(days + " " + times), nil
}

// fewTimes is how many times of day are listed one by one.
const fewTimes = 6

// describeTime says the time of day. often is true for what goes on all day or for hours, such as "every 15 minutes",
// and false for times to be named after a day, such as "at 02:00".
func describeTime(seconds, minutes, hours uint64) (text string, often bool) {
	allHours := hours == span(0, 23, 1)
	hourStep := stepOf(hours, 24)
	each := bits.OnesCount64(seconds) == 1 && bits.OnesCount64(minutes) == 1
	times := bits.OnesCount64(seconds) * bits.OnesCount64(minutes) * bits.OnesCount64(hours)
	switch {
	case allHours:
		return everyHour(seconds, minutes), true
	case each && hourStep > 0 && hourStep <= 8:
		return fmt.Sprintf("every %d hours", hourStep) + past(seconds, minutes), true
	case times <= fewTimes:
		return "at " + and(clockTimes(seconds, minutes, hours)), false
	}
	first, last := lowest(hours), highest(hours)
	whole := hours == span(int(first), int(last), 1)
	within := " in the hours " + list(hours, strconv.Itoa)
	if whole {
		within = fmt.Sprintf(" from %02d:00 to %02d:59", first, last)
	}
	minuteStep := stepOf(minutes, 60)
	switch {
	case seconds == 1 && whole && minutes == span(0, 59, 1):
		return fmt.Sprintf("every minute from %02d:00 to %02d:59", first, last), true
	case seconds == 1 && whole && minuteStep > 0:
		return fmt.Sprintf("every %d minutes from %02d:00 to %02d:%02d", minuteStep, first, last, highest(minutes)), true
	case each && whole:
		at := clockTimes(seconds, minutes, 1<<first|1<<last)
		return "every hour from " + at[0] + " to " + at[len(at)-1], true
	case each:
		return "every hour" + past(seconds, minutes) + within, true
	}
	return everyHour(seconds, minutes) + within, true
}

// everyHour says what happens within each hour.
func everyHour(seconds, minutes uint64) string {
	allMinutes := minutes == span(0, 59, 1)
	switch minuteStep := stepOf(minutes, 60); {
	case seconds != 1 && allMinutes:
		return everyMinute(seconds)
	case seconds != 1 && (bits.OnesCount64(seconds) > 1 || bits.OnesCount64(minutes) > 1):
		return everyMinute(seconds) + " in " + plural("minute", minutes) + " of every hour"
	case allMinutes:
		return "every minute"
	case seconds == 1 && minuteStep > 0:
		return fmt.Sprintf("every %d minutes", minuteStep)
	}
	return "every hour" + past(seconds, minutes)
}

// everyMinute says what happens within each minute.
func everyMinute(seconds uint64) string {
	step := stepOf(seconds, 60)
	switch {
	case seconds == span(0, 59, 1):
		return "every second"
	case step > 0:
		return fmt.Sprintf("every %d seconds", step)
	}
	return "every minute at " + plural("second", seconds)
}

// past says at which minutes and at which second of an hour; nothing on the hour.
func past(seconds, minutes uint64) string {
	switch {
	case seconds == 1 && minutes == 1:
		return ""
	case seconds == 1:
		return " at " + plural("minute", minutes)
	}
	return " at " + plural("minute", minutes) + " and " + plural("second", seconds)
}

func plural(unit string, set uint64) string {
	if bits.OnesCount64(set) > 1 {
		unit += "s"
	}
	return unit + " " + list(set, strconv.Itoa)
}

// stepOf is the step of a set that begins at 0 and goes on evenly through the end of a cycle; 0 for any other. Only
// such a set may be called "every 15 minutes". Every value is a step of 1, which has a name of its own.
func stepOf(set uint64, cycle int) int {
	step := cycle / max(bits.OnesCount64(set), 1)
	if step > 1 && step < cycle && cycle%step == 0 && set == span(0, cycle-1, step) {
		return step
	}
	return 0
}

// clockTimes lists times of day, with their seconds where any has some.
func clockTimes(seconds, minutes, hours uint64) (times []string) {
	for h := range 24 {
		for m := range 60 {
			for s := range 60 {
				if (hours>>h)&(minutes>>m)&(seconds>>s)&1 == 0 {
					continue
				}
				at := fmt.Sprintf("%02d:%02d", h, m)
				if seconds != 1 {
					at += fmt.Sprintf(":%02d", s)
				}
				times = append(times, at)
			}
		}
	}
	return times
}

// describeDays says the days. Where both fields are restricted, a day of either is one (rule R6).
func describeDays(dom, month, dow values) string {
	ofMonth, inMonth := " of every month", ""
	if !fields[atMonth].full(month) {
		months := list(month.set, func(m int) string { return time.Month(m).String() })
		ofMonth, inMonth = " of "+months, " in "+months
		if inARow(month.set) {
			inMonth = " from " + months
			ofMonth = " of every month" + inMonth
		}
	}
	all := func(f *field, v values) bool { return !v.any && f.full(v) }
	if dom.any && dow.any || all(&fields[atDayOfMonth], dom) || all(&fields[atDayOfWeek], dow) {
		return "every day" + inMonth
	}
	var days []string
	if !dom.any {
		days = append(days, "on "+and(monthDays(dom))+ofMonth)
	}
	if !dow.any {
		if dow.set != 0 {
			days = append(days, weekdays(dow.set)+inMonth)
		}
		if len(dow.specials) > 0 {
			days = append(days, "on "+and(special(dow.specials))+ofMonth)
		}
	}
	return strings.Join(days, ", and ")
}

// monthDays are the days of a month: "the 1st", "the 5th to 7th", "the last day", "the weekday nearest the 15th".
func monthDays(dom values) []string {
	var days []string
	if dom.set != 0 {
		days = append(days, "the "+list(dom.set, ordinal))
	}
	for _, s := range dom.specials {
		if s == "L" {
			days = append(days, "the last day")
			continue
		}
		n, _ := strconv.Atoi(strings.TrimSuffix(s, "W")) // spelled by monthDay
		days = append(days, "the weekday nearest the "+ordinal(n))
	}
	return days
}

// special are days of a month by their weekday: "the second Friday", "the last Friday".
func special(specials []string) []string {
	days := make([]string, len(specials))
	for i, s := range specials {
		d := time.Weekday(s[0] - '0') // spelled by weekday
		if s[1] == 'L' {
			days[i] = "the last " + d.String()
			continue
		}
		days[i] = "the " + [...]string{"first", "second", "third", "fourth", "fifth"}[s[2]-'1'] + " " + d.String()
	}
	return days
}

// weekdays says a set of weekdays, in which the week begins on Monday.
func weekdays(set uint64) string {
	name := func(d int) string { return time.Weekday((d + 1) % 7).String() }
	fromMonday := set>>1 | set&1<<6
	days := list(fromMonday, name)
	if strings.Contains(days, " to ") {
		return days
	}
	return "every " + days
}

// inARow says whether a set is listed as one range.
func inARow(set uint64) bool {
	return bits.OnesCount64(set) > 2 && set == span(int(lowest(set)), int(highest(set)), 1)
}

// list says a set of numbers: with three or more in a row as a range, and a long even one by its beginning and its end.
func list(set uint64, name func(int) string) string {
	var numbers []int
	for n := range 64 {
		if set>>n&1 == 1 {
			numbers = append(numbers, n)
		}
	}
	if last := len(numbers) - 1; last > 5 {
		first, step := numbers[0], numbers[1]-numbers[0]
		if step > 1 && set == span(first, numbers[last], step) {
			return fmt.Sprintf("%s, %s, %s and so on to %s", name(first), name(numbers[1]), name(numbers[2]), name(numbers[last]))
		}
	}
	var items []string
	for i := 0; i < len(numbers); i++ {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if end-i < 2 {
			items = append(items, name(numbers[i]))
			continue
		}
		items = append(items, name(numbers[i])+" to "+name(numbers[end]))
		i = end
	}
	return and(items)
}

// and joins items as in "a, b and c".
func and(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

func ordinal(n int) string {
	suffix := "th"
	if n/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func highest(set uint64) int64 { return int64(63 - bits.LeadingZeros64(set)) }
