package hourbell

import (
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// countLimit is how far skipped slots are counted exactly, so that the cost of a gap does not grow with its length.
const countLimit = 1000

// The reasons for which slots are skipped, as stored.
const (
	skipLate       = "LATE"       // nobody claimed them in time
	skipSuperseded = "SUPERSEDED" // a later slot came due first, and only the latest may fire
	skipLapsed     = "LAPSED"     // somebody had claimed them, but then nobody came back for too long
	skipDisabled   = "DISABLED"
	skipChanged    = "CHANGED"
	skipRemoved    = "REMOVED"
)

// skip is a range of slots that pass without a run.
type skip struct {
	reason   string
	from, to time.Time // the first and the last of them
	count    int       // exact up to countLimit, then countLimit
	atLeast  bool      // there are more than count
}

// decision is what a claimed schedule owes at the instant of its claim.
type decision struct {
	slot    time.Time // the latest slot due
	fire    bool      // whether it fires; nothing else may
	skipped *skip
	next    time.Time // the first slot after the claim
	owed    time.Time // when the debt was opened that a failure now would keep open; zero for none
}

// decide says what a claim owes. It is a function of its arguments alone: no clock, no database, no logger.
//
// The latest slot due fires if it is within grace at the claim (rule M2), or if the row owes a run: the slot that was
// the latest when the debt was opened was within grace then, or the latest now has come since, while somebody was at
// the row (rule L4). All other slots due are skipped.
func decide(c Claim, grace time.Duration, slots *calendar) (decision, error) {
	latest, err := slots.lastDue(c.NextRunAt, c.At)
	if err != nil {
		return decision{}, err
	}
	next, err := slots.Next(c.At)
	if err != nil {
		return decision{}, err
	}
	owes := false
	if c.OwedSince.Before(c.At) {
		then, err := slots.lastDue(c.NextRunAt, c.OwedSince)
		if err != nil {
			return decision{}, err
		}
		owes = c.OwedSince.Sub(then) <= grace
	}
	inGrace := c.At.Sub(latest) <= grace
	attended := latest.After(c.OwedSince)
	d := decision{slot: latest, fire: inGrace || owes || attended, next: next}
	switch {
	case inGrace && !owes:
		d.owed = c.At
	case d.fire:
		d.owed = c.OwedSince
	}
	d.skipped, err = passedOver(c, grace, d, owes, slots)
	return d, err
}

// passedOver is what a decision skips, and why.
func passedOver(c Claim, grace time.Duration, d decision, owes bool, slots *calendar) (*skip, error) {
	to := d.slot
	if d.fire {
		if !c.NextRunAt.Before(d.slot) {
			return nil, nil
		}
		var err error
		if to, err = slots.lastBefore(c.NextRunAt, d.slot); err != nil {
			return nil, err
		}
	}
	reason := skipLate
	switch {
	case d.fire && (owes || c.At.Sub(to) <= grace):
		reason = skipSuperseded
	case c.Lapsed:
		reason = skipLapsed
	}
	return slots.skip(reason, c.NextRunAt, to)
}

// settle is what a schedule passes over when a person or a deploy stops or moves it at an instant: every slot due
// and not fired (rule M5). It returns nil when there is none.
func settle(row Schedule, at time.Time, reason string, slots *calendar) (*skip, error) {
	if row.NextRunAt.IsZero() || row.NextRunAt.After(at) {
		return nil, nil
	}
	latest, err := slots.lastDue(row.NextRunAt, at)
	if err != nil {
		return nil, err
	}
	return slots.skip(reason, row.NextRunAt, latest)
}

// calendar is one expression in one zone, with a memory of its answers: a burst asks the same few questions for
// thousands of schedules. It is not safe for concurrent use.
type calendar struct {
	slots  cron.Schedule
	next   map[time.Time]time.Time
	prev   map[time.Time]time.Time
	counts map[[2]time.Time]int
}

func newCalendar(slots cron.Schedule) *calendar {
	return &calendar{slots, map[time.Time]time.Time{}, map[time.Time]time.Time{}, map[[2]time.Time]int{}}
}

// calendarOf is the calendar of an expression in a zone, one for all rows that share them.
func calendarOf(known map[[2]string]*calendar, expression, zone string) (*calendar, error) {
	return remember(known, [2]string{expression, zone}, func() (*calendar, error) {
		slots, err := cron.Parse(expression, zone)
		if err != nil {
			return nil, fmt.Errorf("%q in %q: %w", expression, zone, err)
		}
		return newCalendar(slots), nil
	})
}

// Next is the first slot strictly after t.
func (c *calendar) Next(t time.Time) (time.Time, error) {
	return remember(c.next, t, func() (time.Time, error) { return c.slots.Next(t) })
}

// lastDue is the latest slot due at t, of a row whose pointer stands at next: the later of the pointer and the last
// slot ≤ t. The pointer counts even where the expression no longer has it.
func (c *calendar) lastDue(next, t time.Time) (time.Time, error) {
	return c.lastBefore(next, t.Truncate(time.Second).Add(time.Second))
}

// lastBefore is the later of next and the last slot strictly before t.
func (c *calendar) lastBefore(next, t time.Time) (time.Time, error) {
	if t.Sub(next) <= time.Second {
		return next, nil // slots are whole seconds
	}
	last, err := remember(c.prev, t, func() (time.Time, error) { return c.slots.Prev(t) })
	switch {
	case errors.Is(err, cron.ErrNever), err == nil && last.Before(next):
		return next, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("last slot before %v: %w", t, err)
	}
	return last, nil
}

// skip describes the slots from one to another, both included.
func (c *calendar) skip(reason string, from, to time.Time) (*skip, error) {
	count, err := remember(c.counts, [2]time.Time{from, to}, func() (int, error) {
		return c.slots.Count(from, to, countLimit+1)
	})
	if err != nil {
		return nil, fmt.Errorf("count the slots from %v to %v: %w", from, to, err)
	}
	skipped := &skip{reason: reason, from: from, to: to, count: max(count, 1)}
	if count > countLimit {
		skipped.count, skipped.atLeast = countLimit, true
	}
	return skipped, nil
}

// remember answers from memory, or computes and keeps the answer.
func remember[K comparable, V any](memory map[K]V, key K, compute func() (V, error)) (V, error) {
	if known, ok := memory[key]; ok {
		return known, nil
	}
	value, err := compute()
	if err == nil {
		memory[key] = value
	}
	return value, err
}
