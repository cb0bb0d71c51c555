package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNever says that a schedule has no slot: none at all (from Parse), or none in the direction asked for between
// the years 1 and 9999 (from Next and Prev).
var ErrNever = errors.New("never comes due")

// maxLength is the longest expression in characters. Lists of every second and every minute fit with room to spare.
const maxLength = 1000

// macros are the names for expressions, without their @.
var macros = map[string]string{
	"yearly":   "0 0 1 1 *",
	"annually": "0 0 1 1 *",
	"monthly":  "0 0 1 * *",
	"weekly":   "0 0 * * 0",
	"daily":    "0 0 * * *",
	"midnight": "0 0 * * *",
	"hourly":   "0 * * * *",
}

// Parse checks a cron expression (rule R8) and loads a time zone by its IANA name, such as "Europe/Berlin". An empty
// name is UTC; "Local" is refused, since it is another zone on another host.
//
// The verdict depends on the expression and the zone alone, not on the time of the call. An error names the field
// and the value in plain words. It wraps ErrZone if the zone is at fault, and ErrNever if the expression is well
// formed but names no date of any year; all other errors are about the form of the expression.
//
// Loading a zone reads a file, which costs more than all the rest: keep the Schedule rather than parse again.
func Parse(expr, timeZone string) (Schedule, error) {
	s, err := parseExpr(expr)
	if err != nil {
		return Schedule{}, err
	}
	if s.location, err = loadZone(timeZone); err != nil {
		return Schedule{}, err
	}
	s.home = periodAt(s.location, 0)
	return s, nil
}

func parseExpr(expr string) (Schedule, error) {
	texts, v, err := parseFields(expr)
	if err != nil {
		return Schedule{}, err
	}
	if err := checkDates(texts, v); err != nil {
		return Schedule{}, err
	}
	return Schedule{
		clock:     clock{seconds: v[0].set, minutes: v[1].set, hours: v[atHour].set},
		days:      spellDays(v[atDayOfMonth], v[atMonth], v[atDayOfWeek]),
		everyHour: fields[atHour].full(v[atHour]),
	}, nil
}

// parseFields reads the fields of an expression, one by one.
func parseFields(expr string) (texts [6]string, v [6]values, err error) {
	if texts, err = split(expr); err != nil {
		return texts, v, err
	}
	for i := range fields {
		if v[i], err = fields[i].parse(texts[i]); err != nil {
			return texts, v, err
		}
	}
	return texts, v, nil
}

// checkDates refuses fields that name no date of any year (rule R7).
func checkDates(texts [6]string, v [6]values) error {
	if v[atDayOfWeek].any && !dateExists(v[atDayOfMonth], v[atMonth]) {
		return fmt.Errorf("day-of-month %q does not exist in month %q: %w", texts[atDayOfMonth], texts[atMonth], ErrNever)
	}
	return nil
}

// split cuts an expression, or what a macro stands for, into the texts of six fields.
func split(expr string) (texts [6]string, err error) {
	if len(expr) > maxLength {
		return texts, fmt.Errorf("the expression has %d characters; at most %d are allowed", len(expr), maxLength)
	}
	for _, r := range expr {
		if r != '\t' && (r < ' ' || r > '~') {
			return texts, fmt.Errorf("the character %q has no place in an expression", r)
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
		return texts, errors.New("a time zone has no place in an expression; it is given beside it")
	}
	given := strings.Fields(expr)
	switch len(given) {
	case 5:
		texts[0] = "0"
		copy(texts[1:], given)
	case 6:
		copy(texts[:], given)
	default:
		return texts, fmt.Errorf("expected 5 fields, or 6 with leading seconds, got %d", len(given))
	}
	return texts, nil
}

// dateExists reports whether some day-of-month falls in some month of some year (rule R7). With a restricted
// day-of-week the question does not arise: every month has every weekday, and a year will come whose February has
// five of them. It is reckoned here since gronx takes up to 0.2 s to give up.
func dateExists(dom, month values) bool {
	longest := 0
	for m, length := range [...]int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if month.set>>m&1 == 1 {
			longest = max(longest, length)
		}
	}
	if dom.set&span(1, longest, 1) != 0 {
		return true
	}
	for _, special := range dom.specials {
		n, err := strconv.Atoi(strings.TrimSuffix(special, "W"))
		if err != nil || n <= longest { // no number: L, the day that every month has
			return true
		}
	}
	return false
}
