package cron

import "math/bits"

// Durations in seconds.
const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
)

// timeOfDay is the part of an expression that matches times of day. Bit n of a
// set allows the value n. No set is empty.
//
// Matching a time of day is the most frequent operation: Count repeats it for
// each slot that it counts. Bit sets are much faster than gronx.
type timeOfDay struct{ seconds, minutes, hours uint64 }

// first returns the first matching second of a day.
func (t timeOfDay) first() int64 {
	return hour*lowest(t.hours) + minute*lowest(t.minutes) + lowest(t.seconds)
}

// next returns the first matching second of a day that is not before from. It
// returns false if there is none.
func (t timeOfDay) next(from int64) (second int64, ok bool) {
	h, m, s := from/hour, from/minute%60, from%minute
	if t.hours>>h&1 == 1 {
		if t.minutes>>m&1 == 1 {
			if seconds := t.seconds >> s << s; seconds != 0 {
				return hour*h + minute*m + lowest(seconds), true
			}
		}
		if minutes := t.minutes >> (m + 1) << (m + 1); minutes != 0 {
			return hour*h + minute*lowest(minutes) + lowest(t.seconds), true
		}
	}
	if hours := t.hours >> (h + 1) << (h + 1); hours != 0 {
		return hour*lowest(hours) + minute*lowest(t.minutes) + lowest(t.seconds), true
	}
	return 0, false
}

// valueRange returns the set of lo, lo+step and so on up to hi.
func valueRange(lo, hi, step int) uint64 {
	var set uint64
	for n := lo; n <= hi; n += step {
		set |= 1 << n
	}
	return set
}

func lowest(set uint64) int64 { return int64(bits.TrailingZeros64(set)) }

func highest(set uint64) int64 { return int64(63 - bits.LeadingZeros64(set)) }
