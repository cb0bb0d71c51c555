package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// Conditions on a schedule s, and the queries made of them. The queries use the
// index hourbell_schedules_due.
const (
	// claimable: enabled, not removed, and not excluded by the caller.
	claimable = `s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN {list @exclude}`

	// backingOff: the retry time is not reached. A retry time further ahead
	// than the longest backoff is expired: the clock was stepped back (rule
	// T5).
	backingOff = `(s.retry_at IS NOT NULL AND s.retry_at > {clock}
		AND s.retry_at <= {clock} + {interval @max_backoff})`

	// locked: another worker, or another connection of this tick, holds a lock
	// that has not expired. A lock expires after LockTTL, or when its holder
	// has stopped or is dead. A lock from further ahead than LockTTL is expired
	// too (rule T5).
	locked = `(s.locked_by IS NOT NULL
		AND (s.locked_by <> @worker OR (s.locked_at >= {timestamp @exclude_own_since}) IS TRUE)
		AND s.locked_at > {clock} - {interval @lock_ttl}
		AND s.locked_at <= {clock} + {interval @lock_ttl}
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by
			AND NOT (` + activeWorker + `)))`

	// due: the schedule can be claimed now.
	due = claimable + `
		AND s.next_run_at <= {clock}
		AND NOT ` + backingOff + `
		AND NOT ` + locked

	// The index returns the earliest slots first. A loop that is behind asks
	// for the schedules that have not fired for the longest time, which reads
	// all schedules that are due.
	dueBySlot = due + `
	ORDER BY s.next_run_at LIMIT @limit`
	dueByLastFire = due + `
	ORDER BY s.last_run_at NULLS FIRST, s.next_run_at LIMIT @limit`

	// unfinishedSince is the start of the unfinished claim after a claim. It
	// keeps an earlier start if a worker has claimed, failed on or released the
	// row within LockTTL plus grace. Otherwise it is the time of this claim
	// (rule L4).
	unfinishedSince = `CASE WHEN s.unfinished_since <= {clock}
			AND s.updated_at >= {clock} - {interval @lock_ttl} - s.grace
			AND s.updated_at <= {clock} + {interval @lock_ttl} + s.grace
		THEN s.unfinished_since ELSE {clock} END`

	// wakeAt is the earliest time at which another claim can find something.
	// That is the next slot, or the end of the backoff or lock of a due row. It
	// is the current time if a due row has neither: then another transaction
	// has it. A worker is still active when its heartbeat is exactly as old as
	// @dead_after, so its lock ends a microsecond later.
	wakeAt = `(SELECT min(at) FROM (
		` + nextSlot + `
		UNION ALL
		SELECT min(CASE
			WHEN ` + backingOff + ` THEN s.retry_at
			WHEN NOT ` + locked + ` THEN {clock}
			WHEN w.heartbeat_at + {interval @dead_after} < s.locked_at + {interval @lock_ttl}
				THEN w.heartbeat_at + {interval @dead_after} + {interval 1}
			ELSE s.locked_at + {interval @lock_ttl} END)
		FROM hourbell_schedules s LEFT JOIN hourbell_workers w ON w.id = s.locked_by
		WHERE ` + claimable + ` AND s.next_run_at <= {clock}) wake_times)`

	nextSlot = `SELECT min(s.next_run_at) AS at FROM hourbell_schedules s
		WHERE ` + claimable + `
		AND s.next_run_at > {clock}`

	// heldByOthers is whether another worker holds one of the first hundred due
	// rows. Without the limit, the planner reads all schedules, because it
	// expects a third of them to be due.
	heldByOthers = `(SELECT count(*) > 0 FROM (SELECT * FROM hourbell_schedules s
		WHERE ` + claimable + `
		AND s.next_run_at <= {clock}
		ORDER BY s.next_run_at LIMIT 100) s WHERE ` + locked + `)`
)

// On Postgres, a claim is one statement. SKIP LOCKED keeps replicas from
// waiting for each other. MATERIALIZED keeps the planner from running the LIMIT
// twice. The UPDATE finds the rows by their ctid, the place of a row version,
// because a join may read the whole table. The rows are locked, so their ctids
// are stable.
var claimBySlot, claimByLastFire = claimStatement(dueBySlot), claimStatement(dueByLastFire)

