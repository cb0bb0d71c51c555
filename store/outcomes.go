package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// Each schedule's newest fires, RunNow calls and skips are read from an index
// of their own: hourbell_job_runs_fire, hourbell_job_runs_manual and
// hourbell_events_skipped. The cost does not depend on the length of the
// history.
//
// A RunNow call has failed if one of its runs failed. Its runs have its
// idempotency key, or no key if it has none. They are the runs from its first
// one up to, but not including, the first one of the next call with that key.
var selectOutcomes = prepare(`
WITH
-- the schedules
s AS MATERIALIZED (SELECT id, {timestamp @since} AS since FROM hourbell_schedules WHERE namespace = @namespace AND id IN {list @ids})
SELECT h.scheduled_for AS sort_time, s.id, CASE WHEN EXISTS (
		SELECT 1 FROM hourbell_job_runs f WHERE f.namespace = @namespace AND f.schedule_id = s.id AND f.status = 'FAILED' AND f.scheduled_for = h.scheduled_for
	) THEN 'FAILED' ELSE 'FIRED' END, h.trigger, h.queued_at, h.scheduled_for, h.scheduled_for, NULL, 1, h.id, h.actor
FROM s JOIN hourbell_job_runs h ON h.id {in SELECT x.id FROM hourbell_job_runs x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.trigger = 'CRON' AND x.ordinal = 0 AND x.scheduled_for >= s.since
	ORDER BY x.scheduled_for DESC LIMIT @limit}
UNION ALL
SELECT h.queued_at, s.id, CASE WHEN EXISTS (
		SELECT 1 FROM hourbell_job_runs f WHERE f.namespace = @namespace AND f.schedule_id = s.id AND f.status = 'FAILED' AND f.scheduled_for IS NULL
			AND f.id >= h.id AND COALESCE(f.idempotency_key, '') = COALESCE(h.idempotency_key, '') AND NOT EXISTS (
				SELECT 1 FROM hourbell_job_runs n WHERE n.namespace = @namespace AND n.schedule_id = s.id AND n.trigger = 'MANUAL' AND n.ordinal = 0
					AND n.id > h.id AND n.id <= f.id AND COALESCE(n.idempotency_key, '') = COALESCE(h.idempotency_key, ''))
	) THEN 'FAILED' ELSE 'FIRED' END, h.trigger, h.queued_at, NULL, NULL, NULL, 0, h.id, h.actor
FROM s JOIN hourbell_job_runs h ON h.id {in SELECT x.id FROM hourbell_job_runs x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.trigger = 'MANUAL' AND x.ordinal = 0 AND x.queued_at >= s.since
	ORDER BY x.id DESC LIMIT @limit}
UNION ALL
SELECT e.slot_to, s.id, 'SKIPPED', 'CRON', e.at, e.slot_from, e.slot_to, e.reason, e.slot_count, 0, e.actor
FROM s JOIN hourbell_events e ON e.namespace = @namespace AND e.id {in SELECT x.id FROM hourbell_events x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.kind = 'SKIPPED' AND x.slot_to >= s.since
	ORDER BY x.id DESC LIMIT @limit}
ORDER BY 1 DESC, 10 DESC`)

// Outcomes implements [hourbell.Store].
func (s *database) Outcomes(ctx context.Context, q storage.OutcomeQuery) (list []hourbell.Outcome, err error) {
	since := q.Since
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	v := values{"ids": sanitizeTexts(q.ScheduleIDs), "since": since, "limit": q.Limit}
	var sortTime time.Time
	return list, s.query(ctx, selectOutcomes, v, collect(&list, func(o *hourbell.Outcome) []any {
		return []any{
			toTime(&sortTime), &o.ScheduleID, &o.Kind, &o.Trigger, toTime(&o.At), toTime(&o.SlotFrom), toTime(&o.SlotTo),
			toText(&o.Reason), toNumber(&o.Count), toNumber(&o.RunID), toText(&o.Actor),
		}
	}))
}

// The index hourbell_job_runs_schedule has the other runs of a fire or RunNow
// call after its first run.
var selectTallies = prepare(`
{batch id:bigint}
SELECT h.id, r.status, count(*)
FROM c JOIN hourbell_job_runs h ON h.namespace = @namespace AND h.id = c.id
	JOIN hourbell_job_runs r ON r.id {in SELECT h.id UNION ALL SELECT * FROM (SELECT x.id FROM hourbell_job_runs x
		WHERE x.namespace = @namespace AND x.schedule_id = h.schedule_id AND x.id > h.id AND ` + notFirstOfFire + `
		ORDER BY x.id LIMIT @limit - 1) others}
	AND r.trigger = h.trigger AND (h.scheduled_for IS NULL OR r.scheduled_for = h.scheduled_for)
	AND COALESCE(r.idempotency_key, '') = COALESCE(h.idempotency_key, '')
GROUP BY h.id, r.status`)

// Tallies implements [hourbell.Store].
func (s *database) Tallies(ctx context.Context, firstRuns []int64, limit int) (map[int64]hourbell.Tally, error) {
	tallies := make(map[int64]hourbell.Tally, len(firstRuns))
	err := s.query(ctx, selectTallies, values{
		"batch": batch{col("id", firstRuns, func(id *int64) int64 { return *id })}, "limit": limit,
	}, func(rows *sql.Rows) error {
		var id int64
		var status hourbell.RunStatus
		var count int
		if err := rows.Scan(&id, &status, &count); err != nil {
			return err
		}
		t := tallies[id]
		switch status {
		case hourbell.RunQueued:
			t.Queued = count
		case hourbell.RunRunning:
			t.Running = count
		case hourbell.RunSucceeded:
			t.Succeeded = count
		case hourbell.RunFailed:
			t.Failed = count
		}
		tallies[id] = t
		return nil
	})
	return tallies, err
}
