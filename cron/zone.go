package cron

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // without it, no zone loads on a host without zone files

	"github.com/hourbell/hourbell/internal/zoneinfo"
)

// ErrZone means that the time zone, and not the expression, is invalid: the
// name is unknown, or the zone's data cannot be loaded.
var ErrZone = errors.New("unknown time zone")

// The start of the first and the end of the last period of a zone. They are
// half the limits of int64, so that adding an offset does not overflow.
const (
	minPeriodStart = math.MinInt64 / 2
	maxPeriodEnd   = math.MaxInt64 / 2
)

// localTime is a local date and time of day, as the Unix time at which a clock
// in UTC shows it.
type localTime int64

// split returns the number of days since 1 January 1970, and the second of the
// day.
func (l localTime) split() (date, second int64) {
	date, second = int64(l)/day, int64(l)%day
	if second < 0 {
		date, second = date-1, second+day
	}
	return date, second
}

// String returns the local time as 2006-01-02T15:04:05.
func (l localTime) String() string { return time.Unix(int64(l), 0).UTC().Format("2006-01-02T15:04:05") }

// period is a range [start, end) in which the offset of a zone is constant.
// Adjacent periods may have the same offset.
type period struct {
	start, end int64 // in Unix time
	offset     int64 // seconds east of UTC
}

func (p period) contains(t int64) bool { return p.start <= t && t < p.end }

// localTime returns the local time of t, which lies in p or is its end.
func (p period) localTime(t int64) localTime { return localTime(t + p.offset) }

// periodAt returns the period that contains t.
func periodAt(location *time.Location, t int64) period {
	at := time.Unix(t, 0).In(location)
	_, offset := at.Zone()
	start, end := at.ZoneBounds()
	p := period{start: minPeriodStart, end: maxPeriodEnd, offset: int64(offset)}
	if !start.IsZero() {
		p.start = start.Unix()
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= t {
		// For a zone that follows a yearly rule, ZoneBounds assumes a year of
		// 365 days. On the last day of a leap year it returns an end that is
		// not after t (golang/go#81583).
		p.end += day
	}
	return p
}

// firstNewLocalTime returns the first local time that may be due at t or later
// in p, for a fixed-time schedule. All local times before it are past, or
// occurred for the first time before the clock moved back (rule R2). If p
// starts at t with a gap shorter than 24 hours, the result is the first local
// time in the gap (rules R3 and R4).
func firstNewLocalTime(location *time.Location, p period, t int64) localTime {
	// seenUntil is the end of the local times that occurred before p. Periods
	// may be short or end without a change of the offset, so the loop visits
	// several. Offsets differ by less than two days, so it ends two days before
	// t.
	local, seenUntil := p.localTime(t), localTime(minPeriodStart)
	for earlier := p; earlier.start > t-2*day; {
		earlier = periodAt(location, earlier.start-1)
		seenUntil = max(seenUntil, earlier.localTime(earlier.end))
	}
	if t == p.start && local-seenUntil < day {
		return seenUntil
	}
	return max(local, seenUntil)
}

// loadZone loads a zone by its IANA name.
func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if err := checkZoneName(name); err != nil {
		return nil, err
	}
	location, err := zoneinfo.Load(name)
	switch {
	case err == nil:
		return location, nil
	case strings.HasPrefix(err.Error(), "unknown time zone"):
		return nil, fmt.Errorf("%w %q", ErrZone, name)
	default:
		return nil, fmt.Errorf("%w %q: %w", ErrZone, name, err)
	}
}

// checkZoneName refuses names that are not portable: those of special files,
// and those in the folders posix and right. It ignores case, because some file
// systems do.
func checkZoneName(name string) error {
	folder, base, inFolder := strings.Cut(name, "/")
	inRight := inFolder && strings.EqualFold(folder, "right")
	inPosix := inFolder && strings.EqualFold(folder, "posix")
	if !inRight && !inPosix {
		base = name
	}
	const example = "use a name such as Europe/Berlin"
	switch {
	case strings.EqualFold(base, "Local"), strings.EqualFold(base, "localtime"), strings.EqualFold(base, "posixrules"):
		return fmt.Errorf("%w %q: it differs between hosts; %s", ErrZone, name, example)
	case strings.EqualFold(base, "Factory"):
		return fmt.Errorf("%w %q: it means that no zone has been set; %s", ErrZone, name, example)
	case inRight:
		return fmt.Errorf("%w %q: its times count leap seconds; use %q", ErrZone, name, base)
	case inPosix:
		return fmt.Errorf("%w %q: not every host has it; use %q", ErrZone, name, base)
	case strings.ContainsAny(name, `.\`), strings.Contains(name, "//"), strings.HasSuffix(name, "/"):
		return fmt.Errorf("%w %q: it is a path; %s", ErrZone, name, example)
	}
	return nil
}
