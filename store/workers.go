package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
)

var heartbeat = prepare(`
INSERT INTO hourbell_workers (id, namespace, worker_type, hostname, pid, version, build_time, definitions_hash, started_at, heartbeat_at, last_tick_at, clock_skew)
VALUES (@id, @namespace, @worker_type, @hostname, @pid, @version, {time @build_time}, @definitions_hash, COALESCE({time @started_at}, {now}), {now},
	{time @last_tick_at}, {span @clock_skew})
ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, last_tick_at = excluded.last_tick_at, clock_skew = excluded.clock_skew
RETURNING heartbeat_at, EXISTS (SELECT 1 FROM hourbell_workers o
	WHERE o.namespace = @namespace AND o.id <> @id AND o.definitions_hash <> @definitions_hash AND o.stopped_at IS NULL
	AND o.heartbeat_at BETWEEN {now} - {span @dead} AND {now} + {span @dead})`)

// Heartbeat implements [hourbell.Store].
func (s *Store) Heartbeat(ctx context.Context, w hourbell.Worker, dead time.Duration) (beat hourbell.Beat, err error) {
	return beat, s.alone(ctx, heartbeat, values{
		"id": w.ID, "worker_type": w.WorkerType, "hostname": clean(w.Hostname), "pid": w.PID, "version": clean(w.Version),
		"build_time": w.BuildTime, "definitions_hash": w.DefinitionsHash, "started_at": w.StartedAt, "last_tick_at": w.LastTickAt,
		"clock_skew": w.ClockSkew.Microseconds(), "dead": dead.Microseconds(),
	}, func(rows *sql.Rows) error { return rows.Scan(toTime(&beat.At), toNumber(&beat.Rivals)) })
}

var stopWorker = prepare(`UPDATE hourbell_workers SET stopped_at = {now} WHERE namespace = @namespace AND id = @id`)

// StopWorker implements [hourbell.Store].
func (s *Store) StopWorker(ctx context.Context, id string) error {
	return s.exec(ctx, stopWorker, values{"id": id})
}

var selectWorkers = prepare(`SELECT ` + workerColumns + ` FROM hourbell_workers WHERE namespace = @namespace ORDER BY started_at DESC, id`)

// Workers implements [hourbell.Store].
func (s *Store) Workers(ctx context.Context) (list []hourbell.Worker, err error) {
	return list, s.query(ctx, selectWorkers, nil, collect(&list, workerFields))
}
