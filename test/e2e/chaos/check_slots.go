package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// enableChange records that a schedule was enabled or disabled. The first entry
// of a schedule is its insert.
type enableChange struct {
	enabled bool
	at      time.Time
}

func (r *result) readEnableChanges(ctx context.Context, db queryer) error {
	r.enableChanges = map[scheduleName][]enableChange{}
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var name scheduleName
		var change enableChange
		err := rows.Scan(&name.Namespace, &name.ID, &change.enabled, &change.at)
		r.enableChanges[name] = append(r.enableChanges[name], change)
		return err
	}, `SELECT namespace, id, enabled, at FROM chaos_enable_changes ORDER BY seq`)
}

// fire is the CRON runs of one slot.
type fire struct {
	jobs     string // in the order of their ordinals
	ordinals string
	first    time.Time // the earliest queued_at
}

func (r *result) readFires(ctx context.Context, db queryer) error {
	r.fires = map[scheduleName]map[time.Time]fire{}
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var name scheduleName
		var slot time.Time
		var f fire
		err := rows.Scan(&name.Namespace, &name.ID, &slot, &f.jobs, &f.ordinals, &f.first)
		if r.fires[name] == nil {
			r.fires[name] = map[time.Time]fire{}
		}
		r.fires[name][slot.UTC()] = f
		return err
	}, `SELECT namespace, schedule_id, scheduled_for, string_agg(job, ' ' ORDER BY ordinal, job), string_agg(ordinal::text, ' ' ORDER BY ordinal), min(queued_at)
		FROM hourbell_job_runs WHERE trigger = 'CRON' GROUP BY 1, 2, 3`)
}

// ledger maps each slot of a schedule to its outcomes in the tables.
type ledger map[time.Time][]string

func (l ledger) add(slot time.Time, outcome string) { l[slot] = append(l[slot], outcome) }

// checkSlots checks each slot of each period in which a schedule was enabled:
// the slot fired once with all jobs of the target, or is in one skipped range.
// No other slot may have fired or be skipped.
func (r *result) checkSlots(definitions map[scheduleName]hourbell.Definition) error {
	for name := range r.fires {
		if _, ok := definitions[name]; !ok {
			r.violation("%v has fired and is not declared", name)
		}
	}
	for name, d := range definitions {
		outcomes := ledger{}
		for slot, f := range r.fires[name] {
			outcomes.add(slot, "fired")
			r.checkFire(name, slot, f, d)
		}
		if err := r.addSkips(name, d, outcomes); err != nil {
			return err
		}
		if err := r.checkEnabledPeriods(name, d, outcomes); err != nil {
			return err
		}
		for slot, list := range outcomes {
			r.violation("%v: the slot %s is %s, but the schedule was disabled or has no such slot", name, timestamp(slot), strings.Join(list, " and "))
		}
	}
	return nil
}

func (r *result) checkFire(name scheduleName, slot time.Time, f fire, d hourbell.Definition) {
	jobs := jobsOf(d.Target)
	r.fired++
	r.runs += len(jobs)
	if f.jobs != strings.Join(jobs, " ") || f.ordinals != "0 1 2"[:2*len(jobs)-1] {
		r.violation("%v: the slot %s has runs of %s with ordinals %s; its target is %s", name, timestamp(slot), f.jobs, f.ordinals, strings.Join(jobs, " "))
	}
	if f.first.Before(slot) {
		r.violation("%v: the slot %s fired early, at %s", name, timestamp(slot), timestamp(f.first))
	}
}

// addSkips adds the slots of each skipped range to the ledger.
func (r *result) addSkips(name scheduleName, d hourbell.Definition, outcomes ledger) error {
	for _, e := range r.events {
		if e.kind != hourbell.EventSkipped || e.schedule != name {
			continue
		}
		slots, err := d.Between(e.from, e.to.Add(time.Second))
		if err != nil {
			return err
		}
		if len(slots) != e.count || !slices.ContainsFunc(slots, e.from.Equal) || !slices.ContainsFunc(slots, e.to.Equal) {
			r.violation("%v: event %d has a count of %d skipped slots from %s to %s; there are %d", name, e.id, e.count, timestamp(e.from), timestamp(e.to), len(slots))
		}
		r.skipped[e.reason] += len(slots)
		for _, slot := range slots {
			outcomes.add(slot, fmt.Sprintf("skipped by event %d", e.id))
		}
	}
	return nil
}

// checkEnabledPeriods checks each slot of each enabled period and removes it
// from the ledger. A period has the slots after the schedule was enabled, up to
// the time at which it was disabled.
func (r *result) checkEnabledPeriods(name scheduleName, d hourbell.Definition, outcomes ledger) error {
	var enabledAt time.Time
	for _, change := range r.enableChanges[name] {
		if change.enabled {
			enabledAt = change.at
			continue
		}
		if enabledAt.IsZero() {
			continue // inserted as disabled
		}
		slots, err := d.Between(nextSecond(enabledAt), change.at.Add(time.Nanosecond))
		if err != nil {
			return err
		}
		for _, slot := range slots {
			r.slots++
			switch list := outcomes[slot]; len(list) {
			case 0:
				r.violation("%v: the slot %s is lost: neither fired nor recorded as skipped", name, timestamp(slot))
			case 1:
			default:
				r.violation("%v: the slot %s has %d outcomes: %s", name, timestamp(slot), len(list), strings.Join(list, " and "))
			}
			delete(outcomes, slot)
		}
		enabledAt = time.Time{}
	}
	if !enabledAt.IsZero() {
		r.violation("%v is still enabled", name)
	}
	if len(r.enableChanges[name]) == 0 {
		r.violation("%v was never stored", name)
	}
	return nil
}

// nextSecond returns the first whole second after t.
func nextSecond(t time.Time) time.Time { return t.Truncate(time.Second).Add(time.Second) }

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z") }
