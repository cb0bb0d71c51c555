package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
)

// Each schedule's newest fires, requests and skips are found by an index of their own (hourbell_job_runs_fire,
// hourbell_job_runs_manual, hourbell_events_skipped), however long its history is.
//
// What failed of a request is what failed after its first run and before the next request's, under the same key.
var selectOutcomes = prepare(`
WITH s AS MATERIALIZED (SELECT id, {time @since} AS since FROM hourbell_schedules WHERE namespace = @namespace AND id IN {list @ids})
SELECT h.scheduled_for AS moment, s.id, CASE WHEN EXISTS (
		SELECT 1 FROM hourbell_job_runs f WHERE f.namespace = @namespace AND f.schedule_id = s.id AND f.status = 'FAILED' AND f.scheduled_for = h.scheduled_for
	) THEN 'FAILED' ELSE 'FIRED' END, h.trigger, h.queued_at, h.scheduled_for, h.scheduled_for, NULL, 1, h.id, h.actor
FROM s JOIN hourbell_job_runs h ON h.id {among SELECT x.id FROM hourbell_job_runs x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.trigger = 'CRON' AND x.ordinal = 0 AND x.scheduled_for >= s.since
	ORDER BY x.scheduled_for DESC LIMIT @limit}
UNION ALL
SELECT h.queued_at, s.id, CASE WHEN EXISTS (
		SELECT 1 FROM hourbell_job_runs f WHERE f.namespace = @namespace AND f.schedule_id = s.id AND f.status = 'FAILED' AND f.scheduled_for IS NULL
			AND f.id >= h.id AND COALESCE(f.request_key, '') = COALESCE(h.request_key, '') AND NOT EXISTS (
				SELECT 1 FROM hourbell_job_runs n WHERE n.namespace = @namespace AND n.schedule_id = s.id AND n.trigger = 'MANUAL' AND n.ordinal = 0
					AND n.id > h.id AND n.id <= f.id AND COALESCE(n.request_key, '') = COALESCE(h.request_key, ''))
	) THEN 'FAILED' ELSE 'FIRED' END, h.trigger, h.queued_at, NULL, NULL, NULL, 0, h.id, h.actor
FROM s JOIN hourbell_job_runs h ON h.id {among SELECT x.id FROM hourbell_job_runs x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.trigger = 'MANUAL' AND x.ordinal = 0 AND x.queued_at >= s.since
	ORDER BY x.id DESC LIMIT @limit}
UNION ALL
SELECT e.slot_to, s.id, 'SKIPPED', 'CRON', e.at, e.slot_from, e.slot_to, e.reason, e.slot_count, 0, e.actor
FROM s JOIN hourbell_events e ON e.namespace = @namespace AND e.id {among SELECT x.id FROM hourbell_events x
	WHERE x.namespace = @namespace AND x.schedule_id = s.id AND x.kind = 'SKIPPED' AND x.slot_to >= s.since
	ORDER BY x.id DESC LIMIT @limit}
ORDER BY 1 DESC, 10 DESC`)

// Outcomes implements [hourbell.Store].
func (s *Store) Outcomes(ctx context.Context, q hourbell.OutcomeQuery) (list []hourbell.Outcome, err error) {
	since := q.Since
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	ids := make([]string, len(q.ScheduleIDs))
	for i, id := range q.ScheduleIDs {
		ids[i] = clean(id)
	}
	var moment time.Time
	return list, s.query(ctx, selectOutcomes, values{"ids": ids, "since": since, "limit": q.Limit}, collect(&list, func(o *hourbell.Outcome) []any {
		return []any{
			toTime(&moment), &o.ScheduleID, &o.Kind, &o.Trigger, toTime(&o.At), toTime(&o.SlotFrom), toTime(&o.SlotTo),
			toText(&o.Reason), toNumber(&o.Count), toNumber(&o.RunID), toText(&o.Actor),
		}
	}))
}

// The runs of a fire or request follow its first in the index hourbell_job_runs_schedule.
var selectTallies = prepare(`
{batch id:bigint}
SELECT h.id, r.status, count(*)
FROM c JOIN hourbell_job_runs h ON h.namespace = @namespace AND h.id = c.id
	JOIN hourbell_job_runs r ON r.id {among SELECT h.id UNION ALL SELECT * FROM (SELECT x.id FROM hourbell_job_runs x
		WHERE x.namespace = @namespace AND x.schedule_id = h.schedule_id AND x.id > h.id AND ` + notFirst + `
		ORDER BY x.id LIMIT @limit - 1) others}
	AND r.trigger = h.trigger AND (h.scheduled_for IS NULL OR r.scheduled_for = h.scheduled_for)
	AND COALESCE(r.request_key, '') = COALESCE(h.request_key, '')
GROUP BY h.id, r.status`)

// Tallies implements [hourbell.Store].
func (s *Store) Tallies(ctx context.Context, firstRuns []int64, limit int) (map[int64]hourbell.Tally, error) {
	tallies := make(map[int64]hourbell.Tally, len(firstRuns))
	err := s.query(ctx, selectTallies, values{
		"batch": batch{col("id", firstRuns, func(id *int64) int64 { return *id })}, "limit": limit,
	}, func(rows *sql.Rows) error {
		var id int64
		var status string
		var count int
		if err := rows.Scan(&id, &status, &count); err != nil {
			return err
		}
		t := tallies[id]
		switch status {
		case "QUEUED":
			t.Queued = count
		case "RUNNING":
			t.Running = count
		case "SUCCEEDED":
			t.Succeeded = count
		case "FAILED":
			t.Failed = count
		}
		tallies[id] = t
		return nil
	})
	return tallies, err
}
