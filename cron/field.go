package cron

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
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
	// longName returns the long name of a value, if the field has names.
	longName func(int) string
	// longer is the unit that the values of the field fill, such as hour for
	// minute, or empty. longerCount is the number of its values, or 0 if a step
	// of it is not a multiple of a step of the field.
	longer      string
	longerCount int
	// parseSpecial parses an item that only this field allows, such as L, and
	// returns its normal form. It returns false for any other item. Only the
	// two day fields have special items.
	parseSpecial func(f *field, item string) (special string, ok bool, err error)
}

// count returns the number of values of the field. It is the greatest step.
func (f *field) count() int { return f.end - f.lo + 1 }

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
	{name: "second", lo: 0, hi: 59, end: 59, longer: "minute", longerCount: 60},
	{name: "minute", lo: 0, hi: 59, end: 59, longer: "hour", longerCount: 24},
	{name: "hour", lo: 0, hi: 23, end: 23, longer: "day-of-month"},
	{name: "day-of-month", lo: 1, hi: 31, end: 31, longer: "month", parseSpecial: parseMonthDay},
	{
		name: "month", lo: 1, hi: 12, end: 12, longer: "year",
		names:    strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
		longName: func(n int) string { return time.Month(n).String() },
	},
	{
		name: "day-of-week", lo: 0, hi: 7, end: 6, parseSpecial: parseWeekday,
		names:    strings.Fields("SUN MON TUE WED THU FRI SAT"),
		longName: func(n int) string { return time.Weekday(n).String() },
	},
}

// values are the values that a field allows.
type values struct {
	set uint64 // bit n allows the value n
	// specials are the items that match different dates in each month, in their
	// normal form: L, LW, L-3, 15W, 2#3, 5L.
	specials []string
	// unrestricted means that the field is a lone * or ? (rule R6).
	unrestricted bool
}

// allowsAll reports whether v contains every value of the field.
func (f *field) allowsAll(v values) bool { return v.set == valueRange(f.lo, f.end, 1) }

// syntaxError describes what is wrong with an expression.
type syntaxError struct {
	// part is what is wrong: an item of a field or a part of it.
	part    string
	problem string
	advice  string // what to write instead, or empty
}

func (e *syntaxError) Error() string {
	if e.advice == "" {
		return e.problem
	}
	return e.problem + "; " + e.advice
}

// parse parses the text of the field. The error names the field and the item.
func (f *field) parse(text string) (values, error) {
	if text == "*" || text == "?" && f.parseSpecial != nil {
		return values{set: valueRange(f.lo, f.end, 1), unrestricted: true}, nil
	}
	var v values
	for item, rest, more := "", text, true; more; {
		item, rest, more = strings.Cut(rest, ",")
		if item == "" {
			return values{}, &syntaxError{problem: fmt.Sprintf("%s %q has an empty item", f.name, text)}
		}
		set, special, err := f.parseItem(item)
		if err != nil {
			return values{}, f.nameItem(item, err)
		}
		v.set |= set
		if special != "" && !slices.Contains(v.specials, special) {
			v.specials = append(v.specials, special)
		}
	}
	slices.SortFunc(v.specials, compareSpecials)
	return v, nil
}

// compareSpecials orders special items, so that their order in an expression
// does not matter: 5W, 15W, L, LW, L-3, and 1#1, 1#2, 1L.
func compareSpecials(a, b string) int {
	return cmp.Or(
		cmp.Compare(strings.Count(a, "L"), strings.Count(b, "L")),
		cmp.Compare(len(a), len(b)),
		cmp.Compare(a, b),
	)
}

// nameItem adds the name of the field to an error of parseItem, and the item if
// the error concerns a part of it.
func (f *field) nameItem(item string, err error) error {
	var e *syntaxError
	if !errors.As(err, &e) {
		return err
	}
	if e.part == item {
		e.problem = f.name + " " + e.problem
	} else {
		e.problem = fmt.Sprintf("%s %q: %s", f.name, item, e.problem)
	}
	return e
}

// parseItem parses an item of the field's list: its values, or its normal form
// if the item is special.
func (f *field) parseItem(item string) (set uint64, special string, err error) {
	if f.parseSpecial != nil {
		if special, ok, err := f.parseSpecial(f, item); ok || err != nil {
			return 0, special, err
		}
	}
	if set, err = f.parseRange(item); err != nil {
		if formErr := f.checkForm(item); formErr != nil {
			return 0, "", formErr
		}
	}
	return set, "", err
}

