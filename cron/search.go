package cron

import (
	"iter"
	"time"
)

// search computes the slots for one call. It caches the last period and the
// last day that it found, because neighboring slots often share them.
type search struct {
	timeOfDay timeOfDay
	days      days
	everyHour bool
	location  *time.Location

	period period
	// dayFound is the first matching day that is not before dayFrom. It is less
	// than dayFrom until the first day is found.
	dayFrom, dayFound int64
}

func newSearch(s Schedule) search {
	return search{
		timeOfDay: s.timeOfDay, days: s.days, everyHour: s.everyHour, location: s.location,
		period: s.epochPeriod, dayFrom: 0, dayFound: -1,
	}
}

// next returns the first slot at or after t. It returns ErrNever if there is
// none up to maxSlot.
//
// It visits the periods of the zone in order. Within a period the offset is
// constant, so each local time maps to one UTC time. The slots of a period are
// its own local times and, for a fixed-time schedule, those in a gap at its
// start (rule R3).
func (q *search) next(t int64) (int64, error) {
	for t <= maxSlot {
		if !q.period.contains(t) {
			q.period = periodAt(q.location, t)
		}
		p := q.period
		from := p.localTime(t)
		if !q.everyHour && t-p.start < 2*day { // only then can the result differ
			from = firstNewLocalTime(q.location, p, t)
		}
		match, err := q.match(from)
		if err != nil {
			return 0, err
		}
		if match < p.localTime(p.end) {
			// If the match is in a gap, t is the start of the period.
			slot := max(int64(match)-p.offset, t)
			if slot > maxSlot {
				break
			}
			return slot, nil
		}
		t = p.end
	}
	return 0, ErrNever
}

// prev returns the last slot at or before t. It returns ErrNever if there is
// none down to minSlot.
//
// It calls next from ever earlier times, so it is consistent with next. If a
// schedule has just become due, the first call finds the slot.
func (q *search) prev(t int64) (int64, error) {
	found, end := int64(0), t+1 // there is no slot from end to t
	for back := int64(1); ; back *= 4 {
		from := max(end-back, minSlot)
		if from >= end {
			return 0, ErrNever
		}
		if slot, err := q.next(from); err == nil && slot <= t {
			found = slot
			break
		}
		end = from
	}
	// Later slots may lie between found and end. Usually there are few, and the
	// first step finds the last one. Bisection bounds the number of steps if
	// there are many.
	for found+1 < end {
		slot, err := q.next(found + 1)
		if err != nil || slot > t {
			break
		}
		found = slot
		middle := found + (end-found)/2
		if slot, err = q.next(middle); err == nil && slot <= t {
			found = slot
		} else {
			end = middle
		}
	}
	return found, nil
}

// slots yields the slots from the time from to the time to, both inclusive.
func (q *search) slots(from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for slot, err := q.next(from); err == nil && slot <= to; slot, err = q.next(slot + 1) {
			if !yield(slot) {
				return
			}
		}
	}
}

// match returns the first matching local time that is not before from. The
// error wraps ErrNever if there is none.
func (q *search) match(from localTime) (localTime, error) {
	date, second := from.split()
	second, ok := q.timeOfDay.next(second)
	if !ok {
		date, second = date+1, q.timeOfDay.first()
	}
	if date < q.dayFrom || date > q.dayFound {
		found, err := q.days.next(date)
		if err != nil {
			return 0, err
		}
		q.dayFrom, q.dayFound = date, found
	}
	if q.dayFound > date {
		second = q.timeOfDay.first()
	}
	return localTime(q.dayFound*day + second), nil
}
