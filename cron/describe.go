package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Describe returns an English description of an expression, such as "Every 15
// minutes" or "Monday to Friday at 02:30". Times are in the schedule's zone.
//
// The description depends on the values that the fields allow, not on their
// spelling: 1-3 and MON,TUE,WED have the same description. The error is the one
// that Parse returns for the expression.
func Describe(expr string) (string, error) {
	v, err := parseFields(expr)
	if err != nil {
		return "", err
	}
	times, recurring := describeTimes(v[secondField].set, v[minuteField].set, v[hourField].set)
	days := describeDays(v[dayOfMonthField], v[monthField], v[dayOfWeekField])
	switch {
	case recurring && days == "every day":
		return capitalize(times), nil
	case recurring:
		return capitalize(times + ", " + days), nil
	case strings.Contains(days, ", and "):
		return capitalize(days + ", " + times), nil
	}
	return capitalize(days + " " + times), nil
}

// onlyZero is the set that contains only the value 0.
const onlyZero = 1

// maxListedTimes is the maximum number of times of day to list one by one.
const maxListedTimes = 6

// describeTimes describes the times of day. It returns true for a recurring
// time such as "every 15 minutes", which precedes the days in a description. It
// returns false for single times such as "at 02:00", which follow the days.
func describeTimes(seconds, minutes, hours uint64) (text string, recurring bool) {
	allHours := hours == valueRange(0, 23, 1)
	hourStep := cycleStep(hours, 24)
	oncePerHour := bits.OnesCount64(seconds) == 1 && bits.OnesCount64(minutes) == 1
	timesPerDay := bits.OnesCount64(seconds) * bits.OnesCount64(minutes) * bits.OnesCount64(hours)
	switch {
	case allHours:
		return describeHour(seconds, minutes), true
	case oncePerHour && hourStep > 0 && hourStep <= 8:
		return fmt.Sprintf("every %d hours", hourStep) + atMinutes(seconds, minutes), true
	case timesPerDay <= maxListedTimes:
		return "at " + joinAnd(clockTimes(seconds, minutes, hours)), false
	}
	first, last := lowest(hours), highest(hours)
	contiguous := hours == valueRange(int(first), int(last), 1)
	within := " in the hours " + describeSet(hours, strconv.Itoa)
	if contiguous {
		within = fmt.Sprintf(" from %02d:00 to %02d:59", first, last)
	}
	minuteStep := cycleStep(minutes, 60)
	switch {
	case seconds == onlyZero && contiguous && minutes == valueRange(0, 59, 1):
		return fmt.Sprintf("every minute from %02d:00 to %02d:59", first, last), true
	case seconds == onlyZero && contiguous && minuteStep > 0:
		return fmt.Sprintf("every %d minutes from %02d:00 to %02d:%02d", minuteStep, first, last, highest(minutes)), true
	case oncePerHour && contiguous:
		times := clockTimes(seconds, minutes, 1<<first|1<<last)
		return "every hour from " + times[0] + " to " + times[len(times)-1], true
	case oncePerHour:
		return "every hour" + atMinutes(seconds, minutes) + within, true
	}
	return describeHour(seconds, minutes) + within, true
}

// describeHour describes the times within each hour.
func describeHour(seconds, minutes uint64) string {
	allMinutes := minutes == valueRange(0, 59, 1)
	switch minuteStep := cycleStep(minutes, 60); {
	case seconds != onlyZero && allMinutes:
		return describeMinute(seconds)
	case seconds != onlyZero && (bits.OnesCount64(seconds) > 1 || bits.OnesCount64(minutes) > 1):
		return describeMinute(seconds) + " in " + describeUnits("minute", minutes) + " of every hour"
	case allMinutes:
		return "every minute"
	case seconds == onlyZero && minuteStep > 0:
		return fmt.Sprintf("every %d minutes", minuteStep)
	}
	return "every hour" + atMinutes(seconds, minutes)
}

// describeMinute describes the times within each minute.
func describeMinute(seconds uint64) string {
	step := cycleStep(seconds, 60)
	switch {
	case seconds == valueRange(0, 59, 1):
		return "every second"
	case step > 0:
		return fmt.Sprintf("every %d seconds", step)
	}
	return "every minute at " + describeUnits("second", seconds)
}

// atMinutes returns a suffix such as " at minute 5 and second 10". It is empty
// for minute 0 and second 0.
func atMinutes(seconds, minutes uint64) string {
	switch {
	case seconds == onlyZero && minutes == onlyZero:
		return ""
	case seconds == onlyZero:
		return " at " + describeUnits("minute", minutes)
	}
	return " at " + describeUnits("minute", minutes) + " and " + describeUnits("second", seconds)
}

// describeUnits returns a text such as "minute 5" or "minutes 10 and 40".
func describeUnits(unit string, set uint64) string {
	if bits.OnesCount64(set) > 1 {
		unit += "s"
	}
	return unit + " " + describeSet(set, strconv.Itoa)
}

