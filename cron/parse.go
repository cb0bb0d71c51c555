package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNever means that there is no slot. From Parse and Describe, it means that
// the expression matches no date of any year. From Next and Prev, it means that
// no slot of the years 1 to 9999 follows or precedes the time.
var ErrNever = errors.New("never comes due")

// maxLength is the maximum length of an expression in bytes. A list of every
// second and of every minute is shorter.
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

// Parse checks a cron expression (rule R8), loads a time zone by its IANA name,
// such as "Europe/Berlin", and returns the schedule. An empty name means UTC.
// Parse rejects the name "Local", because it differs between hosts. An
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
		days:      newDayExpr(v[dayOfMonthField], v[monthField], v[dayOfWeekField]),
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
	for i := range fields {
		if v[i], err = fields[i].parse(texts[i]); err != nil {
			return v, err
		}
	}
	if v[dayOfWeekField].unrestricted && !dateExists(v[dayOfMonthField], v[monthField]) {
		return v, fmt.Errorf("day-of-month %q does not exist in month %q: %w",
			texts[dayOfMonthField], texts[monthField], ErrNever)
	}
	return v, nil
}

// splitFields splits an expression into the texts of six fields. It expands a
// macro and adds seconds if the expression has none.
func splitFields(expr string) (texts [6]string, err error) {
	if len(expr) > maxLength {
		return texts, fmt.Errorf("the expression has %d characters; at most %d are allowed", len(expr), maxLength)
	}
	for _, r := range expr {
		if r != '\t' && (r < ' ' || r > '~') {
			return texts, fmt.Errorf("the character %q is not allowed in an expression", r)
		}
	}
	expr = strings.Trim(expr, " \t")
	if name, ok := strings.CutPrefix(expr, "@"); ok {
		if expr, ok = macros[strings.ToLower(name)]; !ok {
			return texts, fmt.Errorf(
				"macro %q is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly", "@"+name)
		}
	}
	if strings.HasPrefix(expr, "TZ=") || strings.HasPrefix(expr, "CRON_TZ=") {
		return texts, errors.New("an expression cannot contain a time zone; set the time zone separately")
	}
	parts := strings.Fields(expr)
	switch len(parts) {
	case 5:
		texts[secondField] = "0"
		copy(texts[minuteField:], parts)
	case 6:
		copy(texts[:], parts)
	default:
		return texts, fmt.Errorf("expected 5 fields, or 6 with leading seconds, got %d", len(parts))
	}
	return texts, nil
}

// dateExists reports whether an allowed day of the month exists in an allowed
// month of some year (rule R7). It assumes that day-of-week is unrestricted. A
// restricted day-of-week always matches some date: every month has each
// weekday, and in some years February has five of it.
//
// gronx would also detect such an expression, but only after a long search.
func dateExists(dom, month values) bool {
	longest := 0
	for m, length := range [...]int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if month.set>>m&1 == 1 {
			longest = max(longest, length)
		}
	}
	if dom.set&valueRange(1, longest, 1) != 0 {
		return true
	}
	for _, special := range dom.specials {
		n, _ := strconv.Atoi(strings.TrimSuffix(special, "W")) // L yields 0
		if n <= longest {
			return true
		}
	}
	return false
}
