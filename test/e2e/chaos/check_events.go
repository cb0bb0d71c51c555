package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
)

// event is a row of hourbell_events.
type event struct {
	id           int64
	schedule     scheduleName
	kind         hourbell.EventKind
	reason       hourbell.SkipReason
	actor, note  string
	at, from, to time.Time
	count        int
}

func (r *result) readEvents(ctx context.Context, db queryer) error {
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var e event
		var from, to sql.NullTime
		err := rows.Scan(&e.id, &e.schedule.Namespace, &e.schedule.ID, &e.kind, &e.reason, &e.actor, &e.note, &e.at, &from, &to, &e.count)
		e.from, e.to = from.Time, to.Time
		r.events = append(r.events, e)
		return err
	}, `SELECT id, namespace, COALESCE(schedule_id, ''), kind, COALESCE(reason, ''), COALESCE(actor, ''), COALESCE(note, ''), at, slot_from, slot_to,
		COALESCE(slot_count, 0) FROM hourbell_events ORDER BY id`)
}

// checkReasons checks the reason of each skip as far as the tables show it.
func (r *result) checkReasons(definitions map[scheduleName]hourbell.Definition) {
	disabled := map[scheduleName]map[string]bool{} // actors and notes
	for _, e := range r.events {
		if e.kind == hourbell.EventDisabled {
			if disabled[e.schedule] == nil {
				disabled[e.schedule] = map[string]bool{}
			}
			disabled[e.schedule][e.actor+" "+e.note] = true
		}
	}
	for _, e := range r.events {
		if e.kind != hourbell.EventSkipped {
			continue
		}
		valid, problem := false, ""
		switch e.reason {
		case hourbell.SkipLate:
			valid, problem = e.at.Sub(e.to) > grace, "its last slot was within grace"
		case hourbell.SkipAbandoned:
			valid, problem = e.at.Sub(e.to) > grace && e.at.Sub(e.from) > lockTTL+grace, "it is too early to abandon a claim"
		case hourbell.SkipSuperseded:
			next, err := definitions[e.schedule].Next(e.to)
			_, fired := r.fires[e.schedule][next]
			valid, problem = err == nil && fired, "the slot after it did not fire"
		case hourbell.SkipDisabled:
			valid, problem = disabled[e.schedule][e.actor+" "+e.note], "no DISABLED event has its actor and note"
		default:
			problem = "no schedule was changed or removed"
		}
		if !valid {
			r.violation("%v: event %d, at %s, gives the reason %s for the slots from %s to %s, but %s",
				e.schedule, e.id, timestamp(e.at), e.reason, timestamp(e.from), timestamp(e.to), problem)
		}
	}
}

// checkEnableEvents compares the ENABLED and DISABLED events with the changes
// that the triggers recorded: one event for each change, in the same order.
func (r *result) checkEnableEvents() {
	eventsOf := map[scheduleName][]event{}
	for _, e := range r.events {
		if e.kind == hourbell.EventEnabled || e.kind == hourbell.EventDisabled {
			eventsOf[e.schedule] = append(eventsOf[e.schedule], e)
		}
	}
	for name, changes := range r.enableChanges {
		changes, events := changes[1:], eventsOf[name] // the first entry is the insert of the schedule
		for i := range max(len(changes), len(events)) {
			switch {
			case i >= len(events):
				r.violation("%v: the change at %s has no event", name, timestamp(changes[i].at))
			case i >= len(changes):
				r.violation("%v: event %d (%s at %s) has no change", name, events[i].id, events[i].kind, timestamp(events[i].at))
			case (events[i].kind == hourbell.EventEnabled) != changes[i].enabled || events[i].at.Before(changes[i].at):
				r.violation("%v: event %d is %s at %s, but the change is enabled=%t at %s",
					name, events[i].id, events[i].kind, timestamp(events[i].at), changes[i].enabled, timestamp(changes[i].at))
			default:
				continue
			}
			break // after the first mismatch all pairs are shifted
		}
	}
}
