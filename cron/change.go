package cron

import "time"

// Change describes how a clock change affects a slot. The zero Change means
// that the slot is not affected.
type Change struct {
	// Kind is "MOVED" if the slot replaces local times in a gap (rule R3), and
	// "REPEATED" if the slot's local time is in an overlap (rule R2).
	Kind string
	// LocalTime has the form 2006-01-02T15:04:05, in the zone of the schedule.
	// For MOVED it is the first matching local time in the gap. For REPEATED it
	// is the local time of the slot.
	LocalTime string
	// Occurrence is 1 or 2 for REPEATED: the slot is at the first or the second
	// occurrence of its local time. Otherwise it is 0.
	Occurrence int
	// Once is true for REPEATED if the schedule is fixed-time, so that only the
	// first occurrence is a slot. Otherwise it is false.
	Once bool
}

const (
	kindMoved    = "MOVED"
	kindRepeated = "REPEATED"
)

// Change reports how a clock change affects a slot of the schedule. The slot
// may be in any location. The result is the zero Change if no clock change
// affects the slot, if the time is not a slot, or if s is the zero Schedule.
func (s Schedule) Change(slot time.Time) Change {
	if !s.IsSlot(slot) {
		return Change{}
	}
	q := newSearch(s)
	t := slot.Unix()
	p := periodAt(s.location, t)
	local := p.localTime(t)
	if !s.everyHour && t == p.start {
		if from := firstNewLocalTime(s.location, p, t); from < local {
			if match, err := q.match(from); err == nil && match < local {
				return Change{Kind: kindMoved, LocalTime: match.String()}
			}
		}
	}
	switch {
	case occursBefore(s.location, p, local, t):
		return Change{Kind: kindRepeated, LocalTime: local.String(), Occurrence: 2}
	case occursAfter(s.location, p, local, t):
		return Change{Kind: kindRepeated, LocalTime: local.String(), Occurrence: 1, Once: !s.everyHour}
	}
	return Change{}
}

// occursBefore reports whether local, the local time of t in p, also occurs in
// an earlier period. Offsets differ by less than two days, so it searches only
// the two days before t.
func occursBefore(location *time.Location, p period, local localTime, t int64) bool {
	for p.start > t-2*day {
		p = periodAt(location, p.start-1)
		if p.contains(int64(local) - p.offset) {
			return true
		}
	}
	return false
}

// occursAfter reports whether local, the local time of t in p, also occurs in a
// later period. Offsets differ by less than two days, so it searches only the
// two days after t.
func occursAfter(location *time.Location, p period, local localTime, t int64) bool {
	for p.end < t+2*day {
		p = periodAt(location, p.end)
		if p.contains(int64(local) - p.offset) {
			return true
		}
	}
	return false
}
