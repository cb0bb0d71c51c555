package hourbell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/storage"
)

// maxAttempts is how often a write is tried whose row keeps changing between
// the read and the write.
const maxAttempts = 10

// Enable enables a schedule, which then fires from its first slot after now. On
// an enabled schedule, Enable does nothing.
//
// Enable returns [ErrUnknownSchedule] if the schedule is not stored,
// [ErrRemoved] if code no longer declares it, [ErrChanged] if it does not match
// options.IfMatch, and [ErrBusy] if its row keeps changing.
func (s *Scheduler) Enable(ctx context.Context, id string, options ChangeOptions) error {
	return s.setEnabled(ctx, id, true, options)
}

// Disable disables a schedule. Slots that are due and have not fired are
// recorded as skipped. After Disable has returned, no slot fires, even if a
// fire was in progress. On a disabled schedule, Disable does nothing.
//
// Disable returns [ErrUnknownSchedule] if the schedule is not stored,
// [ErrRemoved] if code no longer declares it, [ErrChanged] if it does not match
// options.IfMatch, and [ErrBusy] if its row keeps changing.
func (s *Scheduler) Disable(ctx context.Context, id string, options ChangeOptions) error {
	return s.setEnabled(ctx, id, false, options)
}

func (s *Scheduler) setEnabled(ctx context.Context, id string, enabled bool, options ChangeOptions) error {
	for range maxAttempts {
		done, err := s.trySetEnabled(ctx, id, enabled, options)
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("hourbell: schedule %q: %w", id, ErrBusy)
}

// trySetEnabled returns false if the row has changed since it was read.
func (s *Scheduler) trySetEnabled(ctx context.Context, id string, enabled bool, options ChangeOptions) (bool, error) {
	now, err := s.store.Now(ctx)
	if err != nil {
		return false, fmt.Errorf("hourbell: schedule %q: %w", id, err)
	}
	row, err := s.readRow(ctx, s.store, id)
	if err != nil {
		return false, err
	}
	if err := cmp.Or(checkNotRemoved(row), checkMatch(row, options.IfMatch)); err != nil {
		return false, fmt.Errorf("hourbell: %w", err)
	}
	if row.Enabled == enabled {
		return true, nil
	}
	corrections := s.catalog.correct(row)
	calendars := s.newCalendars()
	update, events, err := settleRow(row, now, SkipDisabled, options, calendars)
	if err != nil {
		return false, fmt.Errorf("hourbell: %w", err)
	}
	events = append(events, corrections...)
	update.Enabled, update.EnabledNote = enabled, options.Note
	kind := EventDisabled
	if enabled {
		kind = EventEnabled
		if err := scheduleNext(&update, now, calendars); err != nil {
			return false, err
		}
	}
	events = append(events, Event{ScheduleID: id, Kind: kind, Actor: options.Actor, Note: options.Note})
	applied := false
	err = s.transaction(ctx, func(ctx context.Context, st Store) error {
		updated, err := st.UpdateSchedules(ctx, []storage.ScheduleUpdate{update})
		if applied = len(updated) == 1; err != nil || !applied {
			return err
		}
		return st.InsertEvents(ctx, events)
	})
	if err != nil {
		return false, fmt.Errorf("hourbell: schedule %q: %w", id, err)
	}
	return applied, nil
}

// Unlock clears a schedule's lock, so that any replica may claim the schedule
// at once. A fire that is in progress under the lock is refused. On an unlocked
// schedule without options.IfMatch, Unlock does nothing.
//
// Unlock returns [ErrUnknownSchedule] if the schedule is not stored, and
// [ErrChanged] if options.IfMatch is set and is not the holder of the lock.
func (s *Scheduler) Unlock(ctx context.Context, id string, options ChangeOptions) error {
	if _, err := s.readRow(ctx, s.store, id); err != nil {
		return err
	}
	err := s.transaction(ctx, func(ctx context.Context, st Store) error {
		holder, err := st.Unlock(ctx, id)
		switch {
		case err != nil:
			return err
		case options.IfMatch != "" && options.IfMatch != holder:
			return fmt.Errorf("worker %q no longer holds the lock: %w", options.IfMatch, ErrChanged)
		case holder == "":
			return nil
		}
		return st.InsertEvents(ctx, []Event{{
			ScheduleID: id, Kind: EventUnlocked, Actor: options.Actor, Note: options.Note, Detail: "held by worker " + holder,
		}})
	})
	if err != nil {
		return fmt.Errorf("hourbell: schedule %q: %w", id, err)
	}
	return nil
}

// readRow reads a schedule's row. It returns ErrUnknownSchedule if there is
// none.
func (s *Scheduler) readRow(ctx context.Context, st Store, id string) (*storage.Schedule, error) {
	rows, err := st.Schedules(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("hourbell: schedule %q: %w", id, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("hourbell: %w: %q", ErrUnknownSchedule, id)
	}
	return &rows[0], nil
}

// checkNotRemoved returns ErrRemoved if code no longer declares a schedule.
func checkNotRemoved(row *storage.Schedule) error {
	if row.RemovedAt.IsZero() {
		return nil
	}
	return fmt.Errorf("schedule %q: %w", row.ID, ErrRemoved)
}

// etag returns a hash of what code and operators set on a schedule.
func etag(row *storage.Schedule) string {
	return hashOf([]any{row.Enabled, row.EnabledNote, row.DefinitionHash, row.RemovedAt})
}

// checkMatch returns ErrChanged unless a schedule's ETag is the expected one.
func checkMatch(row *storage.Schedule, ifMatch string) error {
	if ifMatch != "" && ifMatch != etag(row) {
		return fmt.Errorf("schedule %q: %w", row.ID, ErrChanged)
	}
	return nil
}

// settleRow returns the update and the events that settle a row (rule M5). They
// record the slots that are due and not settled as skipped, and plan no next
// slot. The update applies only until the next slot comes due, because that
// slot would have to be recorded too.
func settleRow(row *storage.Schedule, now time.Time, reason SkipReason, options ChangeOptions, calendars *calendars) (storage.ScheduleUpdate, []Event, error) {
	update := storage.ScheduleUpdate{Schedule: *row, ReadHash: row.DefinitionHash, Settles: true}
	update.NextRunAt = time.Time{}
	if row.NextRunAt.IsZero() || row.Manual {
		return update, nil, nil
	}
	slots, err := calendars.get(row.Cron, row.TimeZone)
	if err != nil {
		// This build cannot parse the stored expression. NextRunAt is the only
		// slot that it knows.
		if row.NextRunAt.After(now) {
			update.Until = row.NextRunAt
			return update, nil, nil
		}
		update.SettledThrough = later(row.SettledThrough, row.NextRunAt)
		skipped := skip{reason: reason, from: row.NextRunAt, to: row.NextRunAt, count: 1, atLeast: true}
		return update, []Event{skipped.event(row.ID, options)}, nil
	}
	first, err := firstUnsettled(row, reason, slots)
	if err != nil {
		return update, nil, fmt.Errorf("schedule %q: %w", row.ID, err)
	}
	skipped, err := unsettledSlots(first, now, reason, slots)
	if err != nil {
		return update, nil, fmt.Errorf("schedule %q: %w", row.ID, err)
	}
	if skipped == nil {
		update.Until = first
		return update, nil, nil
	}
	update.SettledThrough = skipped.to
	if update.Until, err = slots.next(now); err != nil && !errors.Is(err, cron.ErrNever) {
		return update, nil, fmt.Errorf("schedule %q: %w", row.ID, err)
	}
	return update, []Event{skipped.event(row.ID, options)}, nil
}

// scheduleNext plans the first slot after now, and after the last settled slot
// if that is later, because the clock was stepped back (rule D4). It also sets
// SettledThrough to that time: slots up to it are never recorded.
func scheduleNext(update *storage.ScheduleUpdate, now time.Time, calendars *calendars) error {
	slots, err := calendars.get(update.Cron, update.TimeZone)
	if err != nil {
		return invalidSlots(update.ID, update.Cron, update.TimeZone)
	}
	if slots.isManual {
		return nil
	}
	update.SettledThrough = later(now, update.SettledThrough)
	next, err := slots.next(update.SettledThrough)
	switch {
	case err != nil:
		return &DefinitionError{ID: update.ID, Field: "cron", Err: err}
	case hasOtherRules(&update.Schedule, slots):
		// This process cannot compute the row's slots, because its zone rules
		// differ. It plans a time that the process which claims the row
		// replaces by a slot. Until then, the update must have been written.
		next = update.SettledThrough.Truncate(time.Second).Add(5 * time.Second)
	}
	update.NextRunAt = next
	if update.Until.IsZero() || next.Before(update.Until) {
		update.Until = next
	}
	return nil
}

// invalidSlots returns the error of a stored expression or time zone that this
// process cannot parse. It names the field.
func invalidSlots(id, cronExpression, timeZone string) error {
	_, err := Definition{ID: id, Cron: cronExpression, TimeZone: timeZone}.slots()
	return err
}