func claimStatement(orderedDue string) *statement {
	return prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now),
-- the schedules to claim, locked
due AS MATERIALIZED (
	SELECT s.ctid AS row_ctid, s.id AS due_id, s.locked_by AS held_by, s.unfinished_since AS unfinished_before
	FROM hourbell_schedules s
	WHERE ` + orderedDue + `
	{skip_locked}),
-- the few of them with an earlier holder or unfinished claim; a join with all of due could compare each row with each
before AS MATERIALIZED (
	SELECT due_id, held_by, unfinished_before FROM due WHERE held_by IS NOT NULL OR unfinished_before IS NOT NULL),
-- the claim
claimed AS (
	UPDATE hourbell_schedules s SET locked_at = {clock}, locked_by = @worker,
		version = s.version + 1,
		unfinished_since = ` + unfinishedSince + `, updated_at = {clock}
	WHERE s.ctid {in SELECT row_ctid FROM due}
	RETURNING ` + claimColumns + `)
SELECT clock.now,
	CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN ` + wakeAt + ` END,
	CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN ` + heldByOthers + ` END,
	claimed.*, held_by, unfinished_before
FROM clock LEFT JOIN claimed ON true LEFT JOIN before ON due_id = claimed.id`)
}

// On SQLite, RETURNING sees only the new values, but a claim needs the earlier
// holder and unfinished claim. So one statement reads what is due. Another one
// claims the rows whose version is still the one that was read.
var (
	selectDueBySlot, selectDueByLastFire = selectDueStatement(dueBySlot), selectDueStatement(dueByLastFire)

	claimSelected = prepare(`
{batch id:text version:bigint}
UPDATE hourbell_schedules AS s SET locked_at = clock.now, locked_by = @worker, version = s.version + 1,
	unfinished_since = ` + unfinishedSince + `, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id AND s.version = c.version AND s.next_run_at <= clock.now
RETURNING locked_at, ` + claimColumns)
)

func selectDueStatement(orderedDue string) *statement {
	return prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now),
-- the schedules to claim
due AS MATERIALIZED (
	SELECT s.id, s.version, s.locked_by, s.unfinished_since FROM hourbell_schedules s
	WHERE ` + orderedDue + `)
SELECT clock.now,
	CASE WHEN due.id IS NULL THEN ` + wakeAt + ` END,
	CASE WHEN due.id IS NULL THEN ` + heldByOthers + ` END,
	due.id, due.version, due.locked_by, due.unfinished_since
FROM clock LEFT JOIN due ON true`)
}

// claimColumns are the columns that claimFields scans. A row of NULLs, from an
// outer join, becomes the zero Claim.
const claimColumns = `id, definition_hash, next_run_at, settled_through, version, unfinished_since, consecutive_failures`

func claimFields(c *storage.Claim) []any {
	return []any{
		toText(&c.ID), toText(&c.DefinitionHash), toTime(&c.NextRunAt), toTime(&c.SettledThrough), toNumber(&c.Version), toTime(&c.UnfinishedSince),
		toNumber(&c.ConsecutiveFailures),
	}
}

// Claim implements [hourbell.Store].
func (s *database) Claim(ctx context.Context, request storage.ClaimRequest) (result storage.ClaimResult, err error) {
	deadAfter := request.DeadAfter
	if deadAfter == 0 {
		deadAfter = never
	}
	v := values{
		"worker": request.Worker, "limit": request.Limit, "lock_ttl": request.LockTTL.Microseconds(),
		"max_backoff": request.MaxBackoff.Microseconds(), "dead_after": deadAfter.Microseconds(),
		"exclude": request.Exclude, "exclude_own_since": request.ExcludeOwnSince,
	}
	claim, selectDue := claimBySlot, selectDueBySlot
	if request.LeastRecentFirst {
		claim, selectDue = claimByLastFire, selectDueByLastFire
	}
	if s.dialect == sqlite {
		result, err = s.claimSQLite(ctx, selectDue, v)
	} else {
		result, err = s.claimPostgres(ctx, claim, v)
	}
	slices.SortFunc(result.Claims, func(a, b storage.Claim) int {
		return cmp.Or(a.NextRunAt.Compare(b.NextRunAt), cmp.Compare(a.ID, b.ID))
	})
	return result, err
}

