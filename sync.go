package hourbell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/storage"
)

// A sync writes in transactions of up to syncChunk schedules, each of which may
// take syncTimeout. An interrupted sync is continued by the next one.
const (
	syncChunk    = 1000
	syncTimeout  = 30 * time.Second
	syncLogEvery = 5 * time.Second
)

// errRemovesAll reports that a sync would remove every schedule (rule D6).
var errRemovesAll = errors.New("refusing to remove every schedule")

// Sync makes the stored schedules match the definitions. It inserts new
// schedules, updates what code owns of changed ones, and marks those that code
// no longer declares as removed. Removed schedules are deleted after 14 days,
// unless code declares them again. Sync does not change what operators own. If
// nothing has changed, it writes nothing.
//
// If the expression or the time zone of a schedule has changed, due slots are
// recorded as skipped. The schedule then continues with its first slot after
// now, and never fires for the past. If a definition has a FormerID, Sync may
// move the state of that schedule to it: see [Definition].
//
// Sync writes in several transactions, removals last. If it is interrupted, the
// next call continues.
//
// The newest active build owns the definitions: see Config.BuildTime. Once a
// newer build with other definitions is active, Sync logs that and writes
// nothing more.
//
// Sync returns an error instead of removing every schedule of the namespace
// while another worker is active. This protects two services that both use the
// default Config.Namespace. Other errors are [ErrNotMigrated],
// [ErrUnavailable], and [ErrBusy] if the rows keep changing.
func (s *Scheduler) Sync(ctx context.Context) error {
	if err := s.store.CheckMigrated(ctx); err != nil {
		return fmt.Errorf("hourbell: sync: %w", err)
	}
	if err := s.sync(ctx); err != nil {
		return fmt.Errorf("hourbell: sync: %w", err)
	}
	return nil
}

func (s *Scheduler) sync(ctx context.Context) error {
	if complete, err := s.isStored(ctx); err != nil || complete {
		return err
	}
	restored, err := s.syncChanged(ctx)
	if err != nil {
		return s.noteFailedSync(ctx, err)
	}
	s.noteMissing(restored, nil)
	return nil
}

// errRowsKeepChanging reports that a sync has given up.
var errRowsKeepChanging = fmt.Errorf("the rows keep changing: %w", ErrBusy)

// syncChanged syncs rows that differ from the definitions. It returns the ids
// of the declared schedules that were missing and that it has restored.
func (s *Scheduler) syncChanged(ctx context.Context) (restored []string, err error) {
	for range maxAttempts {
		done, err := s.trySync(ctx, &restored)
		if err != nil || done {
			return restored, err
		}
	}
	return nil, errRowsKeepChanging
}

// trySync returns false if rows have changed since they were read: the caller
// then tries again. It appends to restored.
func (s *Scheduler) trySync(ctx context.Context, restored *[]string) (done bool, err error) {
	changes, err := s.compare(ctx)
	if err != nil {
		return false, err
	}
	if s.skipForNewerBuild(ctx, changes.workers) {
		return true, nil
	}
	if err := s.refuseToRemoveAll(changes); err != nil {
		return false, err
	}
	done = true
	written, logged := 0, time.Now()
	for chunk := range slices.Chunk(changes.list, syncChunk) {
		ids, count, result, err := s.writeChunk(ctx, chunk)
		if err != nil {
			return false, err
		}
		if result == chunkOfNewerBuild {
			return true, nil
		}
		written += count
		*restored = append(*restored, s.reportRestored(ctx, chunk, ids)...)
		done = done && result == chunkDone
		if time.Since(logged) >= syncLogEvery {
			logged = time.Now()
			s.log.InfoContext(ctx, "hourbell: syncing definitions", "written", written, "of", len(changes.list))
		}
	}
	if written > 0 {
		s.log.InfoContext(ctx, "hourbell: definitions synced", "written", written, "declared", len(s.catalog.definitions))
	}
	if done {
		s.noteComplete()
	}
	return done, nil
}

