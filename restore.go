package hourbell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hourbell/hourbell/internal/timing"
)

// Missing schedules
//
// A declared schedule can be missing from the table: a backup without it was
// restored, its row was deleted by hand, or row-level security hides it. Once a
// minute, each process compares a digest of the stored definitions with its
// own. If they differ and no newer build is active, it syncs. The sync also
// writes back columns that were edited by hand.

// checkRegularly compares the stored schedules with the definitions until ctx
// ends.
func (s *Scheduler) checkRegularly(ctx context.Context) {
	for {
		timing.Sleep(ctx, timing.Jitter(timing.CheckEvery))
		if ctx.Err() != nil {
			return
		}
		if err := s.checkStored(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "hourbell: checking the stored schedules failed", "error", err, "retry", timing.CheckEvery)
		}
	}
}

// checkStored syncs if the stored schedules differ from the definitions.
func (s *Scheduler) checkStored(ctx context.Context) error {
	if !s.isSynced() {
		return nil // the first sync is still to come
	}
	if complete, err := s.isStored(ctx); err != nil || complete {
		return err
	}
	return s.resync(ctx)
}

// isStored reports whether the stored definitions are those of this process.
func (s *Scheduler) isStored(ctx context.Context) (bool, error) {
	stored, err := s.store.Stored(ctx)
	if err != nil || stored != s.catalog.wantStored {
		return false, err
	}
	s.noteComplete()
	s.noteMissing(nil, nil)
	return true, nil
}

// missingRow describes a row that was stored before and is missing.
type missingRow struct {
	changed bool // an operator has enabled or disabled the schedule
	enabled bool
	note    string // of that change
}

// findMissing marks the inserts whose rows were stored before. A row was stored
// if the schedule has events, or if this process has seen every declared
// schedule stored.
func (s *Scheduler) findMissing(ctx context.Context, changes []syncChange) error {
	inserts := map[string]*syncChange{}
	var ids []string
	for i := range changes {
		if change := &changes[i]; change.row == nil && !change.isRenamedBack {
			inserts[change.declared.ID] = change
			ids = append(ids, change.declared.ID)
			if former := change.declared.FormerID; former != "" {
				ids = append(ids, former)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if !s.wasComplete() {
		// At the first start of all, nothing has events.
		if events, err := s.store.Events(ctx, EventQuery{Limit: 1}); err != nil || len(events) == 0 {
			return err
		}
	}
	latest := map[string]Event{}   // of all four kinds
	switched := map[string]Event{} // ENABLED or DISABLED
	for chunk := range slices.Chunk(ids, syncChunk) {
		events, err := s.store.LatestEvents(ctx, chunk, []EventKind{EventDefined, EventEnabled, EventDisabled, EventRemoved})
		if err != nil {
			return err
		}
		for _, event := range events {
			if event.ID > latest[event.ScheduleID].ID {
				latest[event.ScheduleID] = event
			}
			if (event.Kind == EventEnabled || event.Kind == EventDisabled) && event.ID > switched[event.ScheduleID].ID {
				switched[event.ScheduleID] = event
			}
		}
	}
	wasComplete := s.wasComplete()
	for id, change := range inserts {
		last, known := latest[id]
		isRename := change.related != nil && (!known || change.related.RemovedAt.IsZero())
		if isRename || !known && !wasComplete || last.Kind == EventRemoved { // new, or deleted after its removal
			continue
		}
		event, changed := switched[id]
		if former := change.declared.FormerID; !changed && former != "" {
			event, changed = switched[former]
		}
		change.missing = &missingRow{changed: changed, enabled: event.Kind == EventEnabled, note: event.Note}
		change.related, change.formerID = nil, change.declared.FormerID
	}
	return nil
}

// reportRestored logs which missing schedules a chunk has restored, and returns
// their ids. written is in order.
func (s *Scheduler) reportRestored(ctx context.Context, chunk []syncChange, written []string) []string {
	var restored []string
	for _, change := range chunk {
		if change.missing != nil {
			if _, ok := slices.BinarySearch(written, change.declared.ID); ok {
				restored = append(restored, change.declared.ID)
			}
		}
	}
	if len(restored) > 0 {
		s.log.ErrorContext(ctx, "hourbell: missing schedules restored", "count", len(restored), "schedules", firstNames(restored))
	}
	return restored
}

// errNoEffect reports that the database accepted inserts, and that the rows are
// not there.
var errNoEffect = errors.New("inserting them had no effect: check the table for a row-level security policy or a trigger")

// noteFailedSync records which declared schedules a failed sync has left
// missing, and returns the sync's error, or a clearer one.
func (s *Scheduler) noteFailedSync(ctx context.Context, syncErr error) error {
	if !s.wasComplete() && !errors.Is(syncErr, errRowsKeepChanging) {
		return syncErr // the schedules are still to be stored
	}
	rows, err := s.store.Schedules(ctx)
	if err != nil {
		return syncErr
	}
	missing := s.catalog.missingFrom(rows)
	if len(missing) > 0 && errors.Is(syncErr, errRowsKeepChanging) {
		syncErr = fmt.Errorf("declared schedules are missing (%d: %s): %w (%w)",
			len(missing), strings.Join(firstNames(missing), ", "), errNoEffect, syncErr)
	}
	if s.wasComplete() || errors.Is(syncErr, errNoEffect) {
		s.noteMissing(missing, syncErr)
	}
	return syncErr
}

// noteMissing records the declared schedules that the last comparison found
// missing, and the error of the attempt to restore them. The error is nil if
// the attempt succeeded.
func (s *Scheduler) noteMissing(ids []string, err error) {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.missing, s.process.missingError = ids, ""
	switch {
	case err == nil || len(ids) == 0:
	case errors.Is(err, errNoEffect): // the rest of the text names the schedules
		s.process.missingError = errNoEffect.Error()
	case errors.As(err, new(*DefinitionError)), errors.Is(err, errRemovesAll): // names other schedules or processes
		s.process.missingError = "the sync fails: see the log"
	default:
		s.process.missingError = strings.TrimPrefix(err.Error(), "hourbell: ")
	}
}

// noteComplete records that every declared schedule is stored.
func (s *Scheduler) noteComplete() {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.wasComplete = true
}

// wasComplete reports whether every declared schedule was stored at some time
// since this process started.
func (s *Scheduler) wasComplete() bool {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	return s.process.wasComplete
}
