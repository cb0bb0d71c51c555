package main

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/hourbell/hourbell"
)

// event is a row of hourbell_events.
type event struct {
	id                        int64
	of                        name
	kind, reason, actor, note string
	at, from, to              time.Time
	count                     int
}

func number(id int64) string { return strconv.FormatInt(id, 10) }

func (r *result) readEvents(ctx context.Context, db queryer) error {
	return each(ctx, db, func(rows *sql.Rows) error {
		var e event
		var from, to sql.NullTime
		err := rows.Scan(&e.id, &e.of.Namespace, &e.of.ID, &e.kind, &e.reason, &e.actor, &e.note, &e.at, &from, &to, &e.count)
		e.from, e.to = from.Time, to.Time
		r.events = append(r.events, e)
		return err
	}, `SELECT id, namespace, COALESCE(schedule_id, ''), kind, COALESCE(reason, ''), COALESCE(actor, ''), COALESCE(note, ''), at, slot_from, slot_to,
		COALESCE(slot_count, 0) FROM hourbell_events ORDER BY id`)
}

// checkReasons checks that each skip's reason is true, as far as the tables can tell.
func (r *result) checkReasons(declared map[name]hourbell.Definition) {
	disabled := map[name]map[string]bool{} // notes
	for _, e := range r.events {
		if e.kind == "DISABLED" {
			if disabled[e.of] == nil {
				disabled[e.of] = map[string]bool{}
			}
			disabled[e.of][e.actor+" "+e.note] = true
		}
	}
	for _, e := range r.events {
		if e.kind != "SKIPPED" {
			continue
		}
		holds, why := false, ""
		switch e.reason {
		case "LATE":
			holds, why = e.at.Sub(e.to) > grace, "its last slot was within grace"
		case "LAPSED":
			holds, why = e.at.Sub(e.to) > grace && e.at.Sub(e.from) > lockTTL+grace, "no debt could have lapsed"
		case "SUPERSEDED":
			next, err := declared[e.of].Next(e.to)
			_, fired := r.fires[e.of][next]
			holds, why = err == nil && fired, "the slot after it did not fire"
		case "DISABLED":
			holds, why = disabled[e.of][e.actor+" "+e.note], "nobody disabled it with this note"
		default:
			why = "nothing was changed or removed"
		}
		if !holds {
			r.wrong("%v: event %d, at %s, says %s of the slots from %s to %s, and %s", e.of, e.id, instant(e.at), e.reason, instant(e.from), instant(e.to), why)
		}
	}
}

// checkSwitches holds the events of enabling and disabling against the witness: one for each, in the same order.
func (r *result) checkSwitches() {
	told := map[name][]event{}
	for _, e := range r.events {
		if e.kind == "ENABLED" || e.kind == "DISABLED" {
			told[e.of] = append(told[e.of], e)
		}
	}
	for n, happened := range r.switches {
		happened, events := happened[1:], told[n] // the first is that of its being added
		for i := range max(len(happened), len(events)) {
			switch {
			case i >= len(events):
				r.wrong("%v was switched at %s, and no event says so", n, instant(happened[i].at))
			case i >= len(happened):
				r.wrong("%v: event %d says %s at %s, which did not happen", n, events[i].id, events[i].kind, instant(events[i].at))
			case (events[i].kind == "ENABLED") != happened[i].enabled || events[i].at.Before(happened[i].at):
				r.wrong("%v: event %d says %s at %s; the witness says enabled=%t at %s", n, events[i].id, events[i].kind, instant(events[i].at), happened[i].enabled, instant(happened[i].at))
			default:
				continue
			}
			break // what follows is shifted
		}
	}
}
