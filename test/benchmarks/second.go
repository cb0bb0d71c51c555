package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// fireEachSecond sleeps until each second of the database's clock and sends one statement, until ctx ends.
func fireEachSecond(ctx context.Context, pool *pgxpool.Pool, first time.Time) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	ahead, err := serverAhead(ctx, conn)
	if err != nil {
		return err
	}
	for slot := first; ctx.Err() == nil; slot = slot.Add(time.Second) {
		if pass(ctx, time.Until(slot.Add(-ahead))) != nil {
			return nil
		}
		if _, err := conn.Exec(ctx, whole.fire, slot, slot.Add(time.Second), batch); err != nil {
			return err
		}
	}
	return nil
}

// serverAhead is by how much the database's clock is ahead of ours, as the quickest of some answers says. It errs to
// the late side: nothing may fire early.
func serverAhead(ctx context.Context, conn *pgxpool.Conn) (time.Duration, error) {
	var ahead time.Duration
	shortest := time.Hour
	for range 10 {
		began := time.Now()
		var at time.Time
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
			return 0, err
		}
		if took := time.Since(began); took < shortest {
			shortest, ahead = took, at.Sub(began.Add(took))
		}
	}
	return ahead, nil
}