// cycleStep returns the step of a set that starts at 0 and divides a cycle,
// such as an hour, evenly. Only such a set is, for example, "every 15 minutes".
// For any other set, for all values and for 0 only, it returns 0.
func cycleStep(set uint64, cycle int) int {
	step := cycle / max(bits.OnesCount64(set), 1)
	if step > 1 && step < cycle && cycle%step == 0 && set == valueRange(0, cycle-1, step) {
		return step
	}
	return 0
}

// clockTimes lists times of day, such as 02:30. They include seconds unless
// second 0 is the only one.
func clockTimes(seconds, minutes, hours uint64) (times []string) {
	for h := range 24 {
		for m := range 60 {
			for s := range 60 {
				if (hours>>h)&(minutes>>m)&(seconds>>s)&1 == 0 {
					continue
				}
				text := fmt.Sprintf("%02d:%02d", h, m)
				if seconds != onlyZero {
					text += fmt.Sprintf(":%02d", s)
				}
				times = append(times, text)
			}
		}
	}
	return times
}

// describeDays describes the days. If both day fields are restricted, it joins
// their descriptions, because a day matches if it matches either (rule R6).
func describeDays(dom, month, dow values) string {
	ofMonth, inMonth := " of every month", ""
	if !fields[monthField].allowsAll(month) {
		months := describeSet(month.set, func(m int) string { return time.Month(m).String() })
		ofMonth, inMonth = " of "+months, " in "+months
		if isListedAsRange(month.set) {
			inMonth = " from " + months
			ofMonth = " of every month" + inMonth
		}
	}
	matchesAlways := func(f *field, v values) bool { return !v.unrestricted && f.allowsAll(v) }
	if dom.unrestricted && dow.unrestricted ||
		matchesAlways(&fields[dayOfMonthField], dom) || matchesAlways(&fields[dayOfWeekField], dow) {
		return "every day" + inMonth
	}
	var days []string
	if !dom.unrestricted {
		days = append(days, "on "+joinAnd(describeMonthDays(dom))+ofMonth)
	}
	if !dow.unrestricted {
		if dow.set != 0 {
			days = append(days, describeWeekdays(dow.set)+inMonth)
		}
		if len(dow.specials) > 0 {
			days = append(days, "on "+joinAnd(describeSpecialWeekdays(dow.specials))+ofMonth)
		}
	}
	return strings.Join(days, ", and ")
}

// describeMonthDays describes days of a month: "the 1st", "the 5th to 7th",
// "the last day", "the weekday nearest the 15th".
func describeMonthDays(dom values) []string {
	var days []string
	if dom.set != 0 {
		days = append(days, "the "+describeSet(dom.set, ordinal))
	}
	for _, special := range dom.specials {
		if special == "L" {
			days = append(days, "the last day")
			continue
		}
		n, _ := strconv.Atoi(strings.TrimSuffix(special, "W"))
		days = append(days, "the weekday nearest the "+ordinal(n))
	}
	return days
}

// describeSpecialWeekdays describes weekdays by their position in the month:
// "the second Friday", "the last Friday".
func describeSpecialWeekdays(specials []string) []string {
	days := make([]string, len(specials))
	for i, special := range specials { // 2#3 or 5L, as parseWeekday writes them
		weekday := time.Weekday(special[0] - '0')
		if special[1] == 'L' {
			days[i] = "the last " + weekday.String()
			continue
		}
		week := [...]string{"first", "second", "third", "fourth", "fifth"}[special[2]-'1']
		days[i] = "the " + week + " " + weekday.String()
	}
	return days
}

// describeWeekdays describes a set of weekdays. The week starts on Monday.
func describeWeekdays(set uint64) string {
	name := func(d int) string { return time.Weekday((d + 1) % 7).String() }
	fromMonday := set>>1 | set&1<<6
	days := describeSet(fromMonday, name)
	if strings.Contains(days, " to ") {
		return days
	}
	return "every " + days
}

// isListedAsRange reports whether describeSet describes a set as one range.
func isListedAsRange(set uint64) bool {
	return bits.OnesCount64(set) > 2 && set == valueRange(int(lowest(set)), int(highest(set)), 1)
}

// describeSet lists the values of a set. It writes three or more consecutive
// values as a range, such as "5 to 7". It shortens a long list with a constant
// step to its first three values and its last one.
func describeSet(set uint64, name func(int) string) string {
	var numbers []int
	for n := range 64 {
		if set>>n&1 == 1 {
			numbers = append(numbers, n)
		}
	}
	if last := len(numbers) - 1; last > 5 {
		first, step := numbers[0], numbers[1]-numbers[0]
		if step > 1 && set == valueRange(first, numbers[last], step) {
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
	return joinAnd(items)
}

// joinAnd joins items with commas and a final "and".
func joinAnd(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

// ordinal returns a number such as 1st, 2nd or 11th.
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

func capitalize(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
