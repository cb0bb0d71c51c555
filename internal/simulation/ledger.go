package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

// ledger checks the history of one schedule. It follows the log of the row's
// changes and records for each slot of the expression whether it fired or was
// skipped. It does not use the core's decisions.
type ledger struct {
	*simulator
	id     string
	row    storage.Schedule // before the current change
	runs   map[int][]model.Run
	events map[int][]model.Event // like runs, by transaction

	*slotRecord
	expressions map[expression]cron.Schedule
	active      bool // the schedule is enabled and not removed
	unfinished  unfinishedClaim
	nextRun     nextRun
	violation   *Violation
}

// expression is a cron expression in a time zone with certain rules.
type expression struct{ cron, zone, zoneRules string }

// nextRun describes the edits of the next run since the row was last settled.
type nextRun struct {
	edited bool // a user has edited it, or a process with other zone rules has written it
	// lostUntil is the slot to which a user has moved the next run. The user
	// decided against the slots before it. They need no outcome.
	lostUntil time.Time
	// latest is the latest lostUntil. An edit that does not increment the
	// version does not prevent an update by a process that read the row before.
	latest time.Time
}

// slotRecord has the recorded slots of a schedule under all its ids.
type slotRecord struct {
	outcomes   map[time.Time]string
	latestSlot time.Time // the latest recorded slot
	// While the schedule is active, the slots after this time must be recorded.
	// It never goes back, even if the clock does.
	activeSince time.Time
	// settledThrough is activeSince, or the earlier time that the operator or
	// the sync read from which activeSince comes. No slot that was planned lies
	// between them. But after a change of zone rules, slots can be skipped
	// there.
	settledThrough time.Time
}

// Outcomes of a slot.
const (
	fired   = "fired"
	skipped = "skipped"
)

// report keeps a violation if it is the first.
func (l *ledger) report(kind ViolationKind, format string, args ...any) {
	if l.violation == nil {
		l.violation = &Violation{Kind: kind, Details: l.id + ": " + fmt.Sprintf(format, args...)}
	}
}

// apply checks one change of the row.
func (l *ledger) apply(c model.Change) {
	switch c.Operation {
	case "claim", "release", "record-failures":
		l.applyAttempt(c)
	case "advance", "fire-on-time":
		l.applySettle(c)
	case "insert-schedules", "update-schedules":
		l.applyUpdate(c)
	case "edit":
		l.noteNextRun(c.After)
	case "unlock":
		l.requireEvent(c, hourbell.EventUnlocked)
	}
}

// slots returns the slots of a row after one time and up to another.
func (l *ledger) slots(row storage.Schedule, after, until time.Time) []time.Time {
	if after.IsZero() || !until.After(after) {
		return nil
	}
	slots, err := l.expression(row).Between(after.Add(time.Microsecond), until.Add(time.Microsecond))
	if err != nil {
		l.report(NotASlot, "%v", err)
	}
	return slots
}

func (l *ledger) expression(row storage.Schedule) cron.Schedule {
	key := expression{row.Cron, row.TimeZone, row.ZoneRules}
	parsed, ok := l.expressions[key]
	if !ok {
		var err error
		l.zone.load(row.ZoneRules)
		if parsed, err = cron.Parse(row.Cron, row.TimeZone); err != nil {
			l.report(NotASlot, "%v", err)
		}
		l.expressions[key] = parsed
	}
	return parsed
}

// unrecorded returns the slots that are due at a time and not recorded.
func (l *ledger) unrecorded(at time.Time) []time.Time {
	if !l.active {
		return nil
	}
	return slices.DeleteFunc(l.slots(l.row, l.activeSince, at), func(slot time.Time) bool {
		return l.outcomes[slot] != "" || slot.Before(l.nextRun.lostUntil)
	})
}

// isSlot reports whether a time is a slot of a row.
func (l *ledger) isSlot(row storage.Schedule, t time.Time) bool {
	return t.Equal(t.Truncate(time.Second)) && len(l.slots(row, t.Add(-time.Second), t)) > 0
}

// isNext reports whether the next run of a row is a slot that is not settled.
func (l *ledger) isNext(row storage.Schedule) bool {
	return l.isSlot(row, row.NextRunAt) && row.NextRunAt.After(latestOf(l.settledThrough, l.latestSlot))
}

// noteNextRun notes that a user, or a process with other zone rules, has
// written the next run of a row. If it is a slot, the slots before it need no
// outcome.
func (l *ledger) noteNextRun(row storage.Schedule) {
	l.nextRun.edited, l.nextRun.lostUntil = true, time.Time{}
	if l.isNext(row) {
		l.nextRun.lostUntil = row.NextRunAt
		l.nextRun.latest = latestOf(l.nextRun.latest, row.NextRunAt)
	}
}

