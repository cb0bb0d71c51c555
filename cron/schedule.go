package cron

import (
	"errors"
	"fmt"
	"time"
)

// maxBetween is the largest number of slots that Between returns.
const maxBetween = 100_000

// Slots lie in the years 1 to 9999, what RFC 3339 can write. The zero time is not among them (rule R7).
var (
	firstInstant = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC).Unix()
	lastInstant  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

var errZero = errors.New("the schedule is empty: it does not come from Parse")

// Schedule is an expression in a time zone, made by Parse. It is a value, never changes, and may be used by several
// goroutines at once.
type Schedule struct {
	clock     clock
	days      days
	everyHour bool // all 24 hours are allowed: the clock-change rules differ (rules R2 and R3)
	location  *time.Location
	home      period // that of 1970, and the only one where a zone never changes its offset
}

// Location is the time zone; UTC for the zero Schedule.
func (s Schedule) Location() *time.Location {
	if s.location == nil {
		return time.UTC
	}
	return s.location
}

// Next returns the first slot strictly after an instant, in UTC (rule R5). The error wraps ErrNever if there is none
// before the year 10000.
func (s Schedule) Next(after time.Time) (time.Time, error) {
	if s.location == nil {
		return time.Time{}, errZero
	}
	q := newSearch(s)
	slot, err := q.next(secondAfter(after))
	if err != nil {
		return time.Time{}, fmt.Errorf("after %s: %w", after.UTC().Format(time.RFC3339Nano), err)
	}
	return time.Unix(slot, 0).UTC(), nil
}

// Prev returns the last slot strictly before an instant, in UTC (rule R5). The error wraps ErrNever if there is none
// after the year 0.
//
// It is quickest when the slot lies close before the instant, as it does when a schedule has just come due.
func (s Schedule) Prev(before time.Time) (time.Time, error) {
	if s.location == nil {
		return time.Time{}, errZero
	}
	q := newSearch(s)
	slot, err := q.prev(secondAtOrAfter(before) - 1)
	if err != nil {
		return time.Time{}, fmt.Errorf("before %s: %w", before.UTC().Format(time.RFC3339Nano), err)
	}
	return time.Unix(slot, 0).UTC(), nil
}

// Between returns the slots in [from, to), in UTC, ascending. It is an error if there are more than 100,000.
func (s Schedule) Between(from, to time.Time) ([]time.Time, error) {
	if s.location == nil {
		return nil, errZero
	}
	var slots []time.Time
	q := newSearch(s)
	for slot := range q.slots(secondAtOrAfter(from), secondAtOrAfter(to)-1) {
		if len(slots) == maxBetween {
			return nil, fmt.Errorf("more than %d slots from %s to %s", maxBetween,
				from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
		}
		slots = append(slots, time.Unix(slot, 0).UTC())
	}
	return slots, nil
}

// Count returns the number of slots in [from, to], both ends included, and stops counting at limit: a result below
// limit is exact, and limit itself means "at least". A negative limit is an error.
func (s Schedule) Count(from, to time.Time, limit int) (int, error) {
	if s.location == nil {
		return 0, errZero
	}
	if limit < 0 {
		return 0, fmt.Errorf("the limit %d is negative", limit)
	}
	n := 0
	q := newSearch(s)
	for range q.slots(secondAtOrAfter(from), secondAfter(to)-1) {
		if n == limit {
			break
		}
		n++
	}
	return n, nil
}

// secondAfter is the first whole second strictly after an instant, moved into the years that have slots.
func secondAfter(t time.Time) int64 {
	return min(max(t.Unix(), firstInstant-1), lastInstant) + 1
}

// secondAtOrAfter is the first whole second not before an instant, moved into the years that have slots.
func secondAtOrAfter(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return secondAfter(t)
	}
	return min(max(t.Unix(), firstInstant), lastInstant+1)
}
