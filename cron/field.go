package cron

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// field describes one position of an expression.
type field struct {
	name string // for error messages
	// lo and hi are the least and the greatest value that may be written.
	lo, hi int
	// end is the last value of * and of an open range such as 10/20. It is
	// less than hi in day-of-week, where 7 is another number for Sunday.
	end   int
	names []string // the three-letter names of lo, lo+1 and so on
	// parseSpecial parses an item that only this field allows, such as L, and
	// returns it in gronx's syntax. It returns false for any other item.
	parseSpecial func(f *field, item string) (special string, ok bool, err error)
}

// Indexes into fields.
const (
	secondField = iota
	minuteField
	hourField
	dayOfMonthField
	monthField
	dayOfWeekField
)

var fields = [6]field{
	{name: "second", lo: 0, hi: 59, end: 59},
	{name: "minute", lo: 0, hi: 59, end: 59},
	{name: "hour", lo: 0, hi: 23, end: 23},
	{name: "day-of-month", lo: 1, hi: 31, end: 31, parseSpecial: parseMonthDay},
	{name: "month", lo: 1, hi: 12, end: 12, names: strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")},
	{name: "day-of-week", lo: 0, hi: 7, end: 6, names: strings.Fields("SUN MON TUE WED THU FRI SAT"), parseSpecial: parseWeekday},
}

// values are the values that a field allows.
type values struct {
	set uint64 // bit n allows the value n
	// specials are the items that match different dates in each month, in
	// gronx's syntax: L, 15W, 2#3, 5L.
	specials []string
	// unrestricted means that the field is a lone * or ? (rule R6).
	unrestricted bool
}

// allowsAll reports whether v contains every value of the field.
func (f *field) allowsAll(v values) bool { return v.set == valueRange(f.lo, f.end, 1) }

// parse parses the text of the field.
func (f *field) parse(text string) (values, error) {
	if text == "*" || text == "?" {
		return values{set: valueRange(f.lo, f.end, 1), unrestricted: true}, nil
	}
	var v values
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			return values{}, fmt.Errorf("%s %q has an empty item", f.name, text)
		}
		if f.parseSpecial != nil {
			special, ok, err := f.parseSpecial(f, item)
			if err != nil {
				return values{}, err
			}
			if ok {
				if !slices.Contains(v.specials, special) {
					v.specials = append(v.specials, special)
				}
				continue
			}
		}
		set, err := f.parseItem(item)
		if err != nil {
			return values{}, err
		}
		v.set |= set
	}
	return v, nil
}

// parseItem parses a value, a range or *, with or without a step.
func (f *field) parseItem(item string) (uint64, error) {
	base, stepText, hasStep := strings.Cut(item, "/")
	loText, hiText, isRange := strings.Cut(base, "-")
	step := 1
	var lo, hi int
	var err error
	switch {
	case strings.HasPrefix(base, "?"):
		return 0, fmt.Errorf("%s %q: a ? must be the whole field; use * in a list or with a step", f.name, item)
	case base == "*":
		lo, hi = f.lo, f.end
	case isRange && (loText == "" || hiText == ""):
		return 0, fmt.Errorf("%s %q is an incomplete range", f.name, item)
	case isRange:
		if lo, err = f.parseValue(loText); err != nil {
			return 0, err
		}
		if hi, err = f.parseValue(hiText); err != nil {
			return 0, err
		}
	default:
		if lo, err = f.parseValue(base); err != nil {
			return 0, err
		}
		if hi = lo; hasStep {
			hi = f.end
		}
	}
	if hasStep {
		if step, err = parseNumber(f.name+" step", stepText, 1, 99); err != nil {
			return 0, err
		}
	}
	if lo > f.end && hi != lo {
		lo = f.lo // a range that starts on day 7 starts on Sunday
	}
	if lo > hi {
		return 0, fmt.Errorf("%s %q wraps around; write it as two ranges", f.name, item)
	}
	set := valueRange(lo, hi, step)
	if f.hi > f.end && set&(1<<f.hi) != 0 {
		set = set&^(1<<f.hi) | 1<<f.lo
	}
	return set, nil
}

// parseValue parses one value: a number, or a name if the field has names.
func (f *field) parseValue(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToUpper(text)); i >= 0 {
		return f.lo + i, nil
	}
	if f.names != nil && !isNumber(text) {
		return 0, fmt.Errorf("%s %q is neither a number nor a three-letter name such as %s", f.name, text, f.names[1])
	}
	return parseNumber(f.name, text, f.lo, f.hi)
}

// parseNumber parses one or two digits. It rejects the signs that strconv
// accepts.
func parseNumber(name, text string, lo, hi int) (int, error) {
	if !isNumber(text) {
		return 0, fmt.Errorf("%s %q is not a number", name, text)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s %s is not in %d-%d", name, text, lo, hi)
	}
	if len(text) > 2 {
		return 0, fmt.Errorf("%s %q has more than two digits", name, text)
	}
	return n, nil
}

// isNumber reports whether a text consists of digits.
func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// parseMonthDay parses L and nW, the special items of day-of-month.
func parseMonthDay(f *field, item string) (special string, ok bool, err error) {
	upper := strings.ToUpper(item)
	switch {
	case upper == "L":
		return upper, true, nil
	case upper == "LW" || strings.HasPrefix(upper, "L-"):
		return "", false, fmt.Errorf("%s %q is not supported; use L or, for example, 15W", f.name, item)
	case strings.HasSuffix(upper, "W"):
		n, err := f.parseValue(item[:len(item)-1])
		return fmt.Sprintf("%dW", n), true, err
	}
	return "", false, nil
}

// parseWeekday parses d#n and dL, the special items of day-of-week. It writes
// Sunday as 0, because gronx does not match 7 in these items.
func parseWeekday(f *field, item string) (special string, ok bool, err error) {
	if weekday, week, ok := strings.Cut(item, "#"); ok {
		d, err := f.parseValue(weekday)
		if err != nil {
			return "", false, err
		}
		n, err := parseNumber(f.name+" occurrence", week, 1, 5)
		return fmt.Sprintf("%d#%d", d%7, n), true, err
	}
	weekday, ok := strings.CutSuffix(strings.ToUpper(item), "L")
	if !ok {
		return "", false, nil
	}
	if weekday == "" {
		return "", false, fmt.Errorf("%s %s needs a day in front, such as 5L for the last Friday", f.name, item)
	}
	d, err := f.parseValue(item[:len(weekday)])
	return fmt.Sprintf("%dL", d%7), true, err
}
