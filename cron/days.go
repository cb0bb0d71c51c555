package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// days is the part of an expression that matches days. A day matches if it
// matches expr or fromEnd.
type days struct {
	expr    dayExpr
	fromEnd fromEnd
}

func newDays(dom, month, dow values) days {
	e, others := newFromEnd(dom, month)
	switch {
	case len(others.specials) == len(dom.specials) || dateExists(others, month):
		return days{newDayExpr(others, month, dow), e}
	case dow.unrestricted:
		return days{noDay, e}
	}
	// The other items match no date. gronx would search for one in vain, so the
	// expression omits them.
	anyDay := values{set: valueRange(1, 31, 1), unrestricted: true}
	return days{newDayExpr(anyDay, month, dow), e}
}

// next returns the first matching day that is not before from. Days count from
// 1 January 1970. The error wraps ErrNever if there is no such day.
func (d *days) next(from int64) (int64, error) {
	if d.fromEnd.months == 0 {
		return d.expr.next(from)
	}
	found, err := d.expr.next(from)
	if other, ok := d.fromEnd.next(from); ok && (err != nil || other < found) {
		return other, nil
	}
	return found, err
}

// fromEnd matches the items of day-of-month that gronx does not know: L-n, the
// nth day before the last day of a month, and LW, the last weekday of a month.
type fromEnd struct {
	months      uint16 // bit n allows the month n; empty without such items
	before      uint32 // bit n matches L-n
	lastWeekday bool
}

// newFromEnd returns the part of day-of-month that fromEnd matches, and the
// other items. It omits an L-n that exists in no allowed month.
func newFromEnd(dom, month values) (e fromEnd, others values) {
	if len(dom.specials) == 0 {
		return fromEnd{}, dom
	}
	others, others.specials = dom, nil
	longest := longestMonth(month)
	for _, special := range dom.specials {
		text, isBefore := strings.CutPrefix(special, "L-")
		switch {
		case isBefore && neededLength(special) <= longest:
			n, _ := strconv.Atoi(text)
			e.months, e.before = uint16(month.set), e.before|1<<n
		case special == "LW":
			e.months, e.lastWeekday = uint16(month.set), true
		case !isBefore:
			others.specials = append(others.specials, special)
		}
	}
	return e, others
}

// next returns the first matching day that is not before from. It returns false
// if there is none in nine years. The longest gap is eight years: L-28 in
// February matches 1 February 2096, and then 1 February 2104.
func (e fromEnd) next(from int64) (int64, bool) {
	year, month, first := time.Unix(from*day, 0).UTC().Date()
	for range 9 * 12 {
		if e.months>>month&1 == 1 {
			last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
			if matches := e.matches(last) >> first << first; matches != 0 {
				return last.Unix()/day - int64(last.Day()) + lowest(matches), true
			}
		}
		if first = 1; month == time.December {
			year++
			month = 0
		}
		month++
	}
	return 0, false
}

// matches returns the set of the matching days of the month that ends on last.
func (e fromEnd) matches(last time.Time) uint64 {
	var set uint64
	for rest := uint64(e.before); rest != 0; rest &= rest - 1 {
		if d := int64(last.Day()) - lowest(rest); d > 0 {
			set |= 1 << d
		}
	}
	if e.lastWeekday {
		weekend := max(0, (int(last.Weekday())+6)%7-4) // days after Friday
		set |= 1 << (last.Day() - weekend)
	}
	return set
}

// noDay is a dayExpr that matches no day.
const noDay dayExpr = "none"

// dayExpr matches the days that gronx matches, as a gronx expression that is
// due at midnight of each of them. It is empty if every day matches, so that
// common schedules do not use gronx.
//
// gronx is correct for a well-formed expression in UTC, but not for every
// spelling and not across clock changes. So it gets UTC times only, and
// expressions that contain midnight, numbers, ranges, L, nW, d#n and dL only.
// Its validity check is not used, because the result depends on the time at
// which the process started.
type dayExpr string

func newDayExpr(dom, month, dow values) dayExpr {
	everyDayOfMonth := fields[dayOfMonthField].allowsAll(dom)
	everyWeekday := fields[dayOfWeekField].allowsAll(dow)
	everyDay := everyDayOfMonth && everyWeekday
	if !dom.unrestricted && !dow.unrestricted { // rule R6
		everyDay = everyDayOfMonth || everyWeekday
	}
	month.unrestricted = fields[monthField].allowsAll(month)
	if everyDay && month.unrestricted {
		return ""
	}
	return dayExpr("0 0 0 " + dom.gronx() + " " + month.gronx() + " " + dow.gronx())
}

// gronx returns the values in gronx's syntax. A restricted field must not start
// with an asterisk, because gronx would treat it as unrestricted.
func (v values) gronx() string {
	if v.unrestricted {
		return "*"
	}
	var items []string
	for rest := v.set; rest != 0; {
		lo := bits.TrailingZeros64(rest)
		hi := lo + bits.TrailingZeros64(^(rest >> lo)) - 1
		item := strconv.Itoa(lo)
		if hi > lo {
			item += "-" + strconv.Itoa(hi)
		}
		items = append(items, item)
		rest &^= valueRange(lo, hi, 1)
	}
	return strings.Join(append(items, v.specials...), ",")
}

// next returns the first matching day that is not before from. Days count from
// 1 January 1970. The error wraps ErrNever if gronx finds no such day.
func (e dayExpr) next(from int64) (int64, error) {
	if e == "" {
		return from, nil
	}
	midnight := time.Unix(from*day, 0).UTC()
	// The search includes midnight. If an exclusive search finds nothing, gronx
	// returns its argument and no error.
	var found time.Time
	err := ErrNever
	if e != noDay {
		found, err = gronx.NextTickAfter(string(e), midnight, true)
	}
	if err != nil || found.Before(midnight) {
		return 0, fmt.Errorf("no matching day from %s on: %w", midnight.Format(time.DateOnly), ErrNever)
	}
	return found.Unix() / day, nil
}