// never is an age that no heartbeat reaches.
const never = 100 * 365 * 24 * time.Hour

func (s *database) claimPostgres(ctx context.Context, st *statement, v values) (result storage.ClaimResult, err error) {
	var c storage.Claim
	var unfinishedBefore time.Time
	fields := []any{toTime(&result.At), toTime(&result.WakeAt), toNumber(&result.HeldByOthers)}
	fields = append(append(fields, claimFields(&c)...), toText(&c.HeldBy), toTime(&unfinishedBefore))
	err = s.writeAutocommit(ctx, st, v, func(rows *sql.Rows) error {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		if c.ID != "" {
			result.Claims = append(result.Claims, completeClaim(c, result.At, unfinishedBefore))
		}
		return nil
	})
	return result, err
}

func (s *database) claimSQLite(ctx context.Context, selectDue *statement, v values) (result storage.ClaimResult, err error) {
	type dueRow struct {
		id, holder      string
		version         int64
		unfinishedSince time.Time
	}
	var due []dueRow
	err = s.query(ctx, selectDue, v, func(rows *sql.Rows) error {
		var row dueRow
		err := rows.Scan(toTime(&result.At), toTime(&result.WakeAt), toNumber(&result.HeldByOthers),
			toText(&row.id), toNumber(&row.version), toText(&row.holder), toTime(&row.unfinishedSince))
		if err == nil && row.id != "" {
			due = append(due, row)
		}
		return err
	})
	if err != nil || len(due) == 0 {
		return result, err
	}
	v["batch"] = batch{
		col("id", due, func(row *dueRow) string { return row.id }),
		col("version", due, func(row *dueRow) int64 { return row.version }),
	}
	before := make(map[string]dueRow, len(due))
	for _, row := range due {
		before[row.id] = row
	}
	var c storage.Claim
	fields := append([]any{toTime(&result.At)}, claimFields(&c)...)
	err = s.write(ctx, claimSelected, v, func(rows *sql.Rows) error {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		c.HeldBy = before[c.ID].holder
		result.Claims = append(result.Claims, completeClaim(c, result.At, before[c.ID].unfinishedSince))
		return nil
	})
	if result.WakeAt = (time.Time{}); len(result.Claims) == 0 {
		result.WakeAt = result.At // another process has changed the rows: try again
	}
	return result, err
}

// completeClaim adds the time of a claim, and whether it replaced an unfinished
// claim that was abandoned. unfinishedBefore is the start that the row had.
func completeClaim(c storage.Claim, at, unfinishedBefore time.Time) storage.Claim {
	c.At = at
	c.Abandoned = !unfinishedBefore.IsZero() && !unfinishedBefore.Equal(c.UnfinishedSince)
	return c
}

// fence lets a write under a claim c apply only while the row has the version
// and the lock holder of the claim.
const fence = `
WHERE {batch_row}
	AND s.version = c.version AND s.locked_by = @worker`

// advance keeps a later settled_through: after the clock was stepped back, an
// edited next_run_at can be due before it. advance has two conditions beyond
// the fence. A sync changes the definition hash without a new version if it
// changes only, for example, the target. And the database clock must have
// reached the last slot.
var advance = prepare(`
{locked_batch id:text version:bigint hash:text fired:timestamptz through:timestamptz next:timestamptz}
UPDATE hourbell_schedules AS s SET
	next_run_at = c.next, settled_through = CASE WHEN s.settled_through > c.through THEN s.settled_through ELSE c.through END,
	last_run_at = CASE WHEN c.fired IS NULL THEN s.last_run_at ELSE clock.now END,
	last_scheduled_for = COALESCE(c.fired, s.last_scheduled_for),
	consecutive_failures = CASE WHEN c.fired IS NULL THEN s.consecutive_failures ELSE 0 END,
	last_error = CASE WHEN c.fired IS NULL THEN s.last_error ELSE '' END,
	locked_at = NULL, locked_by = NULL, version = s.version + 1, unfinished_since = NULL, retry_at = NULL, updated_at = clock.now
FROM c CROSS JOIN clock` + fence + `
	AND s.definition_hash = c.hash AND c.through <= clock.now
RETURNING {returned id}`)

