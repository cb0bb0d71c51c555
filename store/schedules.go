package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

var (
	// By the primary key.
	selectSchedules     = prepare(`SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE namespace = @namespace ORDER BY id`)
	selectSchedulesByID = prepare(`SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE namespace = @namespace AND id IN {list @ids} ORDER BY id`)
)

// Schedules implements [hourbell.Store].
func (s *Store) Schedules(ctx context.Context, ids ...string) (list []hourbell.Schedule, err error) {
	if len(ids) == 0 {
		return list, s.query(ctx, selectSchedules, nil, collect(&list, scheduleFields))
	}
	cleaned := make([]string, len(ids))
	for i, id := range ids {
		cleaned[i] = clean(id)
	}
	return list, s.query(ctx, selectSchedulesByID, values{"ids": cleaned}, collect(&list, scheduleFields))
}

// In one row: ten thousand rows take longer to hand over than to read.
var selectHashes = prepare(`SELECT {lines definition_hash} FROM hourbell_schedules WHERE namespace = @namespace AND removed_at IS NULL`)

// DefinitionHashes implements [hourbell.Store].
func (s *Store) DefinitionHashes(ctx context.Context) ([]string, error) {
	var lines string
	err := s.query(ctx, selectHashes, nil, func(rows *sql.Rows) error { return rows.Scan(toText(&lines)) })
	if lines == "" {
		return nil, err
	}
	return strings.Split(lines, "\n"), err
}

// declared are the columns of a schedule that is added or written over.
const declared = `id:text name:text description:text cron:text time_zone:text target_kind:text target:text
	grace:bigint hash:text enabled:boolean next:timestamptz until:timestamptz`

func declaredOf(rows []hourbell.Revision) batch {
	return batch{
		col("id", rows, func(r *hourbell.Revision) string { return r.ID }),
		col("name", rows, func(r *hourbell.Revision) string { return r.Name }),
		col("description", rows, func(r *hourbell.Revision) string { return r.Description }),
		col("cron", rows, func(r *hourbell.Revision) string { return r.Cron }),
		col("time_zone", rows, func(r *hourbell.Revision) string { return r.TimeZone }),
		col("target_kind", rows, func(r *hourbell.Revision) string { return r.TargetKind }),
		col("target", rows, func(r *hourbell.Revision) string { return r.Target }),
		col("grace", rows, func(r *hourbell.Revision) int64 { return r.Grace.Microseconds() }),
		col("hash", rows, func(r *hourbell.Revision) string { return r.DefinitionHash }),
		col("enabled", rows, func(r *hourbell.Revision) bool { return r.Enabled }),
		times("next", rows, func(r *hourbell.Revision) time.Time { return r.NextRunAt }),
		times("until", rows, func(r *hourbell.Revision) time.Time { return r.Until }),
	}
}

var (
	insertSchedules        = prepare(insertionOfSchedules + ` RETURNING id`)
	insertMissingSchedules = prepare(insertionOfSchedules + ` ON CONFLICT (namespace, id) DO NOTHING RETURNING id`)
)

const insertionOfSchedules = `
{batch ` + declared + `}
INSERT INTO hourbell_schedules (namespace, id, name, description, cron, time_zone, target_kind, target, grace, definition_hash,
	enabled, next_run_at, created_at, updated_at)
SELECT @namespace, c.id, c.name, c.description, c.cron, c.time_zone, c.target_kind, c.target, {span c.grace}, c.hash,
	c.enabled, c.next, clock.now, clock.now
FROM c CROSS JOIN clock WHERE c.until IS NULL OR c.until > clock.now ORDER BY c.id`

// Insert implements [hourbell.Store].
func (s *Store) Insert(ctx context.Context, rows []hourbell.Revision) (ids []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	v := values{"batch": declaredOf(rows)}
	return ids, s.unlessTaken(ctx, func(s *Store, taken bool) error {
		statement := insertSchedules
		if taken {
			statement = insertMissingSchedules
		}
		ids = nil // of an attempt before
		return s.write(ctx, statement, v, collectIDs(&ids))
	})
}

