package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// dayExpr is the part of an expression that matches days, as a gronx expression
// that is due at midnight of each matching day. It is empty if every day
// matches, so that common schedules do not use gronx.
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
	found, err := gronx.NextTickAfter(string(e), midnight, true)
	if err != nil || found.Before(midnight) {
		return 0, fmt.Errorf("no matching day from %s on: %w", midnight.Format(time.DateOnly), ErrNever)
	}
	return found.Unix() / day, nil
}
