package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
)

// The parts of a claim. All walk the index hourbell_schedules_due.
const (
	live = `s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN {list @except}`

	// A back-off or lock that lies in the future by more than its own length is expired: the clock was stepped back.
	held   = `(s.held_until IS NOT NULL AND s.held_until > {instant} AND s.held_until <= {instant} + {span @max_hold})`
	locked = `(s.locked_by IS NOT NULL AND (s.locked_by <> @worker OR (s.locked_at >= {time @underway}) IS TRUE)
		AND s.locked_at > {instant} - {span @lock_ttl} AND s.locked_at <= {instant} + {span @lock_ttl}
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by AND (w.stopped_at IS NOT NULL
			OR CAST(@dead AS bigint) > 0 AND (w.heartbeat_at < {instant} - {span @dead} OR w.heartbeat_at > {instant} + {span @dead}))))`

	due = live + ` AND s.next_run_at <= {instant} AND NOT ` + held + ` AND NOT ` + locked

	// The index has the earliest slot first. By that order a schedule that is seldom due would never have its turn within
	// its grace among many that always are; so who is behind asks for those that fired longest ago, and reads all that is due.
	bySlot = due + ` ORDER BY s.next_run_at LIMIT @limit`
	byTurn = due + ` ORDER BY s.last_run_at NULLS FIRST, s.next_run_at LIMIT @limit`

	// A debt is alive while somebody was at the row within the last LockTTL and grace (rule L4).
	owed = `CASE WHEN s.owed_since <= {instant} AND s.updated_at >= {instant} - {span @lock_ttl} - s.grace
		AND s.updated_at <= {instant} + {span @lock_ttl} + s.grace THEN s.owed_since ELSE {instant} END`

	wake = `(SELECT min(at) FROM (
		` + coming + `
		UNION ALL
		SELECT min(CASE
			WHEN ` + held + ` THEN s.held_until
			WHEN NOT ` + locked + ` THEN {instant}
			WHEN CAST(@dead AS bigint) > 0 AND w.heartbeat_at + {span @dead} < s.locked_at + {span @lock_ttl} THEN w.heartbeat_at + {span @dead} + {span 1}
			ELSE s.locked_at + {span @lock_ttl} END)
		FROM hourbell_schedules s LEFT JOIN hourbell_workers w ON w.id = s.locked_by
		WHERE ` + live + ` AND s.next_run_at <= {instant}) wakes)`

	coming = `SELECT min(s.next_run_at) AS at FROM hourbell_schedules s WHERE ` + live + ` AND s.next_run_at > {instant}`

	// busy asks the first hundred alone: without that limit the planner, which takes a third of all rows for due, reads them all.
	busy = `(SELECT count(*) > 0 FROM (SELECT * FROM hourbell_schedules s WHERE ` + live + ` AND s.next_run_at <= {instant}
		ORDER BY s.next_run_at LIMIT 100) s WHERE ` + locked + `)`
)

// claimPostgres is the claim in one statement: rows that others are at are passed by, so that replicas do not wait
// for each other, and the planner cannot take more than the limit, for what is due is materialized first. It finds the
// rows again where they were locked, for a join may read the whole table; what it needs to know of them as they were is
// joined for those few alone of which there is anything to know, for a join may also compare each with each.
var claimPostgres, claimFairlyPostgres = claimOf(bySlot), claimOf(byTurn)

func claimOf(due string) *statement {
	return prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now),
due AS MATERIALIZED (
	SELECT s.ctid AS at, s.id AS due_id, s.locked_by AS held_by, s.owed_since AS owed_before FROM hourbell_schedules s WHERE ` + due + ` {skip}),
before AS MATERIALIZED (SELECT due_id, held_by, owed_before FROM due WHERE held_by IS NOT NULL OR owed_before IS NOT NULL),
claimed AS (
	UPDATE hourbell_schedules s SET locked_at = {instant}, locked_by = @worker, lock_token = s.lock_token + 1, owed_since = ` + owed + `, updated_at = {instant}
	WHERE s.ctid {among SELECT at FROM due}
	RETURNING ` + claimColumns + `)
SELECT clock.now, CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN ` + wake + ` END,
	CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN ` + busy + ` END, claimed.*, held_by, owed_before