// What code owns is written in any case; what people and the loop own only where the row is settled. The conditions
// are the compare-and-set of rule L6.
var reviseSchedules = prepare(`
{locked ` + declared + ` token:bigint read_hash:text settles:boolean note:text settled:timestamptz removed:timestamptz}
UPDATE hourbell_schedules AS s SET
	name = c.name, description = c.description, cron = c.cron, time_zone = c.time_zone, target_kind = c.target_kind,
	target = c.target, grace = {span c.grace}, definition_hash = c.hash,
	enabled = CASE WHEN c.settles THEN c.enabled ELSE s.enabled END,
	enabled_note = CASE WHEN c.settles THEN c.note ELSE s.enabled_note END,
	next_run_at = CASE WHEN c.settles THEN c.next ELSE s.next_run_at END,
	settled_until = CASE WHEN c.settles THEN c.settled ELSE s.settled_until END,
	removed_at = CASE WHEN c.settles THEN c.removed ELSE s.removed_at END,
	locked_at = CASE WHEN c.settles THEN NULL ELSE s.locked_at END,
	locked_by = CASE WHEN c.settles THEN NULL ELSE s.locked_by END,
	lock_token = CASE WHEN c.settles THEN s.lock_token + 1 ELSE s.lock_token END,
	owed_since = CASE WHEN c.settles THEN NULL ELSE s.owed_since END,
	held_until = CASE WHEN c.settles THEN NULL ELSE s.held_until END,
	failures = CASE WHEN c.settles THEN 0 ELSE s.failures END,
	last_error = CASE WHEN c.settles THEN '' ELSE s.last_error END,
	updated_at = CASE WHEN c.settles THEN clock.now ELSE s.updated_at END
FROM c CROSS JOIN clock
WHERE {row} AND s.lock_token = c.token AND s.definition_hash = c.read_hash
	AND (c.until IS NULL OR c.until > clock.now)
RETURNING {own id}`)

// Revise implements [hourbell.Store].
func (s *Store) Revise(ctx context.Context, rows []hourbell.Revision) (ids []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	return ids, s.write(ctx, reviseSchedules, values{"batch": append(declaredOf(rows),
		col("token", rows, func(r *hourbell.Revision) int64 { return r.LockToken }),
		col("read_hash", rows, func(r *hourbell.Revision) string { return r.ReadHash }),
		col("settles", rows, func(r *hourbell.Revision) bool { return r.Settles }),
		col("note", rows, func(r *hourbell.Revision) string { return r.EnabledNote }),
		times("settled", rows, func(r *hourbell.Revision) time.Time { return r.SettledUntil }),
		times("removed", rows, func(r *hourbell.Revision) time.Time { return r.RemovedAt }),
	)}, collectIDs(&ids))
}

// Two steps, since RETURNING has only the new values: the first makes whoever holds the lock lose it.
var (
	loosen = prepare(`
UPDATE hourbell_schedules SET lock_token = lock_token + 1, locked_at = NULL
WHERE namespace = @namespace AND id = @id AND locked_by IS NOT NULL
RETURNING locked_by`)
	release = prepare(`UPDATE hourbell_schedules SET locked_by = NULL WHERE namespace = @namespace AND id = @id`)
)

// Unlock implements [hourbell.Store].
func (s *Store) Unlock(ctx context.Context, id string) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err = s.transaction(ctx, remaining(ctx), func(tx *Store) error {
		holders := []string{}
		if err := tx.write(ctx, loosen, values{"id": id}, collectIDs(&holders)); err != nil || len(holders) == 0 {
			return err
		}
		holder = holders[0]
		return tx.exec(ctx, release, values{"id": id})
	})
	return holder, err
}