// skipForNewerBuild reports, and logs, that a newer build owns the definitions
// (rule D7).
func (s *Scheduler) skipForNewerBuild(ctx context.Context, workers []Worker) bool {
	newer := s.newerBuild(workers)
	if newer == nil {
		return false
	}
	s.log.InfoContext(ctx, "hourbell: sync skipped, newer build is active",
		"worker", newer.ID, "version", newer.Version, "build_time", newer.BuildTime)
	return true
}

// refuseToRemoveAll returns an error if a sync would remove all schedules while
// another worker of the namespace is active (rule D6).
func (s *Scheduler) refuseToRemoveAll(changes *syncChanges) error {
	if !changes.noneInCommon {
		return nil
	}
	for _, w := range changes.workers {
		if w.ID != s.worker.ID && w.Active {
			return fmt.Errorf("%w of Namespace %q: this process declares none of them, and worker %s on %s (process %d) is active; "+
				"give each service its own Namespace", errRemovesAll, s.cfg.Namespace, w.ID, w.Hostname, w.PID)
		}
	}
	return nil
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
	changes, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.refuseToRemoveAll(changes); err != nil {
		return nil, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(now, changes.list)
	if err != nil {
		return nil, err
	}
	list := make([]PlannedChange, 0, len(changes.list))
	for _, row := range slices.Concat(plan.inserts, plan.updates, plan.retired) {
		events := plan.events[row.ID]
		if len(events) == 0 {
			continue // a renamed schedule, which the row with its new id stands for
		}
		last := events[len(events)-1] // earlier events record skipped slots
		list = append(list, PlannedChange{row.ID, last.Kind, last.Detail, plan.oldNextRunAt[row.ID], row.NextRunAt})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ScheduleID < list[j].ScheduleID })
	return list, nil
}

// syncChanges are the differences between the stored schedules and the
// definitions.
type syncChanges struct {
	list         []syncChange // ordered by id, removals last
	workers      []Worker
	noneInCommon bool // the list removes schedules, and none of the stored ones is declared here
}

// syncChange is a schedule that a sync inserts (without a row), updates (with
// both) or removes (without a definition).
type syncChange struct {
	row      *storage.Schedule
	declared *definition
	// related is the row from which the state is taken (rule D10); nil for
	// none. For an insert, it is the row of the former id. For a schedule that
	// code declares again, it is the row whose former id is this schedule, or
	// the row of the former id.
	related *storage.Schedule
	// settledThrough is the latest slot that is settled under another id of a
	// schedule that code declares again.
	settledThrough time.Time
	// formerID is the former id of an insert if no row has that id yet, or if
	// the row of the insert is missing. An older build may still store one.
	formerID string
	// removesRelated reports that the same transaction removes related, so that
	// no slot fires under both ids.
	removesRelated bool
	// missing describes the row of an insert that was stored before; nil if it
	// was not.
	missing *missingRow
	// isRenamedBack reports that an insert has an id under which a stored
	// schedule was declared before, as after a rollback.
	isRenamedBack bool
}

