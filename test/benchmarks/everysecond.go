package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// fireEachSecond fires the full limit at each second of the database clock,
// until ctx ends.
func fireEachSecond(ctx context.Context, pool *pgxpool.Pool, first time.Time) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	offset, err := serverOffset(ctx, conn)
	if err != nil {
		return err
	}
	for slot := first; ctx.Err() == nil; slot = slot.Add(time.Second) {
		if sleep(ctx, time.Until(slot.Add(-offset))) != nil {
			return nil
		}
		if _, err := conn.Exec(ctx, fullLimit.fire, slot, slot.Add(time.Second), batchSize); err != nil {
			return err
		}
	}
	return nil
}

// serverOffset returns how far the database clock is ahead of this process's.
// It uses the fastest of several queries. Its error makes fires late, never
// early.
func serverOffset(ctx context.Context, conn *pgxpool.Conn) (time.Duration, error) {
	var offset time.Duration
	fastest := time.Hour
	for range 10 {
		start := time.Now()
		var at time.Time
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
			return 0, err
		}
		if d := time.Since(start); d < fastest {
			fastest, offset = d, at.Sub(start.Add(d))
		}
	}
	return offset, nil
}
