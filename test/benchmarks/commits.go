package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// requireCommitTimestamps fails if the server does not record commit times.
func (db *database) requireCommitTimestamps(ctx context.Context) error {
	var setting string
	err := db.read(ctx, []any{&setting}, "SELECT current_setting('track_commit_timestamp')")
	if err == nil && setting != "on" {
		err = errors.New("the server must run with track_commit_timestamp=on, as that of 'make compare' does")
	}
	return err
}

// slotCommits describes the rows of one slot.
type slotCommits struct {
	slot time.Time
	last time.Time // the commit time of the last row
	rows int
}

// commitsBySlot returns the commits of each slot. The query selects slot and
// xmin of each row.
func (db *database) commitsBySlot(ctx context.Context, query string) ([]slotCommits, error) {
	conn, err := db.controlConn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT slot, max(pg_xact_commit_timestamp(xmin)), count(*) FROM ("+query+") q GROUP BY slot ORDER BY slot")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c slotCommits, err error) {
		return c, row.Scan(&c.slot, &c.last, &c.rows)
	})
}

// lateness returns, in milliseconds, how long after its slot each row was
// committed. It covers the slots in [from, to).
func (db *database) lateness(ctx context.Context, query string, from, to time.Time) ([]float64, error) {
	conn, err := db.controlConn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `
SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin) - slot) * 1000)::float8 FROM (`+query+`) q WHERE slot >= $1 AND slot < $2`, from, to)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[float64])
}

// timeToCommit calls do and returns the time from its start to the commit of
// the slot's last row, by the server's clock.
func (db *database) timeToCommit(ctx context.Context, query string, slot time.Time, do func() error) (time.Duration, error) {
	var start, last time.Time
	if err := db.read(ctx, []any{&start}, "SELECT clock_timestamp()"); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	err := db.read(ctx, []any{&last}, "SELECT max(pg_xact_commit_timestamp(xmin)) FROM ("+query+") q WHERE slot = $1", slot)
	return last.Sub(start), err
}

// waitUntil polls a condition until it holds.
func waitUntil(ctx context.Context, timeout time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %v: %w", timeout, ctx.Err())
		case <-poll.C:
		}
	}
}
