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
// restored, its row was deleted by hand, or row-level security hides it. Each
// process compares the table with its definitions once a minute, in one
// statement that reads no rows. If they differ, and no newer build is active,
// it syncs. That also corrects rows that were edited by hand.

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
	stored, err := s.store.Stored(ctx)
	if err != nil {
		return err
	}
	if stored == s.catalog.stored {
		s.noteComplete()
		s.noteMissing(nil, nil)
		return nil
	}
	return s.resync(ctx)
}

// missingRow describes a row that was stored before and is missing.
type missingRow struct {
	changed bool // an operator has enabled or disabled the schedule
	enabled bool
	note    string // of that change
}

// findMissing finds out which of the schedules to insert were stored before.
// The events show it. So does an earlier sync of this process.
func (s *Scheduler) findMissing(ctx context.Context, changes []syncChange) error {
	inserts := map[string]*syncChange{}
	var ids []string
	for i := range changes {
		if change := &changes[i]; change.row == nil && change.related == nil {
			inserts[change.declared.ID] = change
			ids = append(ids, change.declared.ID)
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
		if !known && !wasComplete || last.Kind == EventRemoved { // new, or deleted after its removal
			continue
		}
		event, changed := switched[id]
		change.missing = &missingRow{changed: changed, enabled: event.Kind == EventEnabled, note: event.Note}
	}
	return nil
}

// reportRestored logs which missing schedules a chunk has restored, and returns
// their ids.
func (s *Scheduler) reportRestored(ctx context.Context, chunk []syncChange, written []string) []string {
	isWritten := make(map[string]bool, len(written))
	for _, id := range written {
		isWritten[id] = true
	}
	var restored []string
	for _, change := range chunk {
		if change.missing != nil && isWritten[change.declared.ID] {
			restored = append(restored, change.declared.ID)
		}
	}
	if len(restored) > 0 {
		s.log.ErrorContext(ctx, "hourbell: declared schedules were missing, restored", "count", len(restored), "schedules", firstNames(restored))
	}
	return restored
}

// errNoEffect reports that the database accepted inserts and stored no rows.
var errNoEffect = errors.New("inserting them had no effect: a row-level security policy hides their rows, or a trigger drops them")

// noteFailedSync records which declared schedules a failed sync has left
// missing, and returns the sync's error, or a clearer one.
func (s *Scheduler) noteFailedSync(ctx context.Context, syncErr error) error {
	rows, err := s.store.Schedules(ctx)
	if err != nil {
		return syncErr
	}
	missing := s.catalog.missingFrom(rows)
	if len(missing) > 0 && errors.Is(syncErr, errRowsKeepChanging) {
		syncErr = fmt.Errorf("%d declared schedules are missing (%s): %w", len(missing), strings.Join(firstNames(missing), ", "), errNoEffect)
	}
	s.noteMissing(missing, syncErr)
	return syncErr
}

// maxMissing is how many missing schedules health names at most.
const maxMissing = 100

// noteMissing records the declared schedules that the last comparison has found
// missing, and why they could not be restored. A nil error means that they
// were.
func (s *Scheduler) noteMissing(ids []string, err error) {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.missing, s.process.missingError = ids[:min(len(ids), maxMissing)], ""
	switch {
	case err == nil || len(ids) == 0:
	case errors.Is(err, errNoEffect): // the rest of the text names the schedules
		s.process.missingError = errNoEffect.Error()
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
