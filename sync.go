package hourbell

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// Sync makes the stored schedules match the definitions. It inserts new
// schedules, updates what code owns of changed ones, and marks those that code
// no longer declares as removed. Removed schedules are deleted after 14 days,
// unless code declares them again. Sync does not change what operators own. If
// nothing has changed, it writes nothing.
//
// If the expression or the time zone of
// a schedule has changed, due slots are recorded as skipped. The schedule then
// continues with its first slot after now, and never fires for the past.
//
// The newest active build owns the definitions: see Config.BuildTime. While a
// newer build with other definitions is active, Sync logs that and writes
// nothing.
//
// Sync returns an error instead of removing every schedule of the namespace
// while another worker is active. This protects two services that both use the
// default Config.Namespace. Other errors are [ErrNotMigrated],
// [ErrUnavailable], and [ErrBusy] if the rows keep changing.
func (s *Scheduler) Sync(ctx context.Context) error {
	if err := s.sync(ctx); err != nil {
		return fmt.Errorf("hourbell: sync: %w", err)
	}
	return nil
}

func (s *Scheduler) sync(ctx context.Context) error {
	if err := s.store.CheckMigrated(ctx); err != nil {
		return err
	}
	hashes, err := s.store.DefinitionHashes(ctx)
	if err != nil || s.catalog.matches(hashes) {
		return err
	}
	for range maxAttempts {
		plan, err := s.planSync(ctx)
		if err != nil {
			return err
		}
		if newer := s.newerBuild(plan.workers); newer != nil {
			s.log.InfoContext(ctx, "hourbell: sync skipped, newer build is active",
				"worker", newer.ID, "version", newer.Version, "build_time", newer.BuildTime)
			return nil
		}
		if err := s.refuseToRemoveAll(plan); err != nil {
			return err
		}
		if done, err := s.applyPlan(ctx, plan); err != nil || done {
			return err
		}
	}
	return ErrBusy
}

// PlannedChange is what a sync would do to one schedule.
type PlannedChange struct {
	ScheduleID string
	Kind       EventKind // EventDefined, EventChanged or EventRemoved
	Detail     string    // the change in words; empty for EventRemoved
	// OldNextRunAt and NewNextRunAt are the next slot before and after the
	// sync, in UTC; the zero time means none. They are equal if the sync does
	// not move the schedule.
	OldNextRunAt, NewNextRunAt time.Time
}

// Plan returns what [Scheduler.Sync] would write now, ordered by schedule ID,
// and writes nothing. It is a dry run for a check before a deploy. It does not
// consider whether a newer build is active. Its errors are those of Sync.
func (s *Scheduler) Plan(ctx context.Context) ([]PlannedChange, error) {
	changes, err := s.plannedChanges(ctx)
	if err != nil {
		return nil, fmt.Errorf("hourbell: plan: %w", err)
	}
	return changes, nil
}

func (s *Scheduler) plannedChanges(ctx context.Context) ([]PlannedChange, error) {
	if err := s.store.CheckMigrated(ctx); err != nil {
		return nil, err
	}
	plan, err := s.planSync(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.refuseToRemoveAll(plan); err != nil {
		return nil, err
	}
	list := make([]PlannedChange, 0, len(plan.inserts)+len(plan.updates))
	for _, row := range slices.Concat(plan.inserts, plan.updates) {
		events := plan.events[row.ID]
		last := events[len(events)-1] // earlier events record skipped slots
		list = append(list, PlannedChange{row.ID, last.Kind, last.Detail, plan.oldNextRunAt[row.ID], row.NextRunAt})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ScheduleID < list[j].ScheduleID })
	return list, nil
}

// syncPlan is what a sync writes.
type syncPlan struct {
	namespace    string
	now          time.Time // the database time
	workers      []Worker
	noneInCommon bool // it removes schedules, and none of the stored ones is declared here
	inserts      []storage.ScheduleUpdate
	updates      []storage.ScheduleUpdate
	events       map[string][]Event   // by schedule, oldest first
	oldNextRunAt map[string]time.Time // by updated schedule
	calendars    calendarCache
}

// planSync compares the stored schedules with the definitions.
func (s *Scheduler) planSync(ctx context.Context) (*syncPlan, error) {
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	plan := &syncPlan{
		namespace: s.cfg.Namespace, now: now, workers: workers,
		events: map[string][]Event{}, oldNextRunAt: map[string]time.Time{}, calendars: calendarCache{},
	}
	stored := make(map[string]bool, len(rows))
	inCommon, removes := false, false
	for i := range rows {
		row := &rows[i]
		stored[row.ID] = true
		declared := s.catalog.definitions[row.ID]
		switch {
		case declared == nil && row.RemovedAt.IsZero():
			removes = true
			err = plan.remove(row)
		case declared != nil:
			inCommon = inCommon || row.RemovedAt.IsZero()
			err = plan.updateDefinition(row, declared)
		}
		if err != nil {
			return nil, err
		}
	}
	plan.noneInCommon = removes && !inCommon
	plan.inserts = make([]storage.ScheduleUpdate, 0, max(len(s.catalog.definitions)-len(stored), 0))
	for _, id := range slices.Sorted(maps.Keys(s.catalog.definitions)) {
		if !stored[id] {
			if err := plan.insert(s.catalog.definitions[id]); err != nil {
				return nil, err
			}
		}
	}
	return plan, nil
}

