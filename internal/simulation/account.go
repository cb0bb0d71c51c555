package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// account is what one schedule's history is checked with: it walks the log of the row's changes beside the slots of its
// expression, and knows nothing of how they were decided.
type account struct {
	*world
	id     string
	row    hourbell.Schedule // as of the change that is looked at
	runs   map[int][]model.Run
	events map[int][]model.Event

	taken     map[time.Time]string // slots in the account, and as what
	newest    time.Time            // the last of them
	calendars map[[2]string]cron.Schedule
	open      bool      // enabled and not removed
	since     time.Time // then the slots after this are to be accounted for
	debt
	found *Violation
}

func (a *account) wrong(kind, format string, args ...any) {
	if a.found == nil {
		a.found = &Violation{Kind: kind, What: a.id + ": " + fmt.Sprintf(format, args...)}
	}
}

// look takes in one change of the row.
func (a *account) look(c model.Change) {
	switch c.Verb {
	case "claim", "give-back", "hold":
		a.touch(c)
	case "advance", "fire-on-time":
		a.settled(c)
	case "insert", "revise":
		a.revised(c)
	case "unlock":
		a.expect(c, "UNLOCKED")
	}
}

// slots lists the slots of the schedule as it stood, after one instant and up to another, both of them by its clock.
func (a *account) slots(row hourbell.Schedule, after, until time.Time) []time.Time {
	if after.IsZero() || !until.After(after) {
		return nil
	}
	list, err := a.calendar(row).Between(after.Add(time.Microsecond), until.Add(time.Microsecond))
	if err != nil {
		a.wrong(NoSlot, "%v", err)
	}
	return list
}

// calendar parses the schedule's expression, once.
func (a *account) calendar(row hourbell.Schedule) cron.Schedule {
	key := [2]string{row.Cron, row.TimeZone}
	known, ok := a.calendars[key]
	if !ok {
		var err error
		if known, err = cron.Parse(row.Cron, row.TimeZone); err != nil {
			a.wrong(NoSlot, "%v", err)
		}
		a.calendars[key] = known
	}
	return known
}

// pending are the slots due at an instant that are not in the account.
func (a *account) pending(at time.Time) []time.Time {
	if !a.open {
		return nil
	}
	return slices.DeleteFunc(a.slots(a.row, a.since, at), func(slot time.Time) bool { return a.taken[slot] != "" })
}

// take puts a slot into the account.
func (a *account) take(slot time.Time, as string, c model.Change) {
	switch was := a.taken[slot]; {
	case was == "fired" && as == "fired":
		a.wrong(FiredTwice, "%s, the second time at %s", clock(slot), clock(c.At))
	case was != "":
		a.wrong(CountedTwice, "%s was %s, and then %s at %s", clock(slot), was, as, clock(c.At))
	case slot.After(c.At) && (c.Verb != "revise" || slot.After(c.Seen)): // who revises has read a clock that may be stepped back since
		a.wrong(Early, "%s was %s at %s", clock(slot), as, clock(c.At))
	case !a.open:
		a.wrong(NotEnabled, "%s was %s at %s, when the schedule was disabled or removed", clock(slot), as, clock(c.At))
	case !slot.After(a.since):
		a.wrong(NotEnabled, "%s was %s at %s, of what was before %s", clock(slot), as, clock(c.At), clock(a.since))
	case len(a.slots(a.row, slot.Add(-time.Second), slot)) == 0:
		a.wrong(NoSlot, "%s was %s at %s, when the expression was %s", clock(slot), as, clock(c.At), a.row.Cron)
	}
	a.taken[slot] = as
	a.newest = latest(a.newest, slot)
}

func latest(instants ...time.Time) time.Time { return slices.MaxFunc(instants, time.Time.Compare) }

// skip puts what an event says was skipped into the account.
func (a *account) skip(e model.Event, c model.Change) {
	list := a.slots(a.row, e.SlotFrom.Add(-time.Second), e.SlotTo)
	for _, slot := range list {
		a.take(slot, "skipped", c)
	}
	if len(list) != e.SlotCount && (e.SlotCount < 1000 || len(list) < 1000) {
		a.wrong(WrongCount, "%s: there are %d at %s", span(e.Event), len(list), clock(c.At))
	}
}

// skips are the skips that a transaction recorded.
func (a *account) skips(c model.Change) []model.Event {
	return slices.DeleteFunc(slices.Clone(a.events[c.Tx]), func(e model.Event) bool { return e.Kind != "SKIPPED" })
}

// expect wants an event of the transaction.
func (a *account) expect(c model.Change, kind string) {
	if !slices.ContainsFunc(a.events[c.Tx], func(e model.Event) bool { return e.Kind == kind }) {
		a.wrong(NoEvent, "no %s at %s", kind, clock(c.At))
	}
}

// end wants all slots in the account, and nothing left over.
func (a *account) end() {
	row, _ := a.db.Schedule(a.id)
	a.row = row
	if declared, ok := a.world.newest.rows[a.id]; ok != row.RemovedAt.IsZero() || ok && declared.DefinitionHash != row.DefinitionHash {
		a.wrong(Unsynced, "stored: %s", row.Cron)
	}
	if missing := a.pending(a.db.Now); a.open && len(missing) > 0 {
		if !row.NextRunAt.After(a.db.Now) {
			a.wrong(KeptForEver, "%d slots from %s to %s are due, and nobody settles them", len(missing), clock(missing[0]), clock(missing[len(missing)-1]))
		}
		a.wrong(Lost, "%d slots, from %s to %s, are not in the account at %s", len(missing), clock(missing[0]), clock(missing[len(missing)-1]), clock(a.db.Now))
	}
	if a.open {
		a.ahead(row)
	} else if !row.NextRunAt.IsZero() {
		a.wrong(NotEnabled, "disabled or removed, and %s is still next", clock(row.NextRunAt))
	}
}

// ahead wants the row of an enabled schedule to be free and to wait for the right slot.
func (a *account) ahead(row hourbell.Schedule) {
	want, err := a.calendar(row).Next(latest(a.db.Now, a.newest, a.since))
	if err != nil || !row.NextRunAt.Equal(want) {
		a.wrong(Lost, "%s is next, where it should be %s", clock(row.NextRunAt), clock(want))
	}
	if row.OwedSince.After(a.db.Now) {
		return // the clock was stepped back since somebody was at the row, and has not come there again
	}
	if row.LockedBy != "" || !row.OwedSince.IsZero() || row.HeldUntil.After(a.db.Now) {
		a.wrong(LeftOver, "locked by %q, owed since %s, held until %s", row.LockedBy, clock(row.OwedSince), clock(row.HeldUntil))
	}
}
