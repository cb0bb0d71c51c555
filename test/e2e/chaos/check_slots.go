package main

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// switching is an instant at which a schedule was enabled or disabled.
type switching struct {
	enabled bool
	at      time.Time
}

func (r *result) readSwitchings(ctx context.Context, db queryer) error {
	r.switches = map[name][]switching{}
	return each(ctx, db, func(rows *sql.Rows) error {
		var n name
		var s switching
		err := rows.Scan(&n.Namespace, &n.ID, &s.enabled, &s.at)
		r.switches[n] = append(r.switches[n], s)
		return err
	}, `SELECT namespace, id, enabled, at FROM chaos_switchings ORDER BY seq`)
}

// fire is what the table of runs has of one slot.
type fire struct {
	jobs     string // in the order of their ordinals
	ordinals string
	first    time.Time // when the first of them was enqueued
}

func (r *result) readFires(ctx context.Context, db queryer) error {
	r.fires = map[name]map[time.Time]fire{}
	return each(ctx, db, func(rows *sql.Rows) error {
		var n name
		var slot time.Time
		var f fire
		err := rows.Scan(&n.Namespace, &n.ID, &slot, &f.jobs, &f.ordinals, &f.first)
		if r.fires[n] == nil {
			r.fires[n] = map[time.Time]fire{}
		}
		r.fires[n][slot.UTC()] = f
		return err
	}, `SELECT namespace, schedule_id, scheduled_for, string_agg(job, ' ' ORDER BY ordinal, job), string_agg(ordinal::text, ' ' ORDER BY ordinal), min(queued_at)
		FROM hourbell_job_runs WHERE trigger = 'CRON' GROUP BY 1, 2, 3`)
}

// checkSlots walks over every slot of every stretch in which a schedule was enabled. Each must have fired once, with
// all jobs of its target, or lie in one skipped range; and nothing else may have fired or been skipped.
func (r *result) checkSlots(declared map[name]hourbell.Definition) error {
	for n := range r.fires {
		if _, ok := declared[n]; !ok {
			r.wrong("%v has fired and is not declared", n)
		}
	}
	for n, d := range declared {
		seen := map[time.Time][]string{}
		for slot, f := range r.fires[n] {
			seen[slot] = append(seen[slot], "fired")
			r.checkFire(n, slot, f, d)
		}
		if err := r.walkSkips(n, d, seen); err != nil {
			return err
		}
		if err := r.walkStretches(n, d, seen); err != nil {
			return err
		}
		for slot, as := range seen {
			r.wrong("%v: the slot %s is %s, and the schedule was not enabled or has no such slot", n, instant(slot), strings.Join(as, " and "))
		}
	}
	return nil
}

func (r *result) checkFire(n name, slot time.Time, f fire, d hourbell.Definition) {
	jobs := jobsOf(d.Target)
	r.fired++
	r.runs += len(jobs)
	if f.jobs != strings.Join(jobs, " ") || f.ordinals != "0 1 2"[:2*len(jobs)-1] {
		r.wrong("%v: the slot %s has runs of %s with ordinals %s; its target is %s", n, instant(slot), f.jobs, f.ordinals, strings.Join(jobs, " "))
	}
	if f.first.Before(slot) {
		r.wrong("%v: the slot %s fired early, at %s", n, instant(slot), instant(f.first))
	}
}

// walkSkips notes the slots of each skipped range.
func (r *result) walkSkips(n name, d hourbell.Definition, seen map[time.Time][]string) error {
	for _, e := range r.events {
		if e.kind != "SKIPPED" || e.of != n {
			continue
		}
		slots, err := d.Between(e.from, e.to.Add(time.Second))
		if err != nil {
			return err
		}
		if len(slots) != e.count || !slices.ContainsFunc(slots, e.from.Equal) || !slices.ContainsFunc(slots, e.to.Equal) {
			r.wrong("%v: event %d says that %d slots from %s to %s were skipped; there are %d", n, e.id, e.count, instant(e.from), instant(e.to), len(slots))
		}
		r.skipped[e.reason] += len(slots)
		for _, slot := range slots {
			seen[slot] = append(seen[slot], "skipped by event "+number(e.id))
		}
	}
	return nil
}

// walkStretches takes from seen what belongs to a stretch. A schedule is due from the first slot after it was enabled to
// the last that had come when it was disabled.
func (r *result) walkStretches(n name, d hourbell.Definition, seen map[time.Time][]string) error {
	var began time.Time
	for _, s := range r.switches[n] {
		if s.enabled {
			began = s.at
			continue
		}
		if began.IsZero() {
			continue // added as disabled
		}
		slots, err := d.Between(after(began), s.at.Add(time.Nanosecond))
		if err != nil {
			return err
		}
		for _, slot := range slots {
			r.slots++
			switch as := seen[slot]; len(as) {
			case 0:
				r.wrong("%v: the slot %s is lost: neither fired nor recorded as skipped", n, instant(slot))
			case 1:
			default:
				r.wrong("%v: the slot %s is accounted for %d times: %s", n, instant(slot), len(as), strings.Join(as, " and "))
			}
			delete(seen, slot)
		}
		began = time.Time{}
	}
	if !began.IsZero() {
		r.wrong("%v is still enabled", n)
	}
	if len(r.switches[n]) == 0 {
		r.wrong("%v was never stored", n)
	}
	return nil
}

// after is the first whole second after an instant.
func after(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z") }
