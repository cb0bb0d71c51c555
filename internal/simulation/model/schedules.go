package model

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// Bind implements [hourbell.Store]. The clock stays that of the Database.
func (s *Session) Bind(string, func() time.Time) (hourbell.Store, error) { return s, nil }

// CheckMigrated implements [hourbell.Store].
func (s *Session) CheckMigrated(context.Context) error { return nil }

// SingleWriter implements [hourbell.Store].
func (s *Session) SingleWriter() bool { return false }

// Now implements [hourbell.Store].
func (s *Session) Now(context.Context) (time.Time, error) {
	s.readAt = s.db.Now
	return s.db.Now, nil
}

// Schedules implements [hourbell.Store].
func (s *Session) Schedules(_ context.Context, ids ...string) (rows []storage.Schedule, err error) {
	return rows, s.statement(func(tx *transaction) error {
		for _, id := range tx.ids() {
			if len(ids) == 0 || slices.Contains(ids, id) {
				row, _ := tx.read(id)
				row.ReadAt = s.db.Now
				rows = append(rows, row)
			}
		}
		return nil
	})
}

// Stored implements [hourbell.Store].
func (s *Session) Stored(ctx context.Context) (stored storage.Stored, err error) {
	rows, err := s.Schedules(ctx)
	for i := range rows {
		if rows[i].RemovedAt.IsZero() {
			stored.Add(&rows[i])
		}
	}
	return stored, err
}

// expired reports whether the clock has reached the time from which an update
// no longer applies.
func (s *Session) expired(u storage.ScheduleUpdate, now time.Time) bool {
	return !s.db.Omit.CompareAndSet && !u.Until.IsZero() && !u.Until.After(now)
}

// InsertSchedules implements [hourbell.Store]. It reads the clock first. Then
// it waits for open transactions that insert the same ids.
func (s *Session) InsertSchedules(_ context.Context, updates []storage.ScheduleUpdate) (ids []string, err error) {
	updates = slices.Clone(updates)
	sort.Slice(updates, func(i, j int) bool { return updates[i].ID < updates[j].ID })
	now := s.db.Now
	return ids, s.statement(func(tx *transaction) error {
		for _, u := range updates {
			if s.expired(u, now) {
				continue
			}
			err := s.waitWhile(tx, func() bool {
				existing := s.db.schedules[u.ID]
				return existing != nil && !existing.committed && existing.owner != tx
			})
			if err != nil {
				return err
			}
			if s.db.schedules[u.ID] != nil {
				continue
			}
			added := withDefinition(storage.Schedule{Namespace: u.Namespace, ID: u.ID, CreatedAt: now, UpdatedAt: now}, u.Schedule)
			added.Enabled, added.EnabledNote, added.NextRunAt, added.SettledThrough = u.Enabled, u.EnabledNote, u.NextRunAt, u.SettledThrough
			added.FormerID, added.UnfinishedSince = u.FormerID, u.UnfinishedSince
			if !u.UpdatedAt.IsZero() {
				added.UpdatedAt = u.UpdatedAt
			}
			s.db.schedules[u.ID] = &row{owner: tx}
			tx.write("insert-schedules", "", now, storage.Schedule{}, added)
			ids = append(ids, u.ID)
		}
		return nil
	})
}

// withDefinition returns row with the columns that code owns taken from
// definition.
func withDefinition(row, definition storage.Schedule) storage.Schedule {
	row.Name, row.Description, row.Cron, row.TimeZone = definition.Name, definition.Description, definition.Cron, definition.TimeZone
	row.ZoneRules, row.Manual = definition.ZoneRules, definition.Manual
	row.TargetKind, row.Target, row.Grace, row.DefinitionHash = definition.TargetKind, definition.Target, definition.Grace, definition.DefinitionHash
	return row
}

// UpdateSchedules implements [hourbell.Store]. It locks the rows first. Then it
// reads the clock.
func (s *Session) UpdateSchedules(_ context.Context, updates []storage.ScheduleUpdate) (ids []string, err error) {
	return ids, s.statement(func(tx *transaction) error {
		byID := make(map[string]storage.ScheduleUpdate, len(updates))
		wanted := make([]string, len(updates))
		for i, u := range updates {
			byID[u.ID], wanted[i] = u, u.ID
		}
		unchanged := func(row storage.Schedule) bool {
			u := byID[row.ID]
			return row.Version == u.Version && row.DefinitionHash == u.ReadHash || s.db.Omit.CompareAndSet
		}
		if err := s.lockRows(tx, wanted, unchanged); err != nil {
			return err
		}
		for _, id := range tx.ids() {
			before, _ := tx.read(id)
			u, found := byID[id]
			if !found || !unchanged(before) || s.expired(u, s.db.Now) {
				continue
			}
			tx.write("update-schedules", "", s.db.Now, before, s.updated(before, u))
			ids = append(ids, id)
		}
		return nil
	})
}

// updated returns the row that an update writes over before.
func (s *Session) updated(before storage.Schedule, u storage.ScheduleUpdate) storage.Schedule {
	after := withDefinition(before, u.Schedule)
	if !u.Settles {
		if u.DefinitionHash == u.ReadHash {
			after.Version++
		}
		return after
	}
	after.Enabled, after.EnabledNote, after.NextRunAt, after.SettledThrough, after.RemovedAt = u.Enabled, u.EnabledNote, u.NextRunAt, u.SettledThrough, u.RemovedAt
	if s.db.Omit.Settling {
		return after
	}
	after.LockedAt, after.LockedBy, after.UnfinishedSince, after.RetryAt = time.Time{}, "", time.Time{}, time.Time{}
	after.ConsecutiveFailures, after.LastError, after.UpdatedAt = 0, "", s.db.Now
	after.Version++
	return after
}

// EditNextRun sets the next run of an enabled schedule, as a user of the
// database can. It returns false if the schedule is not enabled, or if a
// transaction has locked its row.
func (db *Database) EditNextRun(id string, nextRunAt time.Time, incrementsVersion bool) bool {
	before, found := db.Schedule(id)
	if !found || !before.Enabled || !before.RemovedAt.IsZero() || before.NextRunAt.IsZero() || db.schedules[id].owner != nil {
		return false
	}
	after := before
	after.NextRunAt = nextRunAt
	if incrementsVersion {
		after.Version++
	}
	err := db.Session(nil).statement(func(tx *transaction) error {
		tx.write("edit", "", db.Now, before, after)
		return nil
	})
	return err == nil
}
