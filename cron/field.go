package cron

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// field describes one position of an expression: its name in messages and the values that may stand there.
type field struct {
	name   string
	lo, hi int      // the values that may be written
	end    int      // where * and an open step end; below hi where hi is another name for lo (7 and 0 for Sunday)
	names  []string // the three-letter names of lo, lo+1 and so on
	// special reads an item that only this field has, such as L, and spells it for gronx. ok is false when the
	// item is not of that kind.
	special func(f *field, item string) (spelled string, ok bool, err error)
}

// The positions of the fields that are asked for by name.
const (
	atHour = iota + 2
	atDayOfMonth
	atMonth
	atDayOfWeek
)

var fields = [6]field{
	{name: "second", lo: 0, hi: 59, end: 59},
	{name: "minute", lo: 0, hi: 59, end: 59},
	{name: "hour", lo: 0, hi: 23, end: 23},
	{name: "day-of-month", lo: 1, hi: 31, end: 31, special: monthDay},
	{name: "month", lo: 1, hi: 12, end: 12, names: strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")},
	{name: "day-of-week", lo: 0, hi: 7, end: 6, names: strings.Fields("SUN MON TUE WED THU FRI SAT"), special: weekday},
}

// values is what a field allows.
type values struct {
	set      uint64   // bit n: the value n
	specials []string // items that depend on the month, spelled for gronx: L, 15W, 2#3, 5L
	any      bool     // the field is a lone * or ?, the only unrestricted field there is (rule R6)
}

// full reports whether every value of the field is allowed.
func (f *field) full(v values) bool { return v.set == span(f.lo, f.end, 1) }

// parse reads the text of a field.
func (f *field) parse(text string) (values, error) {
	if text == "*" || text == "?" {
		return values{set: span(f.lo, f.end, 1), any: true}, nil
	}
	var v values
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			return values{}, fmt.Errorf("%s %q has an empty item", f.name, text)
		}
		if f.special != nil {
			spelled, ok, err := f.special(f, item)
			if err != nil {
				return values{}, err
			}
			if ok {
				if !slices.Contains(v.specials, spelled) {
					v.specials = append(v.specials, spelled)
				}
				continue
			}
		}
		set, err := f.item(item)
		if err != nil {
			return values{}, err
		}
		v.set |= set
	}
	return v, nil
}

// item reads a value, a range or a step.
func (f *field) item(item string) (uint64, error) {
	base, stepText, stepped := strings.Cut(item, "/")
	loText, hiText, ranged := strings.Cut(base, "-")
	step := 1
	var lo, hi int
	var err error
	switch {
	case strings.HasPrefix(base, "?"):
		return 0, fmt.Errorf("%s %q: a ? stands alone; write * in a list or before a step", f.name, item)
	case base == "*":
		lo, hi = f.lo, f.end
	case ranged && (loText == "" || hiText == ""):
		return 0, fmt.Errorf("%s %q lacks an end of its range", f.name, item)
	case ranged:
		if lo, err = f.value(loText); err != nil {
			return 0, err
		}
		if hi, err = f.value(hiText); err != nil {
			return 0, err
		}
	default:
		if lo, err = f.value(base); err != nil {
			return 0, err
		}
		if hi = lo; stepped {
			hi = f.end
		}
	}
	if stepped {
		if step, err = number(f.name+" step", stepText, 1, 99); err != nil {
			return 0, err
		}
	}
	if lo > f.end && hi != lo {
		lo = f.lo // a week that starts on day 7 starts on Sunday
	}
	if lo > hi {
		return 0, fmt.Errorf("%s %q wraps around; write it as two ranges", f.name, item)
	}
	set := span(lo, hi, step)
	if f.hi > f.end && set&(1<<f.hi) != 0 {
		set = set&^(1<<f.hi) | 1<<f.lo
	}
	return set, nil
}

// value reads one value: a name where the field has names, else a number.
func (f *field) value(text string) (int, error) {
	if i := slices.Index(f.names, strings.ToUpper(text)); i >= 0 {
		return f.lo + i, nil
	}
	if f.names != nil && !digits(text) {
		return 0, fmt.Errorf("%s %q is neither a number nor a three-letter name such as %s", f.name, text, f.names[1])
	}
	return number(f.name, text, f.lo, f.hi)
}

// number reads one or two digits. Signs, blanks and long numbers are refused: strconv alone would take "+5".
func number(what, text string, lo, hi int) (int, error) {
	if !digits(text) {
		return 0, fmt.Errorf("%s %q is not a number", what, text)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s %s is not in %d-%d", what, text, lo, hi)
	}
	if len(text) > 2 {
		return 0, fmt.Errorf("%s %q has more than two digits", what, text)
	}
	return n, nil
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// monthDay reads L and nW.
func monthDay(f *field, item string) (string, bool, error) {
	upper := strings.ToUpper(item)
	switch {
	case upper == "L":
		return upper, true, nil
	case upper == "LW" || strings.HasPrefix(upper, "L-"):
		return "", false, fmt.Errorf("%s %q is not supported; of this kind there are L and, for example, 15W", f.name, item)
	case strings.HasSuffix(upper, "W"):
		n, err := f.value(item[:len(item)-1])
		return fmt.Sprintf("%dW", n), true, err
	}
	return "", false, nil
}

// weekday reads d#n and dL. Both spell Sunday as 0, the number gronx compares with.
func weekday(f *field, item string) (string, bool, error) {
	if name, week, ok := strings.Cut(item, "#"); ok {
		d, err := f.value(name)
		if err != nil {
			return "", false, err
		}
		n, err := number(f.name+" week", week, 1, 5)
		return fmt.Sprintf("%d#%d", d%7, n), true, err
	}
	name, ok := strings.CutSuffix(strings.ToUpper(item), "L")
	if !ok {
		return "", false, nil
	}
	if name == "" {
		return "", false, fmt.Errorf("%s %s needs a day in front, such as 5L for the last Friday", f.name, item)
	}
	d, err := f.value(item[:len(name)])
	return fmt.Sprintf("%dL", d%7), true, err
}