// settleThrough notes that no slot up to a time gets an outcome any more.
func (l *ledger) settleThrough(t time.Time) {
	l.activeSince, l.settledThrough = latestOf(l.activeSince, t), latestOf(l.settledThrough, t)
	l.nextRun = nextRun{}
}

// record records the outcome of a slot.
func (l *ledger) record(slot time.Time, outcome string, c model.Change) {
	// An update uses the time that its writer read; the clock may have been
	// stepped back since.
	due := !slot.After(c.At) || c.Operation == "update-schedules" && !slot.After(c.ReadAt)
	switch earlier := l.outcomes[slot]; {
	case earlier == fired && outcome == fired:
		l.report(FiredTwice, "%s, the second time at %s", formatTime(slot), formatTime(c.At))
	case earlier != "":
		l.report(RecordedTwice, "%s was %s, and then %s at %s", formatTime(slot), earlier, outcome, formatTime(c.At))
	case !due:
		l.report(Early, "%s was %s at %s", formatTime(slot), outcome, formatTime(c.At))
	case !l.active:
		l.report(Inactive, "%s was %s at %s, when the schedule was disabled or removed", formatTime(slot), outcome, formatTime(c.At))
	case !slot.After(l.activeSince) && (outcome == fired || !slot.After(l.settledThrough)):
		l.report(Inactive, "%s was %s at %s, but the schedule is active only since %s", formatTime(slot), outcome, formatTime(c.At), formatTime(l.activeSince))
	case !l.isSlot(l.row, slot):
		l.report(NotASlot, "%s was %s at %s, when the expression was %s with zone rules %s", formatTime(slot), outcome, formatTime(c.At), l.row.Cron, l.row.ZoneRules)
	}
	l.outcomes[slot] = outcome
	l.latestSlot = latestOf(l.latestSlot, slot)
}

func latestOf(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// recordSkip records the slots of a SKIPPED event.
func (l *ledger) recordSkip(e model.Event, c model.Change) {
	slots := l.slots(l.row, e.SlotFrom.Add(-time.Second), e.SlotTo)
	for _, slot := range slots {
		l.record(slot, skipped, c)
	}
	if len(slots) != e.SlotCount && (e.SlotCount < 1000 || len(slots) < 1000) {
		l.report(WrongCount, "%s: there are %d at %s", describeSkip(e.Event), len(slots), formatTime(c.At))
	}
}

// skips returns the SKIPPED events of the change's transaction.
func (l *ledger) skips(c model.Change) []model.Event {
	return slices.DeleteFunc(slices.Clone(l.events[c.Tx]), func(e model.Event) bool { return e.Kind != hourbell.EventSkipped })
}

// requireEvent reports a violation unless the change's transaction inserted an
// event of this kind.
func (l *ledger) requireEvent(c model.Change, kind hourbell.EventKind) {
	if !slices.ContainsFunc(l.events[c.Tx], func(e model.Event) bool { return e.Kind == kind }) {
		l.report(MissingEvent, "no %s at %s", kind, formatTime(c.At))
	}
}

// finish checks the row at the end of the history: all due slots are recorded,
// and no state of an attempt remains.
func (l *ledger) finish() {
	row, _ := l.db.Schedule(l.id)
	l.row = row
	now := l.db.Now
	if declared, ok := l.newest.rows[l.version][l.id]; ok != row.RemovedAt.IsZero() || ok && declared.DefinitionHash != row.DefinitionHash {
		l.report(NotSynced, "stored: %s", row.Cron)
	}
	if l.active && l.nextRun.edited && row.NextRunAt.After(now) {
		return // the loop corrects the row once this time is due
	}
	if missing := l.unrecorded(now); l.active && len(missing) > 0 {
		if !row.NextRunAt.After(now) {
			l.report(Stuck, "%s are due and no worker settles them", formatSlots(missing))
		}
		l.report(Lost, "%s are not recorded at %s", formatSlots(missing), formatTime(now))
	}
	if l.active {
		l.checkWaiting(row)
	} else if !row.NextRunAt.IsZero() {
		l.report(Inactive, "disabled or removed, but the next slot is %s", formatTime(row.NextRunAt))
	}
}

// checkWaiting checks that an active row is unlocked and waits for the right
// slot.
func (l *ledger) checkWaiting(row storage.Schedule) {
	now := l.db.Now
	want, err := l.expression(row).Next(latestOf(now, l.latestSlot, l.activeSince))
	if err != nil || !row.NextRunAt.Equal(want) {
		l.report(Lost, "the next slot is %s instead of %s", formatTime(row.NextRunAt), formatTime(want))
	}
	if row.UnfinishedSince.After(now) {
		return // the clock was stepped back after the claim and has not reached it again
	}
	if row.LockedBy != "" || !row.UnfinishedSince.IsZero() || row.RetryAt.After(now) {
		l.report(LeftOver, "locked by %q, unfinished since %s, retry at %s", row.LockedBy, formatTime(row.UnfinishedSince), formatTime(row.RetryAt))
	}
}
