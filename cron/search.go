package cron

import (
	"iter"
	"time"
)

// search answers one call. It remembers the last period and the last day it asked for, since a call that looks for
// many slots finds most of them in the same period and on the same day.
type search struct {
	clock     clock
	days      days
	everyHour bool
	location  *time.Location

	period         period
	asked, matched int64 // no day matches from asked up to matched, which does
}

func newSearch(s Schedule) search {
	return search{
		clock: s.clock, days: s.days, everyHour: s.everyHour, location: s.location,
		period: s.home, asked: 0, matched: -1,
	}
}

// next is the first slot at or after instant t.
//
// It goes through the periods of the zone one by one, since within a period the clock on the wall neither jumps nor
// repeats. The only readings that a period does not show itself and yet answers for are those that were passed over
// at its start (rule R3).
func (q *search) next(t int64) (int64, error) {
	for t <= lastInstant {
		if !q.period.contains(t) {
			q.period = periodAt(q.location, t)
		}
		p := q.period
		from := p.shows(t)
		if !q.everyHour && t-p.start < 2*day {
			from = newReadings(q.location, p, t)
		}
		match, err := q.reading(from)
		if err != nil {
			return 0, err
		}
		if match < p.shows(p.end) {
			// A match that was passed over lies before the first reading of the period, and t is that start.
			slot := max(int64(match)-p.offset, t)
			if slot > lastInstant {
				break
			}
			return slot, nil
		}
		t = p.end
	}
	return 0, ErrNever
}

// prev is the last slot at or before instant t, by looking ahead from ever further back: so it cannot disagree with
// next, and the common case, a slot that has just come due, takes one look.
func (q *search) prev(t int64) (int64, error) {
	found, none := int64(0), t+1 // no slot lies from none to t
	for back := int64(1); ; back *= 4 {
		from := max(none-back, firstInstant)
		if from >= none {
			return 0, ErrNever
		}
		if slot, err := q.next(from); err == nil && slot <= t {
			found = slot
			break
		}
		none = from
	}
	// found is a slot, but there may be later ones. Mostly it is the last or the one before; the halving is for
	// schedules with many slots close together and none for long.
	for found+1 < none {
		slot, err := q.next(found + 1)
		if err != nil || slot > t {
			break
		}
		found = slot
		middle := found + (none-found)/2
		if slot, err = q.next(middle); err == nil && slot <= t {
			found = slot
		} else {
			none = middle
		}
	}
	return found, nil
}

// slots are the slots from one instant to another, both included.
func (q *search) slots(from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for slot, err := q.next(from); err == nil && slot <= to; slot, err = q.next(slot + 1) {
			if !yield(slot) {
				return
			}
		}
	}
}

// reading is the first reading, not before from, that the expression matches.
func (q *search) reading(from reading) (reading, error) {
	date, second := from.split()
	second, ok := q.clock.from(second)
	if !ok {
		date, second = date+1, q.clock.first()
	}
	if date < q.asked || date > q.matched {
		matched, err := q.days.from(date)
		if err != nil {
			return 0, err
		}
		q.asked, q.matched = date, matched
	}
	if q.matched > date {
		second = q.clock.first()
	}
	return reading(q.matched*day + second), nil
}
