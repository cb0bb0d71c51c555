package cron

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // a host in an empty container has no zone files, and must neither fail nor fall back to UTC
)

// ErrZone says that a time zone, and not an expression, is at fault.
var ErrZone = errors.New("unknown time zone")

// The ends of the first and the last period of a zone. Halved, so that adding an offset does not overflow.
const (
	beginning = math.MinInt64 / 2
	forever   = math.MaxInt64 / 2
)

// reading is what the clock on the wall shows, as the Unix seconds of the instant at which UTC shows the same.
type reading int64

// split is the day, counted from 1 January 1970, and the second of that day.
func (r reading) split() (date, second int64) {
	date, second = int64(r)/day, int64(r)%day
	if second < 0 {
		date, second = date-1, second+day
	}
	return date, second
}

// period is a stretch of time [start, end) over which a zone keeps one offset. Neighbours may have the same offset.
type period struct {
	start, end int64 // instants, in Unix seconds
	offset     int64 // seconds east of UTC
}

func (p period) contains(t int64) bool { return p.start <= t && t < p.end }

// shows is the reading at instant t.
func (p period) shows(t int64) reading { return reading(t + p.offset) }

// periodAt finds the period of an instant.
func periodAt(location *time.Location, t int64) period {
	at := time.Unix(t, 0).In(location)
	_, offset := at.Zone()
	start, end := at.ZoneBounds()
	p := period{start: beginning, end: forever, offset: int64(offset)}
	if !start.IsZero() {
		p.start = start.Unix()
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= t {
		// Where a zone follows a yearly rule, the last period of a year is taken to end after 365 days, so on
		// the last day of a leap year the end lies in the past (golang/go#81583).
		p.end += day
	}
	return p
}

// newReadings is the reading from which on a set-hours schedule has to look when the search stands at t in p: the
// readings before it are over, or were shown before the clock was put back (rule R2). At the start of p it lies in
// front of the readings that were passed over when the clock was put forward (rule R3), unless that was a whole day
// or more (rule R4).
func newReadings(location *time.Location, p period, t int64) reading {
	// Offsets lie within 16 hours of UTC, so two days after a change its readings are far behind. The loop is for
	// changes that lie close together, and for periods that end without a change of the offset.
	from, shown := p.shows(t), reading(beginning)
	for earlier := p; earlier.start > t-2*day; {
		earlier = periodAt(location, earlier.start-1)
		shown = max(shown, earlier.shows(earlier.end))
	}
	if t == p.start && from-shown < day {
		return shown
	}
	return max(from, shown)
}

// loadZone finds a zone by its IANA name.
func loadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("%w %q: it differs from host to host; give a name such as Europe/Berlin", ErrZone, name)
	}
	location, err := time.LoadLocation(name)
	switch {
	case err == nil:
		return location, nil
	case strings.HasPrefix(err.Error(), "unknown time zone"):
		return nil, fmt.Errorf("%w %q", ErrZone, name)
	default:
		return nil, fmt.Errorf("%w %q: %w", ErrZone, name, err)
	}
}
