package hourbell

import (
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/storage"
)

// maxCount is the number up to which skipped slots are counted exactly. It
// keeps the cost of a gap independent of its length (rule M3).
const maxCount = 1000

// skip is a range of slots that get no run.
type skip struct {
	reason   SkipReason
	from, to time.Time // the first and the last slot
	count    int       // exact up to maxCount
	atLeast  bool      // there are more slots than count
}

// decision is what to do with a claimed schedule.
type decision struct {
	slot    time.Time // the latest slot that is due
	fire    bool      // whether slot fires
	skipped *skip     // the due slots that do not fire; nil for none
	next    time.Time // the first slot after the time of the claim
	// unfinishedSince is the start of the unfinished claim to record if the
	// fire fails. The zero time keeps the one that the row has.
	unfinishedSince time.Time
}

// decide decides what a claimed schedule fires and skips. The result depends
// only on the arguments.
//
// The slots from NextRunAt up to the time of the claim are due. Only the latest
// may fire. The others are skipped. The latest fires in three cases:
//
//   - It is within grace at the time of the claim (rule M2).
//   - The row has an unfinished claim (rule L4). An earlier claim was within
//     grace of what was then the latest slot, and nothing was settled since.
//   - It came due after an earlier claim that was out of grace and is still
//     open. That claim may have kept others from claiming this slot in time.
func decide(c storage.Claim, grace time.Duration, slots *calendar) (decision, error) {
	latest, err := slots.latestDue(c.NextRunAt, c.At)
	if err != nil {
		return decision{}, err
	}
	next, err := slots.next(c.At)
	if err != nil {
		return decision{}, err
	}
	// The claiming statement sets UnfinishedSince, within grace or not. It is
	// the time of this claim, unless an earlier claim is still open.
	unfinished := false
	if c.UnfinishedSince.Before(c.At) {
		latestThen, err := slots.latestDue(c.NextRunAt, c.UnfinishedSince)
		if err != nil {
			return decision{}, err
		}
		unfinished = c.UnfinishedSince.Sub(latestThen) <= grace
	}
	inGrace := c.At.Sub(latest) <= grace
	dueSinceEarlier := latest.After(c.UnfinishedSince)
	d := decision{slot: latest, fire: inGrace || unfinished || dueSinceEarlier, next: next}
	// If the fire fails, the next claim must still decide to fire. So the row
	// then gets the start that lets this slot fire: the time of this claim, if
	// it is the first within grace.
	switch {
	case inGrace && !unfinished:
		d.unfinishedSince = c.At
	case d.fire:
		d.unfinishedSince = c.UnfinishedSince
	}
	d.skipped, err = skippedSlots(c, grace, d, unfinished, slots)
	return d, err
}

// skippedSlots returns the slots that a decision skips, or nil if there are
// none. They are superseded if the last of them could have fired too: it was
// within grace, or a claim was unfinished. Otherwise they are late, or
// abandoned if this claim found an unfinished claim that was abandoned.
func skippedSlots(c storage.Claim, grace time.Duration, d decision, unfinished bool, slots *calendar) (*skip, error) {
	to := d.slot
	if d.fire {
		if !c.NextRunAt.Before(d.slot) {
			return nil, nil
		}
		var err error
		if to, err = slots.latestBefore(c.NextRunAt, d.slot); err != nil {
			return nil, err
		}
	}
	reason := SkipLate
	switch {
	case d.fire && (unfinished || c.At.Sub(to) <= grace):
		reason = SkipSuperseded
	case c.Abandoned:
		reason = SkipAbandoned
	}
	return slots.skip(reason, c.NextRunAt, to)
}

// unsettledSlots returns every slot that is due and not settled, or nil if
// there are none. An operator or a deploy that stops or moves a schedule
// records them as skipped (rule M5).
func unsettledSlots(row *storage.Schedule, at time.Time, reason SkipReason, slots *calendar) (*skip, error) {
	if row.NextRunAt.IsZero() || row.NextRunAt.After(at) {
		return nil, nil
	}
	latest, err := slots.latestDue(row.NextRunAt, at)
	if err != nil {
		return nil, err
	}
	return slots.skip(reason, row.NextRunAt, latest)
}

// calendar computes the slots of one expression in one time zone. It caches its
// results, because thousands of schedules of a batch may have the same
// expression. It is not safe for concurrent use.
type calendar struct {
	schedule  cron.Schedule
	following map[time.Time]time.Time
	preceding map[time.Time]time.Time
	counts    map[[2]time.Time]int
}

// calendarCache holds a calendar for each pair of expression and time zone. It
// is not safe for concurrent use.
type calendarCache map[[2]string]*calendar

// get returns the calendar of an expression in a time zone.
func (c calendarCache) get(expression, zone string) (*calendar, error) {
	return cached(c, [2]string{expression, zone}, func() (*calendar, error) {
		schedule, err := cron.Parse(expression, zone)
		if err != nil {
			return nil, fmt.Errorf("%q in %q: %w", expression, zone, err)
		}
		return &calendar{schedule, map[time.Time]time.Time{}, map[time.Time]time.Time{}, map[[2]time.Time]int{}}, nil
	})
}

// next returns the first slot strictly after t.
func (c *calendar) next(t time.Time) (time.Time, error) {
	return cached(c.following, t, func() (time.Time, error) { return c.schedule.Next(t) })
}

// latestDue returns the latest slot that is due at t. That is the last slot ≤
// t, or nextRunAt if it is later. NextRunAt counts as a slot even if the
// expression no longer has it, for example after an update of the time zone
// database.
func (c *calendar) latestDue(nextRunAt, t time.Time) (time.Time, error) {
	return c.latestBefore(nextRunAt, t.Truncate(time.Second).Add(time.Second))
}

// latestBefore returns the last slot strictly before t, or nextRunAt if that is
// later.
func (c *calendar) latestBefore(nextRunAt, t time.Time) (time.Time, error) {
	if t.Sub(nextRunAt) <= time.Second {
		return nextRunAt, nil // slots are whole seconds
	}
	last, err := cached(c.preceding, t, func() (time.Time, error) { return c.schedule.Prev(t) })
	switch {
	case errors.Is(err, cron.ErrNever), err == nil && last.Before(nextRunAt):
		return nextRunAt, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("last slot before %v: %w", t, err)
	}
	return last, nil
}

// skip describes the slots from one to another, both included. It counts at
// least one, because from may no longer be a slot of the expression.
func (c *calendar) skip(reason SkipReason, from, to time.Time) (*skip, error) {
	count, err := cached(c.counts, [2]time.Time{from, to}, func() (int, error) {
		return c.schedule.Count(from, to, maxCount+1)
	})
	if err != nil {
		return nil, fmt.Errorf("count the slots from %v to %v: %w", from, to, err)
	}
	skipped := &skip{reason: reason, from: from, to: to, count: max(count, 1)}
	if count > maxCount {
		skipped.count, skipped.atLeast = maxCount, true
	}
	return skipped, nil
}

// cached returns the value of a key, and computes and stores it if it is
// missing.
func cached[K comparable, V any](values map[K]V, key K, compute func() (V, error)) (V, error) {
	if value, ok := values[key]; ok {
		return value, nil
	}
	value, err := compute()
	if err == nil {
		values[key] = value
	}
	return value, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