// compare compares the stored schedules with the definitions.
func (s *Scheduler) compare(ctx context.Context) (*syncChanges, error) {
	rows, err := s.store.Schedules(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return nil, err
	}
	changes := &syncChanges{workers: workers}
	stored := make(map[string]*storage.Schedule, len(rows))
	successors := map[string]*storage.Schedule{} // by former id
	settledThrough := map[string]time.Time{}     // of all successors, by former id
	for i := range rows {
		stored[rows[i].ID] = &rows[i]
		if former := rows[i].FormerID; former != "" {
			successors[former] = latestInUse(successors[former], &rows[i])
			settledThrough[former] = later(settledThrough[former], rows[i].SettledThrough)
		}
	}
	undeclared := func(id string) *storage.Schedule {
		if s.catalog.definitions[id] != nil {
			return nil
		}
		return stored[id]
	}
	moved := map[string]bool{} // rows whose state moves to another id
	for id, declared := range s.catalog.definitions {
		if former := undeclared(declared.FormerID); former != nil && stored[id] == nil {
			moved[former.ID] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.catalog.definitions)) {
		row, declared := stored[id], s.catalog.definitions[id]
		change := syncChange{row: row, declared: declared}
		switch {
		case row == nil:
			change.related = undeclared(declared.FormerID)
			if stored[declared.FormerID] == nil {
				change.formerID = declared.FormerID
			}
			change.isRenamedBack = successors[id] != nil
		case !row.RemovedAt.IsZero():
			change.settledThrough = settledThrough[id]
			former := undeclared(declared.FormerID)
			if former != nil {
				change.settledThrough = later(change.settledThrough, former.SettledThrough)
			}
			related := latestInUse(latestInUse(row, successors[id]), former)
			if related != row {
				change.related = related
				change.removesRelated = related.RemovedAt.IsZero() && undeclared(related.ID) != nil && !moved[related.ID]
				moved[related.ID] = moved[related.ID] || change.removesRelated
			}
		case declared.applyTo(*row) == *row:
			continue
		}
		changes.list = append(changes.list, change)
	}
	if err := s.findMissing(ctx, changes.list); err != nil {
		return nil, err
	}
	var removals []syncChange
	inCommon := false
	for i := range rows {
		row := &rows[i]
		switch declared := s.catalog.definitions[row.ID]; {
		case !row.RemovedAt.IsZero():
		case declared != nil || s.catalog.formerIDs[row.ID] != "" || s.catalog.definitions[row.FormerID] != nil:
			inCommon = true
		}
		if s.catalog.definitions[row.ID] == nil && row.RemovedAt.IsZero() && !moved[row.ID] {
			removals = append(removals, syncChange{row: row})
		}
	}
	changes.noneInCommon = len(removals) > 0 && !inCommon
	changes.list = append(changes.list, removals...)
	return changes, nil
}

// latestInUse returns the row that was in use last: the one that is not
// removed, or was removed later. Rows may be nil. If neither row is later, it
// returns a.
func latestInUse(a, b *storage.Schedule) *storage.Schedule {
	switch {
	case a == nil:
		return b
	case b == nil || a.RemovedAt.IsZero():
		return a
	case b.RemovedAt.IsZero() || b.RemovedAt.After(a.RemovedAt):
		return b
	}
	return a
}

// chunkResult is the result of writeChunk.
type chunkResult int

const (
	chunkDone         chunkResult = iota
	chunkPartial                  // some rows have changed since they were read, and were left out
	chunkOfNewerBuild             // a newer build has become active, and nothing was written (rule D7)
)

// errHalfMoved reports that a schedule was retired whose state could not be
// moved to another id.
var errHalfMoved = errors.New("the state of a schedule could not be moved")

