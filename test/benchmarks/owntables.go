package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Hand-written SQL on hourbell's own tables, with all columns that the
// guarantees need. The difference to the limit is the cost of the guarantees.
// The difference to hourbell is the cost of hourbell's code.
const (
	ownDue = `
WITH due AS MATERIALIZED (
	SELECT id, next_run_at FROM hourbell_schedules
	WHERE namespace = 'default' AND enabled AND removed_at IS NULL AND next_run_at <= $1
		AND (locked_by IS NULL OR locked_at < $1::timestamptz - interval '5 minutes') AND (retry_at IS NULL OR retry_at <= $1)
	ORDER BY next_run_at LIMIT $2 FOR UPDATE SKIP LOCKED)`

	ownAdvance = `
	next_run_at = c.next, settled_through = c.slot, last_run_at = $1, last_scheduled_for = c.slot, consecutive_failures = 0, last_error = '',
	locked_at = NULL, locked_by = NULL, version = s.version + 1, unfinished_since = NULL, retry_at = NULL, updated_at = $1`

	ownInsert = `
INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at)
SELECT 'default', j.job, 'CRON', advanced.id, advanced.slot, j.place - 1, 'QUEUED', $1
FROM advanced CROSS JOIN unnest($3::text[]) WITH ORDINALITY j(job, place)`

	// ownFire claims, advances and inserts in one statement, as the fast path.
	ownFire = ownDue + `,
advanced AS (
	UPDATE hourbell_schedules s SET` + ownAdvance + `
	FROM (SELECT id AS due_id, next_run_at AS slot, $4::timestamptz AS next FROM due) c
	WHERE s.namespace = 'default' AND s.id = c.due_id
	RETURNING s.id, c.slot)` + ownInsert

	// ownClaim and ownSettle are the two commits of the claim path: the first
	// locks the rows, the second fires those whose claim is still valid.
	ownClaim = ownDue + `
UPDATE hourbell_schedules s SET locked_at = $1, locked_by = $3, version = s.version + 1, unfinished_since = $1, updated_at = $1
FROM due WHERE s.namespace = 'default' AND s.id = due.id
RETURNING s.id, s.version, s.next_run_at`

	ownSettle = `
WITH advanced AS (
	UPDATE hourbell_schedules s SET` + ownAdvance + `
	FROM unnest($4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[]) c(due_id, version, slot, next)
	WHERE s.namespace = 'default' AND s.id = c.due_id AND s.version = c.version AND s.locked_by = $2 AND c.slot <= $1
	RETURNING s.id, c.slot)` + ownInsert
)

// createOwnTables creates hourbell's tables with n schedules whose first slot
// is given.
func createOwnTables(ctx context.Context, db *database, n int, slot time.Time) (*pgxpool.Pool, error) {
	if _, err := db.migrated(ctx, nil); err != nil {
		return nil, err
	}
	if err := db.exec(ctx, insertSchedules, n, "schedule-", slot, time.Duration(0)); err != nil {
		return nil, err
	}
	pool, err := db.pool(ctx, 1)
	return pool, errors.Join(err, db.vacuum(ctx))
}

// insertSchedules inserts $1 schedules without a sync. Their ids begin with $2.
// The first is due at $3, each following one $4 later.
const insertSchedules = `
INSERT INTO hourbell_schedules (namespace, id, name, cron, time_zone, target_kind, target, grace, definition_hash, enabled,
	next_run_at, created_at, updated_at)
SELECT 'default', $2 || to_char(i, 'FM0000000'), 'name', '0 * * * *', 'UTC', 'JOBS', '["job"]', interval '2 minutes', 'x', true,
	$3::timestamptz + i * $4::interval, now(), now()
FROM generate_series(0, $1::int - 1) i`

// ownWorkerID has the length of a real worker id.
const ownWorkerID = "01JNHANDWRITTENWORKER00000"

// ownSendFunc fires a batch of the schedules due at a slot.
type ownSendFunc func(ctx context.Context, conn *pgxpool.Conn, slot time.Time, jobs []string) (int64, error)

// sendOwnFire fires a batch in one statement.
func sendOwnFire(ctx context.Context, conn *pgxpool.Conn, slot time.Time, jobs []string) (int64, error) {
	tag, err := conn.Exec(ctx, ownFire, slot, batchSize, jobs, slot.Add(time.Hour))
	return tag.RowsAffected() / int64(len(jobs)), err
}

// sendOwnClaim claims a batch and then fires it.
func sendOwnClaim(ctx context.Context, conn *pgxpool.Conn, slot time.Time, jobs []string) (int64, error) {
	rows, err := conn.Query(ctx, ownClaim, slot, batchSize, ownWorkerID)
	if err != nil {
		return 0, err
	}
	var ids []string
	var versions []int64
	var slots, nextSlots []time.Time
	for rows.Next() {
		var id string
		var version int64
		var due time.Time
		if err := rows.Scan(&id, &version, &due); err != nil {
			rows.Close()
			return 0, err
		}
		ids, versions, slots, nextSlots = append(ids, id), append(versions, version), append(slots, due), append(nextSlots, due.Add(time.Hour))
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	tag, err := conn.Exec(ctx, ownSettle, slot, ownWorkerID, jobs, ids, versions, slots, nextSlots)
	return tag.RowsAffected() / int64(len(jobs)), err
}
