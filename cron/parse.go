package cron

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrNever means that there is no slot. From Parse and Describe, it means that
// the expression matches no date of any year. From Next and Prev, it means that
// no slot of the years 1 to 9999 follows or precedes the time.
var ErrNever = errors.New("never comes due")

// maxLength is the maximum number of characters of an expression. A list of
// every second and of every minute is shorter.
const maxLength = 1000

// macros maps the macros, without their @, to expressions.
var macros = map[string]string{
	"yearly":   "0 0 1 1 *",
	"annually": "0 0 1 1 *",
	"monthly":  "0 0 1 * *",
	"weekly":   "0 0 * * 0",
	"daily":    "0 0 * * *",
	"midnight": "0 0 * * *",
	"hourly":   "0 * * * *",
}

// alternatives maps macros of other programs to expressions.
var alternatives = map[string]string{
	"secondly":     "* * * * * *",
	"every_second": "* * * * * *",
	"everysecond":  "* * * * * *",
	"minutely":     "* * * * *",
	"every_minute": "* * * * *",
	"always":       "* * * * *",
	"5minutes":     "*/5 * * * *",
	"10minutes":    "*/10 * * * *",
	"15minutes":    "*/15 * * * *",
	"30minutes":    "*/30 * * * *",
	"weekdays":     "0 0 * * MON-FRI",
	"weekends":     "0 0 * * SAT,SUN",
	"quarterly":    "0 0 1 */3 *",
	"semiannually": "0 0 1 */6 *",
	"noon":         "0 12 * * *",
}

// Parse checks a cron expression (rule R8), loads a time zone by its IANA name,
// such as "Europe/Berlin", and returns the schedule. An empty name means UTC.
// Parse rejects names such as "Local", which differ between hosts. An
// expression has at most 1,000 characters.
//
// The result depends on the expression and the zone, never on the time of the
// call. The error wraps ErrZone if the zone is unknown or cannot be loaded. It
// wraps ErrNever if the expression is well formed but matches no date of any
// year. Any other error is a syntax error of the expression. The text names the
// field and the value, if the error concerns a single field.
//
// Loading a zone reads a file, which takes much longer than the rest of Parse.
// Keep the Schedule instead of parsing again.
func Parse(expr, timeZone string) (Schedule, error) {
	s, err := parseExpr(expr)
	if err != nil {
		return Schedule{}, err
	}
	if s.location, err = loadZone(timeZone); err != nil {
		return Schedule{}, err
	}
	s.epochPeriod = periodAt(s.location, 0)
	return s, nil
}

// parseExpr returns a schedule without a time zone.
func parseExpr(expr string) (Schedule, error) {
	v, err := parseFields(expr)
	if err != nil {
		return Schedule{}, err
	}
	return Schedule{
		timeOfDay: timeOfDay{seconds: v[secondField].set, minutes: v[minuteField].set, hours: v[hourField].set},
		days:      newDays(v[dayOfMonthField], v[monthField], v[dayOfWeekField]),
		everyHour: fields[hourField].allowsAll(v[hourField]),
	}, nil
}

// parseFields parses the fields of an expression and checks that they match a
// date.
func parseFields(expr string) (v [6]values, err error) {
	texts, err := splitFields(expr)
	if err != nil {
		return v, err
	}
	if len(texts) < 5 || len(texts) > 6 {
		return v, wrongCount(texts)
	}
	for i := range fields {
		text := "0" // of the second
		if n := i + len(texts) - 6; n >= 0 {
			text = texts[n]
		}
		if v[i], err = fields[i].parse(text); err != nil {
			return v, adviseSixFields(texts, i, err)
		}
	}
	if v[dayOfWeekField].unrestricted && !dateExists(v[dayOfMonthField], v[monthField]) {
		n := len(texts) - 6
		return v, fmt.Errorf("day-of-month %q does not exist in month %q: %w",
			texts[n+dayOfMonthField], texts[n+monthField], ErrNever)
	}
	return v, nil
}

// splitFields splits an expression into the texts of its fields. It expands a
// macro.
func splitFields(expr string) ([]string, error) {
	if len(expr) > maxLength {
		if n := utf8.RuneCountInString(expr); n > maxLength {
			return nil, fmt.Errorf("the expression has %d characters; at most %d are allowed", n, maxLength)
		}
	}
	expr = strings.Trim(expr, " \t\r\n")
	for _, r := range expr {
		if r != '\t' && (r < ' ' || r > '~') {
			return nil, fmt.Errorf("the character %q is not allowed in an expression", r)
		}
	}
	if strings.HasPrefix(expr, "@") {
		var err error
		if expr, err = expandMacro(expr); err != nil {
			return nil, err
		}
	}
	texts := strings.Fields(expr)
	if len(texts) == 0 {
		return nil, errors.New("the expression is empty")
	}
	if name, zone, ok := strings.Cut(texts[0], "="); ok && (strings.EqualFold(name, "TZ") || strings.EqualFold(name, "CRON_TZ")) {
		return nil, fmt.Errorf("an expression cannot contain a time zone; remove %q and set TimeZone to %q", texts[0], zone)
	}
	return texts, nil
}