FROM clock LEFT JOIN claimed ON true LEFT JOIN before ON due_id = claimed.id`)
}

// On SQLite RETURNING has only the new values. So what is due is read first, and the claim is one UPDATE that applies
// where the token is still the one read.
var (
	peekSQLite, peekFairlySQLite = peekOf(bySlot), peekOf(byTurn)

	claimSQLite = prepare(`
{batch id:text token:bigint}
UPDATE hourbell_schedules AS s SET locked_at = clock.now, locked_by = @worker, lock_token = s.lock_token + 1, owed_since = ` + owed + `, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id AND s.lock_token = c.token AND s.next_run_at <= clock.now
RETURNING locked_at, ` + claimColumns)
)

func peekOf(due string) *statement {
	return prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now),
due AS MATERIALIZED (SELECT s.id, s.lock_token, s.locked_by, s.owed_since FROM hourbell_schedules s WHERE ` + due + `)
SELECT clock.now, CASE WHEN due.id IS NULL THEN ` + wake + ` END, CASE WHEN due.id IS NULL THEN ` + busy + ` END, due.id, due.lock_token, due.locked_by, due.owed_since
FROM clock LEFT JOIN due ON true`)
}

// claimColumns are read by claimFields, in this order. A row of NULLs, as of an outer join, is the zero Claim.
const claimColumns = `id, definition_hash, next_run_at, lock_token, owed_since, failures`

func claimFields(c *hourbell.Claim) []any {
	return []any{toText(&c.ID), toText(&c.DefinitionHash), toTime(&c.NextRunAt), toNumber(&c.LockToken), toTime(&c.OwedSince), toNumber(&c.Failures)}
}

// Claim implements [hourbell.Store].
func (s *Store) Claim(ctx context.Context, request hourbell.ClaimRequest) (claims hourbell.Claims, err error) {
	v := claimValues(request)
	claim, peek := claimPostgres, peekSQLite
	if request.Fairly {
		claim, peek = claimFairlyPostgres, peekFairlySQLite
	}
	if s.dialect == sqlite {
		claims, err = s.claimSQLite(ctx, peek, v)
	} else {
		claims, err = s.claimPostgres(ctx, claim, v)
	}
	slices.SortFunc(claims.Rows, func(a, b hourbell.Claim) int {
		return cmp.Or(a.NextRunAt.Compare(b.NextRunAt), cmp.Compare(a.ID, b.ID))
	})
	return claims, err
}

func claimValues(r hourbell.ClaimRequest) values {
	return values{
		"worker": r.Worker, "limit": r.Limit, "lock_ttl": r.LockTTL.Microseconds(), "max_hold": r.MaxHold.Microseconds(),
		"dead": r.Dead.Microseconds(), "except": r.Except, "underway": r.Underway,
	}
}

func (s *Store) claimPostgres(ctx context.Context, st *statement, v values) (claims hourbell.Claims, err error) {
	var c hourbell.Claim
	var owedBefore time.Time
	into := append(append([]any{toTime(&claims.At), toTime(&claims.Wake), toNumber(&claims.Busy)}, claimFields(&c)...), toText(&c.HeldBy), toTime(&owedBefore))
	err = s.alone(ctx, st, v, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if c.ID != "" {
			claims.Rows = append(claims.Rows, claimed(c, claims.At, owedBefore))
		}
		return nil
	})
	return claims, err
}

func (s *Store) claimSQLite(ctx context.Context, peek *statement, v values) (claims hourbell.Claims, err error) {
	type peeked struct {
		id, holder string
		token      int64
		owed       time.Time
	}
	var seen []peeked
	err = s.query(ctx, peek, v, func(rows *sql.Rows) error {
		var p peeked
		if err := rows.Scan(toTime(&claims.At), toTime(&claims.Wake), toNumber(&claims.Busy), toText(&p.id), toNumber(&p.token), toText(&p.holder), toTime(&p.owed)); err != nil {
			return err
		}
		if p.id != "" {
			seen = append(seen, p)
		}
		return nil
	})
	if err != nil || len(seen) == 0 {
		return claims, err
	}
	v["batch"] = batch{
		col("id", seen, func(p *peeked) string { return p.id }),
		col("token", seen, func(p *peeked) int64 { return p.token }),
	}
	before := make(map[string]peeked, len(seen))
	for _, p := range seen {
		before[p.id] = p
	}
	var c hourbell.Claim
	into := append([]any{toTime(&claims.At)}, claimFields(&c)...)
	err = s.write(ctx, claimSQLite, v, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		c.HeldBy = before[c.ID].holder
		claims.Rows = append(claims.Rows, claimed(c, claims.At, before[c.ID].owed))
		return nil
	})
	if claims.Wake = (time.Time{}); len(claims.Rows) == 0 {
		claims.Wake = claims.At // another process was faster
	}
	return claims, err
}