// Advance implements [hourbell.Store].
func (s *database) Advance(ctx context.Context, worker string, rows []storage.Advance) (ids []string, err error) {
	return ids, s.write(ctx, advance, values{"worker": worker, "batch": batch{
		col("id", rows, func(r *storage.Advance) string { return r.ID }),
		col("version", rows, func(r *storage.Advance) int64 { return r.Version }),
		col("hash", rows, func(r *storage.Advance) string { return r.DefinitionHash }),
		timeCol("fired", rows, func(r *storage.Advance) time.Time { return r.Fired }),
		timeCol("through", rows, func(r *storage.Advance) time.Time { return r.Through }),
		timeCol("next", rows, func(r *storage.Advance) time.Time { return r.Next }),
	}}, collectIDs(&ids))
}

var release = prepare(`
{locked_batch id:text version:bigint}
UPDATE hourbell_schedules AS s SET locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock` + fence)

// Release implements [hourbell.Store].
func (s *database) Release(ctx context.Context, worker string, claims []storage.Claim) error {
	return s.exec(ctx, release, values{"worker": worker, "batch": batch{
		col("id", claims, func(c *storage.Claim) string { return c.ID }),
		col("version", claims, func(c *storage.Claim) int64 { return c.Version }),
	}})
}

var recordFailures = prepare(`
{locked_batch id:text version:bigint error:text backoff:bigint until:timestamptz unfinished_since:timestamptz}
UPDATE hourbell_schedules AS s SET
	consecutive_failures = s.consecutive_failures + 1, last_error = c.error,
	retry_at = CASE WHEN c.until < clock.now + {interval c.backoff}
		THEN c.until ELSE clock.now + {interval c.backoff} END,
	unfinished_since = COALESCE(c.unfinished_since, s.unfinished_since),
	locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock` + fence + `
RETURNING {returned id}`)

// RecordFailures implements [hourbell.Store].
func (s *database) RecordFailures(ctx context.Context, worker string, failures []storage.Failure) (ids []string, err error) {
	return ids, s.write(ctx, recordFailures, values{"worker": worker, "batch": batch{
		col("id", failures, func(f *storage.Failure) string { return f.ID }),
		col("version", failures, func(f *storage.Failure) int64 { return f.Version }),
		col("error", failures, func(f *storage.Failure) string { return f.Error }),
		col("backoff", failures, func(f *storage.Failure) int64 { return f.Backoff.Microseconds() }),
		timeCol("until", failures, func(f *storage.Failure) time.Time { return f.Until }),
		timeCol("unfinished_since", failures, func(f *storage.Failure) time.Time { return f.UnfinishedSince }),
	}}, collectIDs(&ids))
}

// Unlocking takes two statements, because RETURNING sees only the new values.
// The first invalidates the claim by its version, and returns the lock's
// holder.
var (
	invalidateLock = prepare(`
UPDATE hourbell_schedules SET version = version + 1, locked_at = NULL
WHERE namespace = @namespace AND id = @id AND locked_by IS NOT NULL
RETURNING locked_by`)
	clearLock = prepare(`UPDATE hourbell_schedules SET locked_by = NULL WHERE namespace = @namespace AND id = @id`)
)

// Unlock implements [hourbell.Store].
func (s *database) Unlock(ctx context.Context, id string) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = s.transaction(ctx, remaining(ctx), func(tx *database) error {
		holders := []string{}
		if err := tx.write(ctx, invalidateLock, values{"id": id}, collectIDs(&holders)); err != nil || len(holders) == 0 {
			return err
		}
		holder = holders[0]
		return tx.exec(ctx, clearLock, values{"id": id})
	})
	return holder, err
}
