package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// activeWorker is the only definition of an active worker, for a row w. The
// worker has not stopped, and its heartbeat and the clock differ by @dead_after
// at most. A heartbeat further in the future means that the clock was stepped
// back (rule T5).
const activeWorker = `w.stopped_at IS NULL
		AND w.heartbeat_at >= {clock} - {interval @dead_after}
		AND w.heartbeat_at <= {clock} + {interval @dead_after}`

// heartbeat inserts or updates a worker's row. Without a start time, the worker
// starts now, even if it had stopped before.
var heartbeat = prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
INSERT INTO hourbell_workers AS own (id, namespace, worker_type, hostname, pid, version, build_time, definitions_hash, started_at, heartbeat_at, last_tick_at, clock_skew)
VALUES (@id, @namespace, @worker_type, @hostname, @pid, @version, {timestamp @build_time}, @definitions_hash,
	COALESCE({timestamp @started_at}, {clock}), {clock}, {timestamp @last_tick_at}, {interval @clock_skew})
ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, last_tick_at = excluded.last_tick_at, clock_skew = excluded.clock_skew,
	started_at = CASE WHEN {timestamp @started_at} IS NULL THEN excluded.started_at ELSE own.started_at END,
	stopped_at = CASE WHEN {timestamp @started_at} IS NULL THEN NULL ELSE own.stopped_at END
RETURNING heartbeat_at, EXISTS (SELECT 1 FROM hourbell_workers w
	WHERE w.namespace = @namespace AND w.id <> @id AND w.definitions_hash <> @definitions_hash AND ` + activeWorker + `)`)

// Heartbeat implements [hourbell.Store].
func (s *database) Heartbeat(ctx context.Context, w hourbell.Worker, deadAfter time.Duration) (result storage.HeartbeatResult, err error) {
	return result, s.writeAutocommit(ctx, heartbeat, values{
		"id": w.ID, "worker_type": w.WorkerType, "hostname": sanitizeText(w.Hostname), "pid": w.PID, "version": sanitizeText(w.Version),
		"build_time": w.BuildTime, "definitions_hash": w.DefinitionsHash, "started_at": w.StartedAt, "last_tick_at": w.LastTickAt,
		"clock_skew": w.ClockSkew.Microseconds(), "dead_after": deadAfter.Microseconds(),
	}, func(rows *sql.Rows) error { return rows.Scan(toTime(&result.At), toNumber(&result.OtherBuildActive)) })
}

var stopWorker = prepare(`UPDATE hourbell_workers SET stopped_at = {now} WHERE namespace = @namespace AND id = @id`)

// StopWorker implements [hourbell.Store].
func (s *database) StopWorker(ctx context.Context, id string) error {
	return s.exec(ctx, stopWorker, values{"id": id})
}

var selectWorkers = prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT ` + workerColumns + `, ` + activeWorker + ` FROM hourbell_workers w WHERE w.namespace = @namespace ORDER BY w.started_at DESC, w.id`)

// Workers implements [hourbell.Store].
func (s *database) Workers(ctx context.Context, deadAfter time.Duration) (list []hourbell.Worker, err error) {
	return list, s.query(ctx, selectWorkers, values{"dead_after": deadAfter.Microseconds()}, collect(&list, workerFields))
}
