package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// days is the calendar half of an expression, as an expression for gronx that is due at midnight of each day that
// matches. It is empty when every day matches, so that the commonest schedules never ask.
//
// gronx is right about a clean expression on a calendar without clock changes, and wrong in other places. So it gets
// UTC only, seconds and midnight only, and numbers, ranges, L, nW, d#n and dL only: what it makes of names, steps,
// signs and a leading asterisk never matters. Its validity check is not used, since that depends on the time at
// which the process started.
type days string

// spellDays writes the day fields down for gronx.
func spellDays(dom, month, dow values) days {
	domFull, dowFull := fields[atDayOfMonth].full(dom), fields[atDayOfWeek].full(dow)
	every := domFull && dowFull
	if !dom.any && !dow.any { // either will do (rule R6)
		every = domFull || dowFull
	}
	month.any = fields[atMonth].full(month)
	if every && month.any {
		return ""
	}
	return days("0 0 0 " + dom.spell() + " " + month.spell() + " " + dow.spell())
}

// spell writes a field as numbers, ranges and special items. A restricted field never starts with an asterisk,
// which gronx would take for an unrestricted one.
func (v values) spell() string {
	if v.any {
		return "*"
	}
	var items []string
	for left := v.set; left != 0; {
		lo := bits.TrailingZeros64(left)
		hi := lo + bits.TrailingZeros64(^(left >> lo)) - 1
		item := strconv.Itoa(lo)
		if hi > lo {
			item += "-" + strconv.Itoa(hi)
		}
		items = append(items, item)
		left &^= span(lo, hi, 1)
	}
	return strings.Join(append(items, v.specials...), ",")
}

// from is the first day, not before d, that matches. Days count from 1 January 1970.
func (e days) from(d int64) (int64, error) {
	if e == "" {
		return d, nil
	}
	midnight := time.Unix(d*day, 0).UTC()
	// Inclusive, gronx spares itself the comparison of formatted times, and a result that has not moved is an
	// answer and not the sign of a failure that it is otherwise.
	found, err := gronx.NextTickAfter(string(e), midnight, true)
	if err != nil || found.Before(midnight) {
		return 0, fmt.Errorf("no day from %s on: %w", midnight.Format(time.DateOnly), ErrNever)
	}
	return found.Unix() / day, nil
}