// writeChunk writes some changes in one transaction, except for rows that have
// changed since they were read. It returns the ids of the rows that it has
// written, in order, and how many schedules they are.
func (s *Scheduler) writeChunk(ctx context.Context, chunk []syncChange) (ids []string, written int, result chunkResult, err error) {
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	plan, err := s.plan(now, chunk)
	if err != nil {
		return nil, 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err = s.store.Transaction(ctx, syncTimeout, func(st Store, _ *gorm.DB) error {
		result = chunkDone // discard that of an earlier attempt
		workers, err := st.Workers(ctx, deadAfter)
		if err != nil {
			return err
		}
		if s.skipForNewerBuild(ctx, workers) {
			result = chunkOfNewerBuild
			return nil
		}
		retired, err := st.UpdateSchedules(ctx, plan.retired)
		if err != nil {
			return err
		}
		waiting := plan.waitingFor(retired)
		updated, err := st.UpdateSchedules(ctx, without(plan.updates, waiting))
		if err != nil {
			return err
		}
		inserted, err := st.InsertSchedules(ctx, without(plan.inserts, waiting))
		if err != nil {
			return err
		}
		ids = slices.Concat(retired, updated, inserted)
		sort.Strings(ids)
		for _, former := range retired {
			if _, moved := slices.BinarySearch(ids, plan.movesTo[former]); !moved {
				return errHalfMoved
			}
		}
		if len(ids) < len(plan.retired)+len(plan.updates)+len(plan.inserts) {
			result = chunkPartial
		}
		events := make([]Event, 0, len(ids))
		for _, id := range ids {
			events = append(events, plan.events[id]...)
		}
		return st.InsertEvents(ctx, events)
	})
	switch {
	case errors.Is(err, errHalfMoved):
		return nil, 0, chunkPartial, nil
	case err != nil || result == chunkOfNewerBuild:
		return nil, 0, result, err
	}
	s.warnOfRemovals(ctx, chunk, ids)
	for _, id := range ids {
		if len(plan.events[id]) > 0 { // a renamed schedule has none
			written++
		}
	}
	return ids, written, result, nil
}

// warnOfRemovals names the enabled schedules that a chunk has removed.
func (s *Scheduler) warnOfRemovals(ctx context.Context, chunk []syncChange, written []string) {
	var removed []string
	for _, change := range chunk {
		if change.declared == nil && change.row.Enabled {
			if _, ok := slices.BinarySearch(written, change.row.ID); ok {
				removed = append(removed, change.row.ID)
			}
		}
	}
	if len(removed) > 0 {
		s.log.WarnContext(ctx, "hourbell: enabled schedules removed", "count", len(removed), "schedules", firstNames(removed))
	}
}

// firstNames returns up to ten names, for a log line.
func firstNames(names []string) []string { return names[:min(len(names), 10)] }

// syncPlan is what a sync writes.
type syncPlan struct {
	namespace    string
	now          time.Time                // the database time
	retired      []storage.ScheduleUpdate // rows whose state moves to another id; written first
	updates      []storage.ScheduleUpdate
	inserts      []storage.ScheduleUpdate
	movesTo      map[string]string    // the id that takes the state of each retired row
	events       map[string][]Event   // by schedule, oldest first
	oldNextRunAt map[string]time.Time // by updated schedule
	calendars    *calendars
}

// waitingFor returns the ids that cannot be written because the row whose state
// they take is not among those that were retired.
func (p *syncPlan) waitingFor(retired []string) map[string]bool {
	waiting := make(map[string]bool, len(p.movesTo))
	for _, id := range p.movesTo {
		waiting[id] = true
	}
	for _, former := range retired {
		delete(waiting, p.movesTo[former])
	}
	return waiting
}

// without returns the rows whose ids are not in a set.
func without(rows []storage.ScheduleUpdate, ids map[string]bool) []storage.ScheduleUpdate {
	if len(ids) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row storage.ScheduleUpdate) bool { return ids[row.ID] })
}

