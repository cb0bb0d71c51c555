package cron

import (
	"fmt"
	"math/bits"
	"slices"
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
	days, needsComma := describeDays(v[dayOfMonthField], v[monthField], v[dayOfWeekField])
	switch {
	case recurring && days == "every day":
		return capitalize(times), nil
	case recurring:
		return capitalize(times + ", " + days), nil
	case needsComma:
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
		return describeHour(seconds, minutes, hours), true
	case oncePerHour && hourStep > 0 && hourStep <= 8:
		return fmt.Sprintf("every %d hours", hourStep) + atMinutes(seconds, minutes), true
	case timesPerDay <= maxListedTimes:
		return "at " + joinAnd(clockTimes(seconds, minutes, hours)), false
	case oncePerHour:
		return describeHourly(seconds, minutes, hours)
	}
	switch minuteStep, secondStep := constantStep(minutes), constantStep(seconds); {
	case bits.OnesCount64(hours) == 1 && bits.OnesCount64(seconds) == 1 && minuteStep > 0:
		return describeSpan("minute", minuteStep, seconds, minutes, hours), true
	case bits.OnesCount64(hours) == 1 && bits.OnesCount64(minutes) == 1 && secondStep > 0:
		return describeSpan("second", secondStep, seconds, minutes, hours), true
	case isContiguous(hours) && seconds == onlyZero && cycleStep(minutes, 60) > 0:
		return describeSpan("minute", cycleStep(minutes, 60), seconds, minutes, hours), true
	}
	return describeHour(seconds, minutes, hours), true
}

// describeHourly describes one time in each of several hours.
func describeHourly(seconds, minutes, hours uint64) (text string, recurring bool) {
	if step := constantStep(hours); step > 0 {
		return describeSpan("hour", step, seconds, minutes, hours), true
	}
	var spans, single []string
	for rest := hours; rest != 0; {
		run := firstRun(rest)
		rest &^= run
		if bits.OnesCount64(run) < 3 {
			single = append(single, clockTimes(seconds, minutes, run)...)
			continue
		}
		times := clockTimes(seconds, minutes, run)
		spans = append(spans, "from "+times[0]+" to "+times[len(times)-1])
	}
	switch {
	case len(spans) == 0:
		return "at " + joinAnd(single), false
	case len(single) == 0:
		return "every hour " + joinAnd(spans), true
	}
	return "every hour " + joinAnd(spans) + ", and at " + joinAnd(single), true
}

// describeSpan describes times with a constant step, such as "every 5 minutes
// from 08:00 to 08:30".
func describeSpan(unit string, step int, seconds, minutes, hours uint64) string {
	every := "every " + unit
	if step > 1 {
		every = fmt.Sprintf("every %d %ss", step, unit)
	}
	withSeconds := seconds != onlyZero
	return every + " from " + clockTime(lowest(hours), lowest(minutes), lowest(seconds), withSeconds) +
		" to " + clockTime(highest(hours), highest(minutes), highest(seconds), withSeconds)
}

// describeHour describes the times within each hour, and the hours.
func describeHour(seconds, minutes, hours uint64) string {
	minuteStep := cycleStep(minutes, 60)
	switch {
	case minutes == valueRange(0, 59, 1) && seconds == onlyZero:
		return "every minute" + inHours(hours)
	case minutes == valueRange(0, 59, 1):
		return describeMinute(seconds) + inHours(hours)
	case seconds == valueRange(0, 59, 1) || cycleStep(seconds, 60) > 0:
		return describeMinute(seconds) + " in " + describeUnits("minute", minutes) + ofHours(hours)
	case minuteStep > 0 && seconds == onlyZero:
		return fmt.Sprintf("every %d minutes", minuteStep) + inHours(hours)
	case minuteStep > 0:
		return fmt.Sprintf("every %d minutes at ", minuteStep) + describeUnits("second", seconds) + inHours(hours)
	case bits.OnesCount64(seconds) > 1 || seconds != onlyZero && bits.OnesCount64(minutes) > 1:
		return "at " + describeUnits("second", seconds) + " of " + describeUnits("minute", minutes) + ofHours(hours)
	case hours == valueRange(0, 23, 1):
		return "every hour" + atMinutes(seconds, minutes)
	case isContiguous(hours) && bits.OnesCount64(hours) > 1:
		return "every hour" + atMinutes(seconds, minutes) + "," + inHours(hours)
	}
	return "at " + describeUnits("minute", minutes) + ofHours(hours)
}

