package hourbell

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// attempts is how often a write is computed anew when its row has changed since it was read.
const attempts = 10

// Sync brings the stored schedules in line with the definitions: it adds the new ones, writes over what code owns of
// the changed ones, and marks those missing from code as removed. What people own is never touched, and unchanged
// definitions cause no write. A schedule whose expression or zone changed goes on with the first slot of the new one
// after now; it never fires for the past.
//
// It writes nothing, and says so in the log, while a newer build lives that declares other definitions: see
// Config.BuildTime. It refuses to remove every schedule of the namespace while another worker lives, for that is what
// two services do to each other that both left Config.Namespace at its default.
func (s *Scheduler) Sync(ctx context.Context) error {
	if err := s.store.Ready(ctx); err != nil {
		return fmt.Errorf("hourbell: sync: %w", err)
	}
	hashes, err := s.store.DefinitionHashes(ctx)
	if err != nil {
		return fmt.Errorf("hourbell: sync: %w", err)
	}
	if s.catalog.matches(hashes) {
		return nil
	}
	for range attempts {
		plan, err := s.plan(ctx)
		if err != nil {
			return fmt.Errorf("hourbell: sync: %w", err)
		}
		if newer := s.outranked(plan.workers, plan.now); newer != nil {
			s.log.InfoContext(ctx, "hourbell: definitions not synced: they are those of a newer build that lives",
				"worker", newer.ID, "version", newer.Version, "build_time", newer.BuildTime)
			return nil
		}
		if err := s.refuseToRemoveAll(plan); err != nil {
			return fmt.Errorf("hourbell: sync: %w", err)
		}
		done, err := s.apply(ctx, plan)
		if err != nil {
			return fmt.Errorf("hourbell: sync: %w", err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("hourbell: sync: %w", ErrBusy)
}

// syncPlan is what a sync would write.
type syncPlan struct {
	now       time.Time
	workers   []Worker
	strangers bool // it removes schedules, and none of those stored is declared here
	added     []Revision
	revised   []Revision
	events    map[string][]Event   // by schedule, oldest first
	before    map[string]time.Time // when those revised would have been next
	calendars map[[2]string]*calendar
}

// plan compares what is stored with what code declares.
func (s *Scheduler) plan(ctx context.Context) (*syncPlan, error) {
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	plan := &syncPlan{now: now, workers: workers, events: map[string][]Event{}, before: map[string]time.Time{}, calendars: map[[2]string]*calendar{}}
	stored := make(map[string]bool, len(rows))
	common, removed := false, false
	for _, row := range rows {
		stored[row.ID] = true
		declared := s.catalog.definitions[row.ID]
		switch {
		case declared == nil && row.RemovedAt.IsZero():
			removed = true
			err = plan.remove(row)
		case declared != nil:
			common = common || row.RemovedAt.IsZero()
			err = plan.redefine(row, declared)
		}
		if err != nil {
			return nil, err
		}
	}
	plan.strangers = removed && !common
	plan.added = make([]Revision, 0, max(len(s.catalog.definitions)-len(stored), 0))
	for _, id := range slices.Sorted(maps.Keys(s.catalog.definitions)) {
		if !stored[id] {
			if err := plan.add(s.cfg.Namespace, s.catalog.definitions[id]); err != nil {
				return nil, err
			}
		}
	}
	return plan, nil
}

// refuseToRemoveAll returns an error if the plan does so and another worker of the namespace lives (rule D6).
func (s *Scheduler) refuseToRemoveAll(plan *syncPlan) error {
	if !plan.strangers {
		return nil
	}
	for _, w := range plan.workers {
		if w.ID != s.worker.ID && w.Alive(plan.now) {
			return fmt.Errorf("none of the schedules stored in Namespace %q is declared here, and worker %s on %s (process %d) lives: "+
				"refusing to remove them all; give each service a Namespace of its own", s.cfg.Namespace, w.ID, w.Hostname, w.PID)
		}
	}
	return nil
}

// apply writes a plan and says whether all of it still fitted.
func (s *Scheduler) apply(ctx context.Context, plan *syncPlan) (bool, error) {
	if len(plan.added)+len(plan.revised) == 0 {
		return true, nil
	}
	var written []string
	err := s.transaction(ctx, func(ctx context.Context, st Store) error {
		added, err := st.Insert(ctx, plan.added)
		if err != nil {
			return err
		}
		revised, err := st.Revise(ctx, plan.revised)
		if err != nil {
			return err
		}
		written = append(added, revised...)
		sort.Strings(written)
		events := make([]Event, 0, len(written))
		for _, id := range written {
			events = append(events, plan.events[id]...)
		}
		return st.InsertEvents(ctx, events)
	})
	if err != nil {
		return false, err
	}
	if len(written) > 0 {
		s.log.InfoContext(ctx, "hourbell: definitions synced", "written", len(written), "declared", len(s.catalog.definitions))
	}
	return len(written) == len(plan.added)+len(plan.revised), nil
}

func (p *syncPlan) add(namespace string, d *definition) error {
	row := Revision{Schedule: d.onto(Schedule{Namespace: namespace, ID: d.ID, Enabled: d.EnabledByDefault})}
	if row.Enabled {
		if err := row.resume(p.now, p.calendar(d)); err != nil {
			return err
		}
	}
	p.added = append(p.added, row)
	p.events[d.ID] = []Event{{ScheduleID: d.ID, Kind: eventDefined, Detail: d.summary()}}
	return nil
}

// calendar is that of a definition, one for all that share expression and zone.
func (p *syncPlan) calendar(d *definition) *calendar {
	key := [2]string{d.Cron, d.TimeZone}
	if p.calendars[key] == nil {
		p.calendars[key] = newCalendar(d.slots)
	}
	return p.calendars[key]
}

// redefine revises a stored schedule that code declares, if it differs.
func (p *syncPlan) redefine(row Schedule, d *definition) error {
	back := !row.RemovedAt.IsZero()
	if row.DefinitionHash == d.hash && !back {
		return nil
	}
	if row.Cron == d.Cron && row.TimeZone == d.TimeZone && !back {
		p.revise(row, Revision{Schedule: d.onto(row), ReadHash: row.DefinitionHash},
			Event{ScheduleID: row.ID, Kind: eventChanged, Detail: changes(row, d)})
		return nil
	}
	revision, skipped, err := retire(row, p.now, skipChanged, By{}, p.calendars)
	if err != nil {
		return err
	}
	event := Event{ScheduleID: row.ID, Kind: eventChanged, Detail: changes(row, d)}
	if back {
		event.Kind, event.Detail = eventDefined, "declared again: "+d.summary()
	}
	revision.Schedule = d.onto(revision.Schedule)
	revision.RemovedAt = time.Time{}
	if row.Enabled {
		if err := revision.resume(p.now, p.calendar(d)); err != nil {
			return err
		}
	}
	p.revise(row, revision, append(skipped, event)...)
	return nil
}

func (p *syncPlan) remove(row Schedule) error {
	revision, skipped, err := retire(row, p.now, skipRemoved, By{}, p.calendars)
	if err != nil {
		return err
	}
	revision.RemovedAt = p.now
	p.revise(row, revision, append(skipped, Event{ScheduleID: row.ID, Kind: eventRemoved})...)
	return nil
}

func (p *syncPlan) revise(row Schedule, revision Revision, events ...Event) {
	p.before[row.ID] = row.NextRunAt
	p.revised = append(p.revised, revision)
	p.events[revision.ID] = events
}

// onto writes what code owns of a definition over a row.
func (d *definition) onto(row Schedule) Schedule {
	row.Name, row.Description, row.Cron, row.TimeZone = d.Name, d.Description, d.Cron, d.TimeZone
	row.TargetKind, row.Target, row.Grace, row.DefinitionHash = d.Target.kind, d.Target.stored(), d.Grace, d.hash
	return row
}

func (d *definition) summary() string {
	return d.Cron + " in " + d.TimeZone + ", " + d.Target.String()
}

// changes says what a definition changes of a row, in words.
func changes(row Schedule, d *definition) string {
	if row.Cron != d.Cron || row.TimeZone != d.TimeZone {
		return fmt.Sprintf("from %s in %s to %s in %s", row.Cron, row.TimeZone, d.Cron, d.TimeZone)
	}
	if row.TargetKind != d.Target.kind || row.Target != d.Target.stored() {
		return "target is now " + d.Target.String()
	}
	if row.Grace != d.Grace {
		return fmt.Sprintf("grace from %v to %v", row.Grace, d.Grace)
	}
	return "name, description, or the jobs of the target"
}

// retire settles a row (rule M5): what is due and has not fired is recorded as skipped, and nothing is next. The
// revision applies only until the next slot would come due.
func retire(row Schedule, now time.Time, reason string, by By, calendars map[[2]string]*calendar) (Revision, []Event, error) {
	revision := Revision{Schedule: row, ReadHash: row.DefinitionHash, Settles: true}
	revision.NextRunAt = time.Time{}
	if row.NextRunAt.IsZero() {
		return revision, nil, nil
	}
	slots, err := calendarOf(calendars, row.Cron, row.TimeZone)
	if err != nil {
		// What is stored can no longer be read, in this process. The slot at the pointer is all that is known of it.
		if row.NextRunAt.After(now) {
			revision.Until = row.NextRunAt
			return revision, nil, nil
		}
		unread := skip{reason: reason, from: row.NextRunAt, to: row.NextRunAt, count: 1, atLeast: true}
		revision.SettledUntil = unread.to
		return revision, []Event{unread.event(row.ID, by)}, nil
	}
	skipped, err := settle(row, now, reason, slots)
	if err != nil {
		return revision, nil, fmt.Errorf("schedule %q: %w", row.ID, err)
	}
	if skipped == nil {
		revision.Until = row.NextRunAt
		return revision, nil, nil
	}
	revision.SettledUntil = skipped.to
	if revision.Until, err = slots.Next(now); err != nil && !errors.Is(err, cron.ErrNever) {
		return revision, nil, fmt.Errorf("schedule %q: %w", row.ID, err)
	}
	return revision, []Event{skipped.event(row.ID, by)}, nil
}

// resume lets a settled row go on with the first slot after the later of now and the last slot settled (rule M4).
func (r *Revision) resume(now time.Time, slots *calendar) error {
	next, err := slots.Next(later(now, r.SettledUntil))
	if err != nil {
		return fmt.Errorf("schedule %q: %w", r.ID, err)
	}
	r.NextRunAt = next
	if r.Until.IsZero() || next.Before(r.Until) {
		r.Until = next
	}
	return nil
}
