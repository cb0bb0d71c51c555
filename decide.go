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
	detail   string    // for SkipNotASlot
}

// decision is what to do with a claimed schedule.
type decision struct {
	slot    time.Time // the latest slot that is due, or the time of the claim if none is
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
//
// If NextRunAt is not an unsettled slot, nothing fires: see correctNextRun.
func decide(c storage.Claim, grace time.Duration, slots *calendar) (decision, error) {
	if !slots.isSlot(c.NextRunAt) || !c.NextRunAt.After(c.SettledThrough) {
		return correctNextRun(c, slots)
	}
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

// correctNextRun decides a claim whose NextRunAt is no slot of the expression,
// or is settled already: the row was edited by hand, or a process with other
// zone rules wrote it. It fires nothing. It skips the slots that are due since
// SettledThrough, and continues with the first slot after the claim.
func correctNextRun(c storage.Claim, slots *calendar) (decision, error) {
	next, err := slots.nextIfAny(later(c.At, c.SettledThrough))
	if err != nil {
		return decision{}, err
	}
	from := c.SettledThrough
	if from.IsZero() {
		from = c.NextRunAt
	}
	first, err := slots.nextIfAny(from)
	if err != nil {
		return decision{}, err
	}
	skipped, err := unsettledSlots(first, c.At, SkipNotASlot, slots)
	if err != nil {
		return decision{}, err
	}
	detail := "the next run " + c.NextRunAt.Format(time.RFC3339) + " was not a slot"
	if slots.isSlot(c.NextRunAt) {
		detail = "the next run " + c.NextRunAt.Format(time.RFC3339) + " was settled already"
	}
	d := decision{slot: c.At, next: next, skipped: skipped}
	if skipped == nil {
		d.skipped = &skip{reason: SkipNotASlot, from: c.NextRunAt, to: c.NextRunAt, detail: detail + ", and no slot was due"}
		return d, nil
	}
	d.slot, d.skipped.detail = skipped.to, detail
	return d, nil
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

// firstUnsettled returns the first slot that is not settled, or the zero time
// if there is none. Usually it is NextRunAt. It is the first slot after
// SettledThrough if the zone's rules have changed, or if NextRunAt is settled
// or not a slot. A process with other zone rules than the row trusts NextRunAt,
// because it cannot check it.
func firstUnsettled(row *storage.Schedule, reason SkipReason, slots *calendar) (time.Time, error) {
	isOpen := row.NextRunAt.After(row.SettledThrough) && (hasOtherRules(row, slots) || slots.isSlot(row.NextRunAt))
	if reason != SkipRulesChanged && isOpen || row.SettledThrough.IsZero() {
		return row.NextRunAt, nil
	}
	return slots.nextIfAny(row.SettledThrough)
}

// hasOtherRules reports whether a row was stored with other zone rules than
// those of this process.
func hasOtherRules(row *storage.Schedule, slots *calendar) bool {
	return row.ZoneRules != "" && row.ZoneRules != slots.zoneRules()
}

// unsettledSlots returns every slot from first on that is due at a time, or nil
// if there are none. An operator or a deploy that stops or moves a schedule
// records them as skipped (rule M5).
func unsettledSlots(first, at time.Time, reason SkipReason, slots *calendar) (*skip, error) {
	if first.IsZero() || first.After(at) {
		return nil, nil
	}
	latest, err := slots.latestDue(first, at)
	if err != nil {
		return nil, err
	}
	return slots.skip(reason, first, latest)
}

// calendar computes the slots of one expression in one time zone. It caches its
// results, because thousands of schedules of a batch may have the same
// expression. It is not safe for concurrent use.
type calendar struct {
	schedule  cron.Schedule
	isManual  bool
	rules     string // the result of zoneRules; empty if not computed yet
	isSlotAt  map[time.Time]bool
	following map[time.Time]time.Time
	preceding map[time.Time]time.Time
	counts    map[[2]time.Time]int
}

// expression is a cron expression in a time zone.
type expression struct{ cron, zone string }

// calendars holds the calendars of one pass or call. It is not safe for
// concurrent use.
type calendars struct {
	catalog *catalog
	cache   map[expression]*calendar
}

// newCalendars returns the calendars for one pass or call.
func (s *Scheduler) newCalendars() *calendars {
	return &calendars{s.catalog, map[expression]*calendar{}}
}

// get returns the calendar of an expression in a time zone. For a declared
// expression, it returns the slots that New parsed. A manual schedule has the
// empty expression, and no slots.
func (c *calendars) get(cronExpression, zone string) (*calendar, error) {
	key := expression{cronExpression, zone}
	return cached(c.cache, key, func() (*calendar, error) {
		schedule, declared := c.catalog.schedules[key]
		if !declared && cronExpression != "" {
			var err error
			if schedule, err = cron.Parse(cronExpression, zone); err != nil {
				return nil, fmt.Errorf("%q in %q: %w", cronExpression, zone, err)
			}
		}
		return &calendar{
			schedule: schedule, isManual: cronExpression == "", rules: c.catalog.zoneRules[zone],
			isSlotAt: map[time.Time]bool{}, following: map[time.Time]time.Time{}, preceding: map[time.Time]time.Time{}, counts: map[[2]time.Time]int{},
		}, nil
	})
}

// next returns the first slot strictly after t.
func (c *calendar) next(t time.Time) (time.Time, error) {
	if c.isManual {
		return time.Time{}, cron.ErrNever
	}
	return cached(c.following, t, func() (time.Time, error) { return c.schedule.Next(t) })
}

// nextIfAny returns the first slot strictly after t, or the zero time if there
// is none.
func (c *calendar) nextIfAny(t time.Time) (time.Time, error) {
	next, err := c.next(t)
	if errors.Is(err, cron.ErrNever) {
		return time.Time{}, nil
	}
	return next, err
}

// zoneRules identifies the rules of the calendar's time zone.
func (c *calendar) zoneRules() string {
	if c.rules == "" {
		c.rules = cron.ZoneRules(c.schedule.Location())
	}
	return c.rules
}

// isSlot reports whether t is a slot.
func (c *calendar) isSlot(t time.Time) bool {
	is, _ := cached(c.isSlotAt, t, func() (bool, error) { return c.schedule.IsSlot(t), nil })
	return is
}

// latestDue returns the latest slot that is due at t. That is the last slot ≤
// t, or nextRunAt if it is later. NextRunAt counts as a slot even if the
// calendar does not have it, because another process may have other zone rules.
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
