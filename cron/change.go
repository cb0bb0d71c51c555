package cron

import "time"

// Change is what a clock change does to a slot. Its zero value is: nothing.
type Change struct {
	// Kind is MOVED where the slot stands for readings that were passed over (rule R3), and REPEATED where the clock was
	// put back and shows the slot's reading twice (rule R2).
	Kind string
	// Reading is the first of the readings passed over, or the one shown twice, as 2006-01-02T15:04:05.
	Reading string
	// Occurrence of a reading shown twice: 1 or 2.
	Occurrence int
	// Once says that of a reading shown twice only the first is a slot: the schedule does not allow every hour.
	Once bool
}

const (
	moved    = "MOVED"
	repeated = "REPEATED"
)

// Change says what a clock change does to a slot of the schedule. For an instant that is no slot it is zero.
func (s Schedule) Change(slot time.Time) Change {
	t := slot.Unix()
	if s.location == nil || slot.Nanosecond() > 0 || t < firstInstant || t > lastInstant {
		return Change{}
	}
	q := newSearch(s)
	if next, err := q.next(t); err != nil || next != t {
		return Change{}
	}
	p := periodAt(s.location, t)
	shown := p.shows(t)
	if !s.everyHour && t == p.start {
		if from := newReadings(s.location, p, t); from < shown {
			if passed, err := q.reading(from); err == nil && passed < shown {
				return Change{Kind: moved, Reading: passed.String()}
			}
		}
	}
	switch {
	case shownBefore(s.location, p, shown, t):
		return Change{Kind: repeated, Reading: shown.String(), Occurrence: 2}
	case shownAgain(s.location, p, shown, t):
		return Change{Kind: repeated, Reading: shown.String(), Occurrence: 1, Once: !s.everyHour}
	}
	return Change{}
}

// Two days before or after a change its readings are far away.

func shownBefore(location *time.Location, p period, shown reading, t int64) bool {
	for p.start > t-2*day {
		p = periodAt(location, p.start-1)
		if p.contains(int64(shown) - p.offset) {
			return true
		}
	}
	return false
}

func shownAgain(location *time.Location, p period, shown reading, t int64) bool {
	for p.end < t+2*day {
		p = periodAt(location, p.end)
		if p.contains(int64(shown) - p.offset) {
			return true
		}
	}
	return false
}

// String is the reading as 2006-01-02T15:04:05.
func (r reading) String() string { return time.Unix(int64(r), 0).UTC().Format("2006-01-02T15:04:05") }
