package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// batch is how many schedules a hand-written statement takes, as many as hourbell by default.
const batch = 2000

// The limit: the least that can be asked of the database for a durable fire. It keeps no lock, no history of the
// schedule, no debt, no uniqueness, and knows nothing of crons: the next slot is handed in.
const limitTables = `
CREATE TABLE schedules (
	id          text PRIMARY KEY,
	job         text NOT NULL,
	enabled     boolean NOT NULL,
	next_run_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX schedules_due ON schedules (next_run_at) WHERE enabled;
CREATE TABLE runs (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	schedule_id   text NOT NULL,
	job           text NOT NULL,
	scheduled_for timestamptz NOT NULL,
	status        text NOT NULL,
	queued_at     timestamptz NOT NULL
)`

// limitFire claims, advances and inserts in one statement. Others pass by the rows that it holds.
const limitFire = `
WITH due AS MATERIALIZED (
	SELECT id, job, next_run_at FROM schedules WHERE enabled AND next_run_at <= $1
	ORDER BY next_run_at LIMIT $3 FOR UPDATE SKIP LOCKED),
advanced AS (
	UPDATE schedules s SET next_run_at = $2 FROM due WHERE s.id = due.id
	RETURNING s.id, due.job, due.next_run_at AS slot)
INSERT INTO runs (schedule_id, job, scheduled_for, status, queued_at)
SELECT id, job, slot, 'QUEUED', $1 FROM advanced`

// newLimit makes the limit's tables with n schedules due first at a slot.
func newLimit(ctx context.Context, db *database, n, connections int, slot time.Time) (*pgxpool.Pool, error) {
	if err := db.exec(ctx, limitTables); err != nil {
		return nil, err
	}
	err := db.exec(ctx, `INSERT INTO schedules SELECT 'schedule-' || to_char(i, 'FM0000000'), 'job', true, $2 FROM generate_series(1, $1::int) i`, n, slot)
	if err != nil {
		return nil, err
	}
	return db.pool(ctx, connections)
}

// fireRaw lets each connection send a hand-written batch after the other until it finds nothing due, and returns how
// long that took in all. It fails unless exactly as many schedules fired as should have.
func fireRaw(ctx context.Context, pool *pgxpool.Pool, connections, want int, send func(context.Context, *pgxpool.Conn) (int64, error)) (time.Duration, error) {
	conns := make([]*pgxpool.Conn, connections)
	for i := range conns {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer conn.Release()
		conns[i] = conn
	}
	var fired atomic.Int64
	began := time.Now()
	err := together(connections, func(i int) error {
		for {
			n, err := send(ctx, conns[i])
			if err != nil || n == 0 {
				return err
			}
			fired.Add(n)
		}
	})
	took := time.Since(began)
	return took, errors.Join(err, unless(fired.Load() == int64(want), "%d schedules fired instead of %d", fired.Load(), want))
}