// refuseToRemoveAll returns an error if a plan removes all schedules while
// another worker of the namespace is active (rule D6).
func (s *Scheduler) refuseToRemoveAll(plan *syncPlan) error {
	if !plan.noneInCommon {
		return nil
	}
	for _, w := range plan.workers {
		if w.ID != s.worker.ID && w.Active {
			return fmt.Errorf("this process declares none of the schedules stored in Namespace %q, and worker %s on %s (process %d) is active: "+
				"refusing to remove them all; give each service its own Namespace", plan.namespace, w.ID, w.Hostname, w.PID)
		}
	}
	return nil
}

// applyPlan writes a plan in one transaction, except for rows that have changed
// since they were read. It returns false if there are any: the caller then
// makes another plan.
func (s *Scheduler) applyPlan(ctx context.Context, plan *syncPlan) (bool, error) {
	if len(plan.inserts)+len(plan.updates) == 0 {
		return true, nil
	}
	var written []string
	err := s.transaction(ctx, func(ctx context.Context, st Store) error {
		inserted, err := st.InsertSchedules(ctx, plan.inserts)
		if err != nil {
			return err
		}
		updated, err := st.UpdateSchedules(ctx, plan.updates)
		if err != nil {
			return err
		}
		written = append(inserted, updated...)
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
	return len(written) == len(plan.inserts)+len(plan.updates), nil
}

// insert plans to store a definition that is not stored yet.
func (p *syncPlan) insert(d *definition) error {
	row := storage.ScheduleUpdate{Schedule: d.applyTo(storage.Schedule{Namespace: p.namespace, ID: d.ID, Enabled: d.EnabledByDefault})}
	if row.Enabled {
		if err := scheduleNext(&row, p.now, p.calendars); err != nil {
			return err
		}
	}
	p.inserts = append(p.inserts, row)
	p.events[d.ID] = []Event{{ScheduleID: d.ID, Kind: EventDefined, Detail: d.summary()}}
	return nil
}

// updateDefinition plans to update a stored schedule if its definition has
// changed, or if code declares it again. It settles the schedule only if the
// expression or the time zone has changed, or if it was removed (rule D4).
func (p *syncPlan) updateDefinition(row *storage.Schedule, d *definition) error {
	wasRemoved := !row.RemovedAt.IsZero()
	if row.DefinitionHash == d.hash && !wasRemoved {
		return nil
	}
	event := Event{ScheduleID: row.ID, Kind: EventChanged, Detail: describeChange(row, d)}
	if row.Cron == d.Cron && row.TimeZone == d.TimeZone && !wasRemoved {
		p.update(row, storage.ScheduleUpdate{Schedule: d.applyTo(*row), ReadHash: row.DefinitionHash}, event)
		return nil
	}
	update, skipped, err := settleRow(row, p.now, SkipChanged, ChangeOptions{}, p.calendars)
	if err != nil {
		return err
	}
	if wasRemoved {
		event.Kind, event.Detail = EventDefined, "declared again: "+d.summary()
	}
	update.Schedule = d.applyTo(update.Schedule)
	update.RemovedAt = time.Time{}
	if row.Enabled {
		if err := scheduleNext(&update, p.now, p.calendars); err != nil {
			return err
		}
	}
	p.update(row, update, append(skipped, event)...)
	return nil
}

// remove plans to settle a stored schedule and to mark it as removed.
func (p *syncPlan) remove(row *storage.Schedule) error {
	update, skipped, err := settleRow(row, p.now, SkipRemoved, ChangeOptions{}, p.calendars)
	if err != nil {
		return err
	}
	update.RemovedAt = p.now
	p.update(row, update, append(skipped, Event{ScheduleID: row.ID, Kind: EventRemoved})...)
	return nil
}

// update plans an update of a stored row, with its events, oldest first.
func (p *syncPlan) update(row *storage.Schedule, update storage.ScheduleUpdate, events ...Event) {
	p.oldNextRunAt[row.ID] = row.NextRunAt
	p.updates = append(p.updates, update)
	p.events[row.ID] = events
}

// applyTo returns a row with the columns that code owns set to the definition.
func (d *definition) applyTo(row storage.Schedule) storage.Schedule {
	row.Name, row.Description, row.Cron, row.TimeZone = d.Name, d.Description, d.Cron, d.TimeZone
	row.TargetKind, row.Target, row.Grace, row.DefinitionHash = d.Target.kind, d.Target.stored(), d.Grace, d.hash
	return row
}

// summary describes a definition in words, for events.
func (d *definition) summary() string {
	return d.Cron + " in " + d.TimeZone + ", " + d.Target.String()
}

// describeChange says in words the most important change that a definition
// makes in a row, for events.
func describeChange(row *storage.Schedule, d *definition) string {
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
