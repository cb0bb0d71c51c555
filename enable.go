package hourbell

import (
	"context"
	"fmt"
)

// Enable lets a schedule fire, from the first slot after now on. It does nothing on an enabled schedule.
func (s *Scheduler) Enable(ctx context.Context, id string, by By) error {
	return s.setEnabled(ctx, id, true, by)
}

// Disable stops a schedule: slots due that have not fired are recorded as skipped, and once the call has returned
// nothing fires, whatever was under way. It does nothing on a disabled schedule.
func (s *Scheduler) Disable(ctx context.Context, id string, by By) error {
	return s.setEnabled(ctx, id, false, by)
}

func (s *Scheduler) setEnabled(ctx context.Context, id string, enabled bool, by By) error {
	for range attempts {
		done, err := s.trySetEnabled(ctx, id, enabled, by)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("hourbell: schedule %q: %w", id, ErrBusy)
}

// trySetEnabled says whether the row was still as it had been read.
func (s *Scheduler) trySetEnabled(ctx context.Context, id string, enabled bool, by By) (bool, error) {
	now, err := s.store.Now(ctx)
	if err != nil {
		return false, err
	}
	row, err := s.Schedule(ctx, id)
	if err != nil {
		return false, err
	}
	if err := by.unchanged(row); err != nil {
		return false, err
	}
	if row.Enabled == enabled {
		return true, nil
	}
	revision, events, err := retire(row, now, skipDisabled, by, map[[2]string]*calendar{})
	if err != nil {
		return false, fmt.Errorf("hourbell: %w", err)
	}
	revision.Enabled, revision.EnabledNote = enabled, by.Note
	if enabled && row.RemovedAt.IsZero() {
		slots, err := row.slots()
		if err != nil {
			return false, fmt.Errorf("cannot be enabled: %w", err)
		}
		if err := revision.resume(now, newCalendar(slots)); err != nil {
			return false, fmt.Errorf("hourbell: %w", err)
		}
	}
	kind := eventDisabled
	if enabled {
		kind = eventEnabled
	}
	events = append(events, Event{ScheduleID: id, Kind: kind, Actor: by.Actor, Note: by.Note})
	applied := false
	err = s.transaction(ctx, func(ctx context.Context, st Store) error {
		written, err := st.Revise(ctx, []Revision{revision})
		if applied = len(written) == 1; err != nil || !applied {
			return err
		}
		return st.InsertEvents(ctx, events)
	})
	if err != nil {
		return false, fmt.Errorf("hourbell: schedule %q: %w", id, err)
	}
	return applied, nil
}