// expandMacro returns the expression of a macro.
func expandMacro(macro string) (string, error) {
	word := strings.Fields(macro)[0]
	name, more := strings.ToLower(word[len("@"):]), strings.TrimSpace(macro[len(word):])
	switch expr, alternative := macros[name], alternatives[name]; {
	case expr != "" && more == "":
		return expr, nil
	case expr != "":
		return "", fmt.Errorf("macro %q must be the whole expression; remove %q", word, more)
	case name == "every":
		return "", fmt.Errorf("%q is an interval and not an expression; use Every", macro)
	case name == "reboot":
		return "", fmt.Errorf("%q is not a time; do the work when the program starts", macro)
	case alternative != "":
		return "", fmt.Errorf("macro %q is not supported; write %q", word, alternative)
	}
	return "", fmt.Errorf(
		"macro %q is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly", macro)
}

// wrongCount returns the error for a wrong number of fields.
func wrongCount(texts []string) error {
	e := &syntaxError{problem: fmt.Sprintf("expected 5 fields, or 6 with leading seconds, got %d", len(texts))}
	if len(texts) < 7 {
		return e
	}
	switch fits6 := isValid(texts[:6]); {
	case fits6 && len(texts) == 7 && isYear(texts[6]):
		e.advice = "there is no year field: " + adviseYear(texts[:6])
	case fits6:
		e.advice = fmt.Sprintf("an expression has no user or command: write %q", strings.Join(texts[:6], " "))
	case isValid(texts[:5]):
		e.advice = fmt.Sprintf("an expression has no user or command: write %q", strings.Join(texts[:5], " "))
	}
	return e
}

// adviseSixFields adds advice to an error in a field, if the expression has six
// fields of which the first five are valid alone. Then the last one may be a
// year, a zone, a user or a command.
func adviseSixFields(texts []string, i int, err error) error {
	var e *syntaxError
	if len(texts) != 6 || !errors.As(err, &e) || i == dayOfWeekField && isWeekday(texts[5]) || !isValid(texts[:5]) {
		return err
	}
	const advice = "six fields begin with seconds"
	first, last := strings.Join(texts[:5], " "), texts[5]
	switch {
	case last == "*" || last == "?":
		e.advice = advice + ": if the last one is a year, " + adviseYear(texts[:5])
	case isYear(last):
		e.advice = advice + ", without a year: " + adviseYear(texts[:5])
	case isWeekday(last):
		e.advice = advice
	case isZone(last):
		e.advice = fmt.Sprintf("%s: set TimeZone to %q and write %q", advice, last, first)
	default:
		e.advice = fmt.Sprintf("%s, without a user or a command: write %q", advice, first)
	}
	return e
}

// adviseYear returns the advice to write the fields without a year. Dialects
// with a year number the weekdays from 1 for Sunday.
func adviseYear(texts []string) string {
	advice := fmt.Sprintf("write %q", strings.Join(texts, " "))
	if weekday := texts[len(texts)-1]; strings.ContainsAny(weekday, "0123456789") {
		advice += ", where day-of-week 1 is Monday"
	}
	return advice
}

// isValid reports whether the fields form a valid expression.
func isValid(texts []string) bool {
	_, err := parseFields(strings.Join(texts, " "))
	return err == nil
}

// isZone reports whether a text is the name of a time zone.
func isZone(text string) bool {
	_, err := loadZone(text)
	return err == nil
}

// isYear reports whether a text looks like a field for years.
func isYear(text string) bool {
	years, _, _ := strings.Cut(text, "/")
	for year := range strings.FieldsFuncSeq(years, func(r rune) bool { return r == ',' || r == '-' }) {
		if year != "*" && year != "?" && (len(year) != 4 || !isNumber(year)) {
			return false
		}
	}
	return years != ""
}

// isWeekday reports whether a text looks like a field for weekdays, valid or
// not.
func isWeekday(text string) bool {
	names := fields[dayOfWeekField].names
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",-/#?*", r) }) {
		if isDigit := part[0] >= '0' && part[0] <= '9'; isDigit && len(part) < 4 {
			continue
		}
		if len(part) < 3 || !slices.Contains(names, strings.ToUpper(part[:3])) {
			return false
		}
	}
	return true
}

// dateExists reports whether an allowed day of the month exists in an allowed
// month of some year (rule R7). It assumes that day-of-week is unrestricted. A
// restricted day-of-week always matches some date: every month has each
// weekday, and in some years February has five of it.
//
// gronx would also detect such an expression, but only after a long search.
func dateExists(dom, month values) bool {
	longest := longestMonth(month)
	return dom.set&valueRange(1, longest, 1) != 0 ||
		slices.ContainsFunc(dom.specials, func(special string) bool { return neededLength(special) <= longest })
}

// monthLengths are the numbers of days of the months 1 to 12 in a leap year.
var monthLengths = [...]int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// longestMonth returns the number of days of the longest allowed month, in a
// leap year.
func longestMonth(month values) int {
	longest := 0
	for m, length := range monthLengths {
		if month.set>>m&1 == 1 {
			longest = max(longest, length)
		}
	}
	return longest
}

// neededLength returns the number of days that a month needs so that a special
// item of day-of-month matches one of them.
func neededLength(special string) int {
	if text, ok := strings.CutPrefix(special, "L-"); ok {
		n, _ := strconv.Atoi(text)
		return n + 1
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(special, "W")) // L and LW yield 0
	return n
}
