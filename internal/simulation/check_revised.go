package simulation

import (
	"fmt"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// revised takes in that a person or a deploy has written the row.
func (a *account) revised(c model.Change) {
	before, after := c.Before, c.After
	moved := before.Cron != after.Cron || before.TimeZone != after.TimeZone
	back := !before.RemovedAt.IsZero() && after.RemovedAt.IsZero()
	removed := before.RemovedAt.IsZero() && !after.RemovedAt.IsZero()
	switched := before.Enabled != after.Enabled

	switch {
	case c.Verb == "insert", back:
		a.expect(c, "DEFINED")
	case removed:
		a.expect(c, "REMOVED")
	case switched && after.Enabled:
		a.expect(c, "ENABLED")
	case switched:
		a.expect(c, "DISABLED")
	default:
		a.expect(c, "CHANGED")
	}
	if a.open && (moved || removed || switched) {
		a.close(c, map[string]bool{"CHANGED": moved, "REMOVED": removed, "DISABLED": switched})
	}
	if !a.open && after.Enabled && after.RemovedAt.IsZero() {
		a.open, a.since = true, latest(c.At, c.Seen, a.newest)
	}
}

// close ends a stretch of time in which the schedule was enabled as it was: all of its slots are in the account, those
// that this very transaction skips included.
func (a *account) close(c model.Change, reasons map[string]bool) {
	for _, e := range a.skips(c) {
		if !reasons[e.Reason] {
			a.wrong(WrongReason, "%s, at %s", span(e.Event), clock(c.At))
		}
		a.skip(e, c)
	}
	if missing := a.pending(c.At); len(missing) > 0 {
		a.wrong(Lost, "%d slots, from %s to %s, were passed over at %s and are not in the account",
			len(missing), clock(missing[0]), clock(missing[len(missing)-1]), clock(c.At))
	}
	a.open, a.debt = false, debt{}
}

// checkClicks wants every call that has returned well to have had its effect.
func (w *world) checkClicks() *Violation {
	for _, c := range w.clicks {
		if !c.ended || c.err != nil {
			continue
		}
		good := true
		switch c.kind {
		case "disable":
			good = w.was(c, func(row hourbell.Schedule) bool { return !row.Enabled })
		case "enable":
			good = w.was(c, func(row hourbell.Schedule) bool { return row.Enabled })
		case "unlock":
			good = w.was(c, func(row hourbell.Schedule) bool { return row.LockedBy == "" })
		case "run now":
			good = false
			for _, e := range w.db.Events {
				good = good || e.Kind == "RUN_NOW" && e.Note == c.note && e.ScheduleID == c.id
			}
		}
		if !good {
			return &Violation{Kind: NoEffect, What: fmt.Sprintf("%s: %s %s", c.id, c.kind, c.note)}
		}
	}
	return nil
}

// was says whether the row was in a state at some time during a call.
func (w *world) was(c click, state func(hourbell.Schedule) bool) bool {
	var row hourbell.Schedule
	for i, change := range w.db.Log[:c.to] {
		if i >= c.from && row.ID != "" && state(row) {
			return true
		}
		if change.After.ID == c.id {
			row = change.After
		}
	}
	return row.ID != "" && state(row)
}
