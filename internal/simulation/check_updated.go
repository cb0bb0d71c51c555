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
	changed := before.Cron != after.Cron || before.TimeZone != after.TimeZone
	returned := !before.RemovedAt.IsZero() && after.RemovedAt.IsZero()
	removed := before.RemovedAt.IsZero() && !after.RemovedAt.IsZero()
	switched := before.Enabled != after.Enabled

	if renamed, ok := l.renamedRow(c); ok {
		if l.active && (renamed.Cron != before.Cron || renamed.TimeZone != before.TimeZone) {
			l.deactivate(c, map[hourbell.SkipReason]bool{hourbell.SkipChanged: true})
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
	if l.active && c.Operation == "update-schedules" && (changed || removed || switched) {
		l.deactivate(c, map[hourbell.SkipReason]bool{hourbell.SkipChanged: changed, hourbell.SkipRemoved: removed, hourbell.SkipDisabled: switched})
	}
	if !l.active && after.Enabled && after.RemovedAt.IsZero() {
		l.active, l.activeSince = true, latestOf(c.At, c.ReadAt, l.latestSlot, l.activeSince)
	}
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
func (l *ledger) takeOver(former *ledger) {
	u := former.unfinished
	l.active = former.active
	l.unfinished = unfinishedClaim{since: u.since, firstInGrace: u.firstInGrace, lastUsed: u.lastUsed}
	former.active, former.unfinished = false, unfinishedClaim{}
}

// deactivate ends a period in which the schedule was active with one
// expression. All slots of the period must be recorded, including those that
// the change's transaction skips.
func (l *ledger) deactivate(c model.Change, reasons map[hourbell.SkipReason]bool) {
	for _, e := range l.skips(c) {
		if !reasons[e.Reason] {
			l.report(WrongReason, "%s, at %s", describeSkip(e.Event), formatTime(c.At))
		}
		l.recordSkip(e, c)
	}
	if missing := l.unrecorded(c.At); len(missing) > 0 {
		l.report(Lost, "%s were not recorded by the change at %s", formatSlots(missing), formatTime(c.At))
	}
	l.active, l.unfinished = false, unfinishedClaim{}
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