// inHours returns a suffix such as " from 09:00 to 17:59" for times in several
// hours. It is empty for all hours.
func inHours(hours uint64) string {
	switch {
	case hours == valueRange(0, 23, 1):
		return ""
	case isContiguous(hours):
		return fmt.Sprintf(" from %02d:00 to %02d:59", lowest(hours), highest(hours))
	}
	return " in the hours " + describeSet(hours, strconv.Itoa)
}

// ofHours returns a suffix such as " of every hour" for minutes of an hour.
func ofHours(hours uint64) string {
	switch {
	case bits.OnesCount64(hours) == 1:
		return " of the hour" + inHours(hours)
	case isContiguous(hours):
		return " of every hour" + inHours(hours)
	}
	return " of the hours " + describeSet(hours, strconv.Itoa)
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

// constantStep returns the step of a set of at least three values with a
// constant distance, or 0 for any other set.
func constantStep(set uint64) int {
	if bits.OnesCount64(set) < 3 {
		return 0
	}
	first, last := lowest(set), highest(set)
	if step := int(lowest(set&(set-1)) - first); set == valueRange(int(first), int(last), step) {
		return step
	}
	return 0
}

// isContiguous reports whether the values of a set are one range.
func isContiguous(set uint64) bool { return set == firstRun(set) }

// firstRun returns the first of the ranges of consecutive values in a set.
func firstRun(set uint64) uint64 {
	first := lowest(set)
	return valueRange(int(first), int(first)+bits.TrailingZeros64(^(set>>first))-1, 1)
}

// clockTimes lists times of day, such as 02:30. They include seconds unless
// second 0 is the only one.
func clockTimes(seconds, minutes, hours uint64) (times []string) {
	for h := range int64(24) {
		for m := range int64(60) {
			for s := range int64(60) {
				if (hours>>h)&(minutes>>m)&(seconds>>s)&1 == 1 {
					times = append(times, clockTime(h, m, s, seconds != onlyZero))
				}
			}
		}
	}
	return times
}

func clockTime(hour, minute, second int64, withSeconds bool) string {
	if withSeconds {
		return fmt.Sprintf("%02d:%02d:%02d", hour, minute, second)
	}
	return fmt.Sprintf("%02d:%02d", hour, minute)
}

// describeDays describes the days. If both day fields are restricted, it joins
// their descriptions, because a day matches if it matches either (rule R6). It
// returns true if a comma must follow the description.
func describeDays(dom, month, dow values) (text string, needsComma bool) {
	matchesAlways := func(f *field, v values) bool { return !v.unrestricted && f.allowsAll(v) }
	if dom.unrestricted && dow.unrestricted ||
		matchesAlways(&fields[dayOfMonthField], dom) || matchesAlways(&fields[dayOfWeekField], dow) {
		return "every day" + inMonths(month), false
	}
	var days []string
	if !dom.unrestricted {
		count, isRare := bits.OnesCount64(dom.set)+len(dom.specials), isInSomeMonths(dom, month)
		months := ofMonths(month, count, isRare)
		if count == 1 && isRare && month.set == 1<<time.February && dateExists(dom, month) {
			months, isRare = " of February in leap years", false
		}
		days = append(days, "on "+joinAnd(describeMonthDays(dom))+months)
		needsComma = isRare
	}
	if dow.set != 0 && !dow.unrestricted {
		days = append(days, describeWeekdays(dow.set)+inMonths(month))
	}
	if count := len(dow.specials); count > 0 {
		isRare := slices.ContainsFunc(dow.specials, func(special string) bool { return strings.HasSuffix(special, "#5") })
		days = append(days, "on "+joinAnd(describeSpecialWeekdays(dow.specials))+ofMonths(month, count, isRare))
		needsComma = needsComma || isRare
	}
	return strings.Join(days, ", and "), needsComma || len(days) > 1
}

// inMonths returns a suffix such as " in January" or " from March to May". It
// is empty for all months.
func inMonths(month values) string {
	switch {
	case fields[monthField].allowsAll(month):
		return ""
	case isListedAsRange(month.set):
		return " from " + describeMonths(month)
	}
	return " in " + describeMonths(month)
}

// ofMonths returns a suffix such as " of every month" or " of January" for a
// number of days. If isRare, not every one of the months has each of the days.
func ofMonths(month values, count int, isRare bool) string {
	has := "one"
	if count > 1 {
		has = "the day"
	}
	isRange := fields[monthField].allowsAll(month) || isListedAsRange(month.set)
	switch {
	case isRange && isRare:
		return " of every month" + inMonths(month) + " that has " + has
	case isRange:
		return " of every month" + inMonths(month)
	case isRare:
		return " of " + describeMonths(month) + ", if the month has " + has
	}
	return " of " + describeMonths(month)
}

// isInSomeMonths reports whether an allowed month lacks a day of day-of-month.
// February has 28 days, because most years are not leap years.
func isInSomeMonths(dom, month values) bool {
	shortest := 31
	for m, length := range monthLengths {
		if month.set>>m&1 == 1 {
			shortest = min(shortest, length)
		}
	}
	if month.set>>time.February&1 == 1 {
		shortest = 28
	}
	return dom.set > valueRange(0, shortest, 1) ||
		slices.ContainsFunc(dom.specials, func(special string) bool { return neededLength(special) > shortest })
}

// describeMonths describes the allowed months.
func describeMonths(month values) string {
	months := describeSet(month.set, func(m int) string { return time.Month(m).String() })
	if !isListedAsRange(month.set) && strings.Contains(months, " to ") {
		return "the months " + months
	}
	return months
}

// describeMonthDays describes days of a month: "the 1st", "the 5th to 7th",
// "the last day", "the weekday nearest the 15th".
func describeMonthDays(dom values) []string {
	var days []string
	if dom.set != 0 {
		days = append(days, "the "+describeList(dom.set, ordinal, "the "))
	}
	for _, special := range dom.specials {
		before, isBefore := strings.CutPrefix(special, "L-")
		n, _ := strconv.Atoi(strings.TrimSuffix(before, "W"))
		switch {
		case special == "L":
			days = append(days, "the last day")
		case special == "LW":
			days = append(days, "the last weekday")
		case isBefore && n == 1:
			days = append(days, "the day before the last day")
		case isBefore:
			days = append(days, "the "+ordinal(n)+" day before the last day")
		default:
			days = append(days, "the weekday nearest the "+ordinal(n))
		}
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
func isListedAsRange(set uint64) bool { return bits.OnesCount64(set) > 2 && isContiguous(set) }

// describeSet lists the values of a set. It writes three or more consecutive
// values as a range, such as "5 to 7". It shortens a long list with a constant
// step to its first three values and its last one.
func describeSet(set uint64, name func(int) string) string { return describeList(set, name, "") }

// describeList is describeSet with an article for the last value of a shortened
// list.
func describeList(set uint64, name func(int) string, article string) string {
	var numbers []int
	for n := range 64 {
		if set>>n&1 == 1 {
			numbers = append(numbers, n)
		}
	}
	if last := len(numbers) - 1; last > 5 {
		first, step := numbers[0], numbers[1]-numbers[0]
		if step > 1 && set == valueRange(first, numbers[last], step) {
			return fmt.Sprintf("%s, %s, %s and so on to %s%s",
				name(first), name(numbers[1]), name(numbers[2]), article, name(numbers[last]))
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