// plan computes what to write for some changes.
func (s *Scheduler) plan(now time.Time, changes []syncChange) (*syncPlan, error) {
	plan := &syncPlan{
		namespace: s.cfg.Namespace, now: now,
		movesTo: map[string]string{}, events: map[string][]Event{}, oldNextRunAt: map[string]time.Time{}, calendars: s.newCalendars(),
	}
	for _, change := range changes {
		var err error
		switch {
		case change.row == nil && change.related != nil:
			err = plan.rename(change.related, change.declared)
		case change.row == nil:
			err = plan.insert(change)
		case change.declared == nil:
			err = plan.remove(change.row)
		default:
			err = plan.updateDefinition(change)
		}
		if err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// insert plans to store a definition that is not stored. If its row is missing,
// the schedule is enabled or disabled as before.
func (p *syncPlan) insert(change syncChange) error {
	d := change.declared
	row := storage.ScheduleUpdate{Schedule: d.applyTo(storage.Schedule{
		Namespace: p.namespace, ID: d.ID, FormerID: change.formerID, Enabled: d.EnabledByDefault,
	})}
	detail := d.summary()
	if missing := change.missing; missing != nil {
		detail = "restored after its row was missing: " + detail
		if missing.changed {
			row.Enabled, row.EnabledNote = missing.enabled, missing.note
		}
	}
	if row.Enabled {
		if err := scheduleNext(&row, p.now, p.calendars); err != nil {
			return err
		}
	}
	p.inserts = append(p.inserts, row)
	p.events[d.ID] = []Event{{ScheduleID: d.ID, Kind: EventDefined, Detail: detail}}
	return nil
}

// rename plans to insert a schedule with the state of its former id. It also
// plans to retire the former schedule, without an event (rule D10). If the
// slots are the same, a due slot and an unfinished claim move too.
func (p *syncPlan) rename(former *storage.Schedule, d *definition) error {
	reason := d.settleReason(former)
	retired, events, err := settleRow(former, p.now, cmp.Or(reason, SkipChanged), ChangeOptions{}, p.calendars)
	if err != nil {
		return err
	}
	row := storage.ScheduleUpdate{Schedule: d.applyTo(storage.Schedule{
		Namespace: p.namespace, ID: d.ID, FormerID: former.ID, Enabled: former.Enabled, EnabledNote: former.EnabledNote,
		SettledThrough: retired.SettledThrough,
	})}
	switch {
	case !former.NextRunAt.IsZero() && reason == "":
		events = nil
		row.SettledThrough, retired.SettledThrough = former.SettledThrough, former.SettledThrough
		row.NextRunAt = former.NextRunAt
		if !former.UnfinishedSince.IsZero() { // UpdatedAt decides whether the claim is abandoned
			row.UnfinishedSince, row.UpdatedAt = former.UnfinishedSince, former.UpdatedAt
		}
		retired.Until = time.Time{} // the new row keeps the next slot, so no slot can be lost
	case former.Enabled:
		if err := scheduleNext(&row, p.now, p.calendars); err != nil {
			return err
		}
	}
	if retired.RemovedAt.IsZero() {
		retired.RemovedAt = p.now
	}
	p.retired, p.movesTo[former.ID] = append(p.retired, retired), d.ID
	p.oldNextRunAt[d.ID] = former.NextRunAt
	p.inserts = append(p.inserts, row)
	p.events[d.ID] = append(events, Event{ScheduleID: d.ID, Kind: EventDefined, Detail: "renamed from " + former.ID + ": " + d.summary()})
	return nil
}

// updateDefinition plans to update a stored schedule whose definition has
// changed, whose row was edited by hand, or that code declares again. It
// settles the schedule only if its slots have changed, or if it was removed
// (rule D4).
//
// If code declares the schedule again, it takes the state of the related row.
// After the rollback of a rename, that is the state that operators have changed
// last (rule D10).
func (p *syncPlan) updateDefinition(change syncChange) error {
	row, d := change.row, change.declared
	wasRemoved := !row.RemovedAt.IsZero()
	event := Event{ScheduleID: row.ID, Kind: EventChanged, Detail: describeChange(row, d)}
	reason := d.settleReason(row)
	if reason == "" && !wasRemoved {
		p.update(row, storage.ScheduleUpdate{Schedule: d.applyTo(*row), ReadHash: row.DefinitionHash}, event)
		return nil
	}
	update, skipped, err := settleRow(row, p.now, cmp.Or(reason, SkipChanged), ChangeOptions{}, p.calendars)
	if err != nil {
		return err
	}
	if wasRemoved {
		event.Kind, event.Detail = EventDefined, "declared again: "+d.summary()
	}
	update.Schedule = d.applyTo(update.Schedule)
	update.RemovedAt = time.Time{}
	update.SettledThrough = later(update.SettledThrough, change.settledThrough)
	if related := change.related; related != nil {
		update.Enabled, update.EnabledNote = related.Enabled, related.EnabledNote
		if change.removesRelated {
			removal, removalEvents, err := p.removal(related)
			if err != nil {
				return err
			}
			p.retired, p.movesTo[related.ID] = append(p.retired, removal), row.ID
			p.events[related.ID], p.oldNextRunAt[related.ID] = removalEvents, related.NextRunAt
			update.SettledThrough = later(update.SettledThrough, removal.SettledThrough)
		}
	}
	if update.Enabled {
		if err := scheduleNext(&update, p.now, p.calendars); err != nil {
			return err
		}
	}
	p.update(row, update, append(skipped, event)...)
	return nil
}

// remove plans to settle a stored schedule and to mark it as removed.
func (p *syncPlan) remove(row *storage.Schedule) error {
	update, events, err := p.removal(row)
	if err != nil {
		return err
	}
	p.update(row, update, events...)
	return nil
}

// removal returns the update that removes a stored schedule, and its events.
func (p *syncPlan) removal(row *storage.Schedule) (storage.ScheduleUpdate, []Event, error) {
	update, skipped, err := settleRow(row, p.now, SkipRemoved, ChangeOptions{}, p.calendars)
	update.RemovedAt = p.now
	return update, append(skipped, Event{ScheduleID: row.ID, Kind: EventRemoved}), err
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
	row.ZoneRules, row.Manual = d.zoneRules, d.Manual
	row.TargetKind, row.Target, row.Grace, row.DefinitionHash = d.Target.kind, d.Target.stored(), d.Grace, d.hash
	return row
}

// settleReason returns the reason for which a sync settles a row, or "" if the
// row has the slots of the definition (rule D4).
//
// If the hash is equal, replicas fire the row by this definition. Other columns
// differ only because they were edited by hand.
func (d *definition) settleReason(row *storage.Schedule) SkipReason {
	switch {
	case row.DefinitionHash == d.hash:
		return ""
	case row.Cron != d.Cron || row.TimeZone != d.TimeZone || row.Manual != d.Manual:
		return SkipChanged
	case row.ZoneRules != "" && row.ZoneRules != d.zoneRules:
		return SkipRulesChanged
	}
	return ""
}

// summary describes a definition in words, for events.
func (d *definition) summary() string {
	return describeSlots(d.Cron, d.TimeZone, d.Manual) + ", " + d.Target.String()
}

// describeSlots describes when a schedule is due, for events.
func describeSlots(cronExpression, timeZone string, manual bool) string {
	if manual {
		return "manual"
	}
	return cronExpression + " in " + timeZone
}

// describeChange says in words the most important change that a definition
// makes in a row, for events.
func describeChange(row *storage.Schedule, d *definition) string {
	if row.DefinitionHash == d.hash {
		return "columns edited by hand are written back: " + strings.Join(d.differences(row), ", ")
	}
	before, after := describeSlots(row.Cron, row.TimeZone, row.Manual), describeSlots(d.Cron, d.TimeZone, d.Manual)
	switch {
	case before != after:
		return "from " + before + " to " + after
	case d.settleReason(row) == SkipRulesChanged:
		return "the rules of time zone " + d.TimeZone + " have changed"
	}
	if row.ZoneRules == "" && d.zoneRules != "" {
		return "the rules of time zone " + d.TimeZone + " are recorded"
	}
	if row.TargetKind != d.Target.kind || row.Target != d.Target.stored() {
		return "target is now " + d.Target.String()
	}
	if row.Grace != d.Grace {
		return fmt.Sprintf("grace from %v to %v", row.Grace, d.Grace)
	}
	return "name, description, or the jobs of the target"
}

// differences lists the columns that code owns and in which a row differs from
// the definition, with the stored value.
func (d *definition) differences(row *storage.Schedule) []string {
	var list []string
	add := func(column, stored, declared string) {
		if stored != declared {
			list = append(list, fmt.Sprintf("%s was %.100q", column, stored))
		}
	}
	want := d.applyTo(*row)
	add("name", row.Name, want.Name)
	add("description", row.Description, want.Description)
	add("cron", row.Cron, want.Cron)
	add("time_zone", row.TimeZone, want.TimeZone)
	add("zone_rules", row.ZoneRules, want.ZoneRules)
	add("manual", strconv.FormatBool(row.Manual), strconv.FormatBool(want.Manual))
	add("target_kind", row.TargetKind, want.TargetKind)
	add("target", row.Target, want.Target)
	add("grace", row.Grace.String(), want.Grace.String())
	return list
}
