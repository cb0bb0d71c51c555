package cron

import (
	"errors"
	"fmt"
	"time"
)

// maxBetween is the largest number of slots that Between returns.
const maxBetween = 100_000

// Slots lie in the years 1 to 9999, which RFC 3339 can represent. The range
// excludes the zero time, so that it never denotes a slot (rule R7).
var (
	minSlot = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC).Unix()
	maxSlot = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

var errZero = errors.New("the schedule was not created by Parse")

// Schedule is a parsed cron expression in a time zone. Parse creates it. It is
// an immutable value, and multiple goroutines may use it concurrently.
//
// The zero Schedule has no slots: its methods return an error, except that
// Location returns UTC, IsSlot false and Change the zero Change.
type Schedule struct {
	timeOfDay   timeOfDay
	days        dayExpr
	everyHour   bool // all 24 hours are allowed (rules R2 and R3)
	location    *time.Location
	epochPeriod period // the period at Unix time 0, where a search starts
}

// Location returns the time zone of the schedule. It returns UTC for the zero
// Schedule.
func (s Schedule) Location() *time.Location {
	if s.location == nil {
		return time.UTC
	}
	return s.location
}

// IsSlot reports whether t is a slot of the schedule. The time may be in any
// location. A time with a fraction of a second is not a slot.
func (s Schedule) IsSlot(t time.Time) bool {
	second := t.Unix()
	if s.location == nil || t.Nanosecond() > 0 || second < minSlot || second > maxSlot {
		return false
	}
	q := newSearch(s)
	slot, err := q.next(second)
	return err == nil && slot == second
}

// Next returns the first slot strictly after a time (rule R5). The slot is in
// UTC, on a whole second.
//
// The error wraps ErrNever if no slot follows before the year 10000 UTC. Next
// also returns an error if s is the zero Schedule.
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

// Prev returns the last slot strictly before a time (rule R5). The slot is in
// UTC, on a whole second.
//
// The error wraps ErrNever if no slot precedes the time since the start of the
// year 1 UTC. Prev also returns an error if s is the zero Schedule.
//
// Prev is fastest if the slot is close to the time, for example just after a
// schedule became due.
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

// Between returns the slots in the range [from, to), in UTC and in ascending
// order. The result is empty if the range contains no slot, or if to is not
// after from.
//
// Between returns an error if there are more than 100,000 slots, or if s is the
// zero Schedule.
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

// Count returns the number of slots in the range [from, to], which includes
// both ends. It stops counting at limit. A result less than limit is exact. The
// result limit means that there are at least that many slots.
//
// Count returns an error if limit is negative, or if s is the zero Schedule.
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

// secondAfter returns the first whole second strictly after t, in Unix time. It
// moves a time outside the range of slots to the nearer end of the range.
func secondAfter(t time.Time) int64 {
	return min(max(t.Unix(), minSlot-1), maxSlot) + 1
}

// secondAtOrAfter returns the first whole second not before t, in Unix time. It
// moves a time outside the range of slots to the nearer end of the range.
func secondAtOrAfter(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return secondAfter(t)
	}
	return min(max(t.Unix(), minSlot), maxSlot+1)
}
