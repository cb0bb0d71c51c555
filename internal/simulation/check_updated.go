package simulation

import (
	"fmt"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

// applyUpdate checks a row that an operator or a sync has written.
func (l *ledger) applyUpdate(c model.Change) {
	before, after := c.Before, c.After
	changed := changeReason(before, after)
	returned := !before.RemovedAt.IsZero() && after.RemovedAt.IsZero()
	removed := before.RemovedAt.IsZero() && !after.RemovedAt.IsZero()
	switched := before.Enabled != after.Enabled

	if renamed, ok := l.renamedRow(c); ok {
		if reason := changeReason(before, renamed); l.active && reason != "" {
			l.deactivate(c, renamed, reason)
		}
		return
	}
	switch {
	case c.Operation == "insert-schedules", returned:
		l.requireEvent(c, hourbell.EventDefined)
	case removed:
		l.requireEvent(c, hourbell.EventRemoved)
	case switched && after.Enabled:
		l.requireEvent(c, hourbell.EventEnabled)
	case switched:
		l.requireEvent(c, hourbell.EventDisabled)
	default:
		l.requireEvent(c, hourbell.EventChanged)
	}
	if l.active && c.Operation == "update-schedules" {
		switch {
		case changed != "":
			l.deactivate(c, after, changed)
		case removed:
			l.deactivate(c, after, hourbell.SkipRemoved)
		case switched:
			l.deactivate(c, after, hourbell.SkipDisabled)
		}
	}
	if !l.active && after.Enabled && after.RemovedAt.IsZero() {
		l.active = true
		l.settleThrough(latestOf(c.ReadAt, l.latestSlot))
		l.activeSince = latestOf(l.activeSince, c.At)
		if l.isForeign(c, after) { // the next run can be wrong, as after an edit
			l.noteNextRun(after)
		}
	}
}

// changeReason returns the reason for which an update that changes the slots of
// a row skips slots, or "" if it does not change them.
func changeReason(before, after storage.Schedule) hourbell.SkipReason {
	switch {
	case before.Cron != after.Cron || before.TimeZone != after.TimeZone:
		return hourbell.SkipChanged
	case before.ZoneRules != after.ZoneRules:
		return hourbell.SkipRulesChanged
	}
	return ""
}

// isForeign reports whether the process that made a change has other rules of a
// row's time zone than the row. The process cannot compute the row's slots.
func (l *ledger) isForeign(c model.Change, row storage.Schedule) bool {
	return row.TimeZone == l.zone.name && row.ZoneRules != l.zone.rules[l.versionOf[c.Process]]
}

// renamedRow returns the row to which the change's transaction moved the state
// of this row. It returns false if the change is not a rename.
func (l *ledger) renamedRow(c model.Change) (storage.Schedule, bool) {
	for _, other := range l.db.Log {
		if other.Tx == c.Tx && other.Operation == "insert-schedules" && other.After.FormerID == l.id {
			return other.After, true
		}
	}
	return storage.Schedule{}, false
}

// takeOver moves the state of the former id's row to this one, which the change
// has inserted.
func (l *ledger) takeOver(former *ledger, inserted storage.Schedule) {
	u := former.unfinished
	l.active = former.active
	l.unfinished = unfinishedClaim{since: u.since, firstInGrace: u.firstInGrace, lastUsed: u.lastUsed}
	if l.nextRun = former.nextRun; l.nextRun.edited {
		l.noteNextRun(inserted) // as the sync read it, maybe before an edit
	}
	former.active, former.unfinished, former.nextRun = false, unfinishedClaim{}, nextRun{}
}

// deactivate ends a period in which the schedule was active with one
// expression. All slots of the period must be recorded, including those that
// the change's transaction skips. After is the row that replaces this one.
//
// If only the rules of the time zone have changed, the slots since the last
// settled one are those of the new rules.
func (l *ledger) deactivate(c model.Change, after storage.Schedule, reason hourbell.SkipReason) {
	skips := l.skips(c)
	for _, e := range skips {
		if e.Reason != reason {
			l.report(WrongReason, "%s instead of %s, at %s", describeSkip(e.Event), reason, formatTime(c.At))
		}
	}
	if reason == hourbell.SkipRulesChanged {
		l.settleThrough(l.latestSlot)
		l.row.ZoneRules = after.ZoneRules
	}
	l.nextRun.lostUntil = l.nextRun.latest
	if l.isForeign(c, l.row) {
		l.recordForeign(c, skips)
	} else {
		for _, e := range skips {
			l.recordSkip(e, c)
		}
		if missing := l.unrecorded(c.At); len(missing) > 0 {
			l.report(Lost, "%s were not recorded by the change at %s", formatSlots(missing), formatTime(c.At))
		}
	}
	l.active, l.unfinished, l.nextRun = false, unfinishedClaim{}, nextRun{}
}

// recordForeign records the skips of a process with other rules of the row's
// time zone. It does not know the row's slots except for the next one, with
// which its event must begin.
func (l *ledger) recordForeign(c model.Change, skips []model.Event) {
	missing := l.unrecorded(latestOf(c.At, c.ReadAt))
	switch {
	case l.nextRun.edited:
	case len(missing) > 0 && (len(skips) != 1 || !skips[0].SlotFrom.Equal(missing[0])):
		l.report(Lost, "the first of %s was not recorded by the change at %s", formatSlots(missing), formatTime(c.At))
	case len(missing) == 0 && len(skips) > 0:
		l.report(NotASlot, "%s, at %s, when no slot was due", describeSkip(skips[0].Event), formatTime(c.At))
	}
	for _, e := range skips {
		for _, slot := range missing {
			if !slot.After(e.SlotTo) {
				l.record(slot, skipped, c)
			}
		}
		l.latestSlot = latestOf(l.latestSlot, e.SlotTo)
	}
}

// checkActions checks that every operator action that succeeded had its effect.
func (sim *simulator) checkActions() *Violation {
	for _, action := range sim.actions {
		if !action.ended || action.err != nil {
			continue
		}
		effective := true
		switch action.kind {
		case "disable":
			effective = sim.hadState(action, func(row storage.Schedule) bool { return !row.Enabled })
		case "enable":
			effective = sim.hadState(action, func(row storage.Schedule) bool { return row.Enabled })
		case "unlock":
			effective = sim.hadState(action, func(row storage.Schedule) bool { return row.LockedBy == "" })
		case "run now":
			effective = false
			for _, e := range sim.db.Events {
				effective = effective || e.Kind == hourbell.EventRunNow && e.Note == action.note && e.ScheduleID == action.id
			}
		}
		if !effective {
			return &Violation{Kind: NoEffect, Details: fmt.Sprintf("%s: %s, %s", action.id, action.kind, action.note)}
		}
	}
	return nil
}

// hadState reports whether the row was in a state at some time during the call.
func (sim *simulator) hadState(action operatorAction, state func(storage.Schedule) bool) bool {
	var row storage.Schedule
	for i, change := range sim.db.Log[:action.logEnd] {
		if i >= action.logStart && row.ID != "" && state(row) {
			return true
		}
		if change.After.ID == action.id {
			row = change.After
		}
	}
	return row.ID != "" && state(row)
}