// claimed completes a claim with what is known of the row before it.
func claimed(c hourbell.Claim, at, owedBefore time.Time) hourbell.Claim {
	c.At = at
	c.Lapsed = !owedBefore.IsZero() && !owedBefore.Equal(c.OwedSince)
	return c
}

// fence is what makes every later word of a claim void once the row has changed.
const fence = `
WHERE {row} AND s.lock_token = c.token AND s.locked_by = @worker`

var advance = prepare(`
{locked id:text token:bigint hash:text fired:timestamptz through:timestamptz next:timestamptz}
UPDATE hourbell_schedules AS s SET
	next_run_at = c.next, settled_until = c.through,
	last_run_at = CASE WHEN c.fired IS NULL THEN s.last_run_at ELSE clock.now END,
	last_scheduled_for = COALESCE(c.fired, s.last_scheduled_for),
	failures = CASE WHEN c.fired IS NULL THEN s.failures ELSE 0 END,
	last_error = CASE WHEN c.fired IS NULL THEN s.last_error ELSE '' END,
	locked_at = NULL, locked_by = NULL, lock_token = s.lock_token + 1, owed_since = NULL, held_until = NULL, updated_at = clock.now
FROM c CROSS JOIN clock` + fence + ` AND s.definition_hash = c.hash AND c.through <= clock.now
RETURNING {own id}`)

// Advance implements [hourbell.Store].
func (s *Store) Advance(ctx context.Context, worker string, rows []hourbell.Settlement) (ids []string, err error) {
	return ids, s.write(ctx, advance, values{"worker": worker, "batch": batch{
		col("id", rows, func(r *hourbell.Settlement) string { return r.ID }),
		col("token", rows, func(r *hourbell.Settlement) int64 { return r.LockToken }),
		col("hash", rows, func(r *hourbell.Settlement) string { return r.DefinitionHash }),
		times("fired", rows, func(r *hourbell.Settlement) time.Time { return r.Fired }),
		times("through", rows, func(r *hourbell.Settlement) time.Time { return r.Through }),
		times("next", rows, func(r *hourbell.Settlement) time.Time { return r.Next }),
	}}, collectIDs(&ids))
}

var giveBack = prepare(`
{locked id:text token:bigint}
UPDATE hourbell_schedules AS s SET locked_at = NULL, locked_by = NULL, lock_token = s.lock_token + 1, updated_at = clock.now
FROM c CROSS JOIN clock` + fence)

// GiveBack implements [hourbell.Store].
func (s *Store) GiveBack(ctx context.Context, worker string, rows []hourbell.Claim) error {
	return s.exec(ctx, giveBack, values{"worker": worker, "batch": batch{
		col("id", rows, func(r *hourbell.Claim) string { return r.ID }),
		col("token", rows, func(r *hourbell.Claim) int64 { return r.LockToken }),
	}})
}

var hold = prepare(`
{locked id:text token:bigint error:text hold:bigint until:timestamptz owed:timestamptz}
UPDATE hourbell_schedules AS s SET
	failures = s.failures + 1, last_error = c.error,
	held_until = CASE WHEN c.until < clock.now + {span c.hold} THEN c.until ELSE clock.now + {span c.hold} END,
	owed_since = COALESCE(c.owed, s.owed_since),
	locked_at = NULL, locked_by = NULL, lock_token = s.lock_token + 1, updated_at = clock.now
FROM c CROSS JOIN clock` + fence + `
RETURNING {own id}`)

// Hold implements [hourbell.Store].
func (s *Store) Hold(ctx context.Context, worker string, rows []hourbell.Failure) (ids []string, err error) {
	return ids, s.write(ctx, hold, values{"worker": worker, "batch": batch{
		col("id", rows, func(r *hourbell.Failure) string { return r.ID }),
		col("token", rows, func(r *hourbell.Failure) int64 { return r.LockToken }),
		col("error", rows, func(r *hourbell.Failure) string { return r.Error }),
		col("hold", rows, func(r *hourbell.Failure) int64 { return r.For.Microseconds() }),
		times("until", rows, func(r *hourbell.Failure) time.Time { return r.Until }),
		times("owed", rows, func(r *hourbell.Failure) time.Time { return r.Owed }),
	}}, collectIDs(&ids))
}