// parseRange parses a value, a range or *, with or without a step.
func (f *field) parseRange(item string) (uint64, error) {
	base, stepText, hasStep := strings.Cut(item, "/")
	loText, hiText, isRange := strings.Cut(base, "-")
	step := 1
	var lo, hi int
	var err error
	switch {
	case base == "*":
		lo, hi = f.lo, f.end
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
		if step, err = f.parseStep(base, stepText); err != nil {
			return 0, err
		}
	}
	if lo > f.end && hi != lo {
		lo = f.lo // a range that starts on day 7 starts on Sunday
	}
	if isRange && f.hi > f.end && lo > f.lo && strings.EqualFold(hiText, f.names[0]) {
		hi = f.hi // a range that ends with SUN ends on day 7
	}
	if lo > hi {
		return 0, &syntaxError{
			part:    item,
			problem: fmt.Sprintf("%q wraps around", item),
			advice:  fmt.Sprintf("write %q", f.unwrap(lo, hi, step, !isNumber(loText))),
		}
	}
	set := valueRange(lo, hi, step)
	if f.hi > f.end && set&(1<<f.hi) != 0 {
		set = set&^(1<<f.hi) | 1<<f.lo
	}
	return set, nil
}

// checkForm returns an error for an item that lacks a part, or that is of
// another dialect.
func (f *field) checkForm(item string) error {
	base, stepText, hasStep := strings.Cut(item, "/")
	problem, advice := "", ""
	switch {
	case strings.HasPrefix(base, "?") && f.parseSpecial == nil:
		problem = "%q: ? is allowed in the two day fields only, and there is no year field"
		advice = fmt.Sprintf("write %q", "*"+item[1:])
	case strings.HasPrefix(base, "?"):
		problem, advice = "%q: a ? must be the whole field", "use * in a list or with a step"
	case strings.EqualFold(base, "H") && hasStep && isNumber(stepText):
		problem, advice = "%q: H is not supported", fmt.Sprintf("write %q", "*/"+stepText)
	case strings.EqualFold(base, "H"), strings.HasPrefix(strings.ToUpper(base), "H("):
		problem, advice = "%q: H is not supported", fmt.Sprintf("write a number in %d-%d", f.lo, f.end)
	case base == "" && isNumber(stepText):
		problem, advice = "%q has no value before /", fmt.Sprintf("write %q", "*/"+stepText)
	case base == "" && hasStep:
		problem = "%q has no value before /"
	case hasStep && stepText == "":
		problem = "%q has no step after /"
	case strings.HasPrefix(base, "-"), strings.HasSuffix(base, "-"):
		problem = "%q is an incomplete range"
	default:
		return nil
	}
	return &syntaxError{part: item, problem: fmt.Sprintf(problem, item), advice: advice}
}

// parseStep parses a step. A step greater than the number of values would match
// the first value only, although it looks like a longer interval.
func (f *field) parseStep(base, text string) (int, error) {
	if !isNumber(text) {
		return 0, &syntaxError{problem: fmt.Sprintf("the step %q is not a number", text)}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > f.count() {
		e := &syntaxError{problem: fmt.Sprintf("the step %s is not in 1-%d", text, f.count())}
		if n > f.count() {
			e.advice = f.adviseInterval(base, n)
		}
		return 0, e
	}
	if len(text) > 2 {
		return 0, &syntaxError{problem: fmt.Sprintf("the step %q has more than two digits", text)}
	}
	return n, nil
}

// adviseInterval returns what to write instead of a step that is greater than
// the number of values.
func (f *field) adviseInterval(base string, step int) string {
	if n := step / f.count(); base == "*" && step%f.count() == 0 && f.longerCount%n == 0 && f.longerCount > 0 {
		return fmt.Sprintf("write 0 in %s and */%d in %s", f.name, n, f.longer)
	}
	switch f.longer {
	case "":
		return "for a longer interval, use Every"
	case "year":
		return "an expression has no year field"
	}
	return "for a longer interval, use Every or a step in " + f.longer
}

// unwrap writes a range that wraps around as two ranges. It uses names if the
// range does.
func (f *field) unwrap(lo, hi, step int, named bool) string {
	end := f.end
	if named {
		end = f.hi // a range may end with SUN
	}
	text := func(n int) string {
		if named {
			return f.names[(n-f.lo)%len(f.names)]
		}
		return strconv.Itoa(n)
	}
	write := func(lo, hi int) string {
		switch {
		case lo+step > hi:
			return text(lo)
		case step > 1:
			return fmt.Sprintf("%s-%s/%d", text(lo), text(hi), step)
		}
		return text(lo) + "-" + text(hi)
	}
	ranges := write(lo, end)
	if next := lo + (end-lo)/step*step + step - f.count(); next <= hi {
		ranges += "," + write(next, hi)
	}
	return ranges
}

// parseValue parses one value: a number, or a name if the field has names.
func (f *field) parseValue(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToUpper(text)); i >= 0 {
		return f.lo + i, nil
	}
	if f.names == nil || isNumber(text) {
		return parseNumber("", text, f.lo, f.hi)
	}
	for i, name := range f.names {
		if long := strings.ToUpper(f.longName(f.lo + i)); len(text) > len(name) && strings.HasPrefix(long, strings.ToUpper(text)) {
			return 0, &syntaxError{
				part: text, problem: fmt.Sprintf("%q is not a three-letter name", text), advice: "write " + name,
			}
		}
	}
	return 0, &syntaxError{
		part:    text,
		problem: fmt.Sprintf("%q is neither a number nor a three-letter name such as %s", text, f.names[1]),
	}
}

