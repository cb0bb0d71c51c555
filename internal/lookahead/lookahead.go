// Package lookahead computes the next two slots of each expression before they
// come due. Computing them at the slot itself would delay it.
package lookahead

import (
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/storage"
)

// Definition is a schedule whose slots a Table computes.
type Definition struct {
	ID, Hash       string
	Cron, TimeZone string
	Slots          cron.Schedule
	Jobs           []storage.JobSpec
}

// Table holds the next slots of a set of definitions. A nil Table is empty. Its
// slots are only proposals: the statement that fires compares each with the
// row. A Table is not safe for concurrent use.
type Table []*entry

// entry is one expression in one time zone with the definitions that share it.
type entry struct {
	slots cron.Schedule
	fires []storage.SlotFire // by id of the definition; without slots
	// next and afterNext are the first two slots after the time that the table
	// was moved to. They are zero before the first move.
	next, afterNext time.Time
}

// never is the next slot of an expression without further slots.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// New returns a Table of definitions. Nothing is due in it until it is moved to
// a time.
func New(definitions []Definition) Table {
	// Sorted, so that batches are the same in every process and at every start.
	definitions = slices.Clone(definitions)
	sort.Slice(definitions, func(i, j int) bool { return definitions[i].ID < definitions[j].ID })
	var table Table
	entries := map[[2]string]*entry{}
	for _, d := range definitions {
		key := [2]string{d.Cron, d.TimeZone}
		if entries[key] == nil {
			entries[key] = &entry{slots: d.Slots}
			table = append(table, entries[key])
		}
		entries[key].fires = append(entries[key].fires, storage.SlotFire{ScheduleID: d.ID, DefinitionHash: d.Hash, Jobs: d.Jobs})
	}
	return table
}

// Due returns the slots that are due at a time. It leaves out definitions with
// two due slots: the claim path must record the earlier one as skipped.
func (t Table) Due(at time.Time) []storage.SlotFire {
	var due []storage.SlotFire
	for _, e := range t {
		if e.next.IsZero() || e.next.After(at) || !e.afterNext.After(at) {
			continue
		}
		first := len(due)
		due = append(due, e.fires...)
		for i := first; i < len(due); i++ {
			due[i].Slot, due[i].Next = e.next, e.afterNext
		}
	}
	return due
}

// MoveTo moves the table to a time up to which there is nothing left to fire.
func (t Table) MoveTo(at time.Time) {
	for _, e := range t {
		switch {
		case e.next.After(at):
			continue
		case e.afterNext.After(at):
			e.next = e.afterNext
		default:
			e.next = e.slotAfter(at)
		}
		e.afterNext = e.slotAfter(e.next)
	}
}

// slotAfter returns the first slot strictly after t, or never.
func (e *entry) slotAfter(t time.Time) time.Time {
	next, err := e.slots.Next(t)
	if err != nil {
		return never
	}
	return next
}