// parseNumber parses one or two digits. It rejects the signs that strconv
// accepts. The name in front of the number in an error may be empty.
func parseNumber(name, text string, lo, hi int) (int, error) {
	if !isNumber(text) {
		return 0, &syntaxError{part: text, problem: fmt.Sprintf("%s%q is not a number", name, text)}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		return 0, &syntaxError{part: text, problem: fmt.Sprintf("%s%s is not in %d-%d", name, text, lo, hi)}
	}
	if len(text) > 2 {
		return 0, &syntaxError{part: text, problem: fmt.Sprintf("%s%q has more than two digits", name, text)}
	}
	return n, nil
}

// isNumber reports whether a text consists of digits.
func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// parseMonthDay parses L, LW, L-n and nW, the special items of day-of-month.
func parseMonthDay(f *field, item string) (special string, ok bool, err error) {
	if !strings.ContainsAny(item, "LWlw") {
		return "", false, nil
	}
	upper := strings.ToUpper(item)
	refuse := func(problem, advice string) (string, bool, error) {
		return "", false, &syntaxError{part: item, problem: fmt.Sprintf(problem, item), advice: advice}
	}
	switch {
	case upper == "L" || upper == "LW":
		return upper, true, nil
	case upper == "WL":
		return refuse("%q is not supported", "write LW for the last weekday of the month")
	case upper == "L-" || upper == "L-0":
		return refuse("%q has no number of days from 1 to 30", "write L for the last day, or L-1 for the day before it")
	case strings.HasPrefix(upper, "L-") && strings.HasSuffix(upper, "W"):
		return refuse("%q is not supported", "write LW for the last weekday of the month")
	case strings.HasPrefix(upper, "L-"):
		n, err := parseNumber("", item[len("L-"):], 1, 30)
		return fmt.Sprintf("L-%d", n), true, err
	case strings.HasPrefix(upper, "L") && isNumber(upper[1:]):
		return refuse("%q is not supported", fmt.Sprintf("write L-%s for that many days before the last one", item[1:]))
	case strings.HasSuffix(upper, "-L"):
		return refuse("%q: a range cannot end with L", fmt.Sprintf("write %q", item[:len(item)-1]+"31"))
	case upper == "W":
		return refuse("%q has no day before W", "write, for example, 15W")
	case strings.HasPrefix(upper, "W") && isNumber(upper[1:]):
		return refuse("%q: W follows the day", fmt.Sprintf("write %sW", item[1:]))
	case strings.HasSuffix(upper, "W"):
		n, err := f.parseValue(item[:len(item)-1])
		return fmt.Sprintf("%dW", n), true, err
	}
	return "", false, nil
}

// parseWeekday parses d#n and dL, the special items of day-of-week. It writes
// Sunday as 0, because gronx does not match 7 in these items.
func parseWeekday(f *field, item string) (special string, ok bool, err error) {
	if !strings.ContainsAny(item, "#Ll") {
		return "", false, nil
	}
	upper := strings.ToUpper(item)
	refuse := func(problem, advice string) (string, bool, error) {
		return "", false, &syntaxError{part: item, problem: fmt.Sprintf(problem, item), advice: advice}
	}
	adviseLast := func(weekday string, d int) string {
		return fmt.Sprintf("write %sL for the last %s of the month", weekday, time.Weekday(d%7))
	}
	if weekday, week, ok := strings.Cut(item, "#"); ok {
		const advice = "write, for example, 5#2 for the second Friday of the month"
		switch {
		case weekday == "":
			return refuse("%q has no day before #", advice)
		case week == "":
			return refuse("%q has no number after #", advice)
		}
		d, err := f.parseValue(weekday)
		switch {
		case err != nil:
			return "", false, err
		case strings.EqualFold(week, "L") || week == "-1":
			return refuse("%q is not supported", adviseLast(weekday, d))
		}
		n, err := parseNumber("the occurrence ", week, 1, 5)
		return fmt.Sprintf("%d#%d", d%7, n), true, err
	}
	if upper == "L" {
		return refuse("%q needs a day in front, such as 5L for the last Friday", "")
	}
	if rest, ok := strings.CutPrefix(upper, "L"); ok {
		rest = strings.TrimPrefix(rest, "-")
		if d, err := f.parseValue(rest); err == nil {
			return refuse("%q: L follows the day", adviseLast(rest, d))
		}
	}
	weekday, ok := strings.CutSuffix(upper, "L")
	if !ok {
		return "", false, nil
	}
	d, err := f.parseValue(item[:len(weekday)])
	return fmt.Sprintf("%dL", d%7), true, err
}
