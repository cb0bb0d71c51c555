package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// tracksCommits fails where the server does not remember when a row was committed.
func (db *database) tracksCommits(ctx context.Context) error {
	var tracked string
	err := db.read(ctx, []any{&tracked}, "SELECT current_setting('track_commit_timestamp')")
	if err == nil && tracked != "on" {
		err = errors.New("the server does not say when a row was committed: it runs without track_commit_timestamp=on; that of 'make compare' runs with it")
	}
	return err
}

// committed is what the server knows of the rows of one slot.
type committed struct {
	slot time.Time
	last time.Time // when the last of its rows was committed, by the server's clock
	rows int
}

// commits reads when rows were committed, slot by slot. query gives slot and xmin of each row.
func (db *database) commits(ctx context.Context, query string) ([]committed, error) {
	conn, err := db.conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT slot, max(pg_xact_commit_timestamp(xmin)), count(*) FROM ("+query+") q GROUP BY slot ORDER BY slot")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c committed, err error) {
		return c, row.Scan(&c.slot, &c.last, &c.rows)
	})
}

// lateness reads how late each row of the slots in [from, to) was committed, in milliseconds.
func (db *database) lateness(ctx context.Context, query string, from, to time.Time) ([]float64, error) {
	conn, err := db.conn(ctx)
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

// untilLast is how long it takes from the beginning of do to the commit of the last row of a slot, by the server's clock. query
// gives slot and xmin of each row.
func (db *database) untilLast(ctx context.Context, query string, slot time.Time, do func() error) (time.Duration, error) {
	var began, last time.Time
	if err := db.read(ctx, []any{&began}, "SELECT clock_timestamp()"); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	err := db.read(ctx, []any{&last}, "SELECT max(pg_xact_commit_timestamp(xmin)) FROM ("+query+") q WHERE slot = $1", slot)
	return last.Sub(began), err
}

// second is what is left of an answer that is only asked whether it failed.
func second[V any](_ V, err error) error { return err }

// await asks again and again until a condition holds.
func await(ctx context.Context, most time.Duration, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %v: %w", most, ctx.Err())
		case <-look.C:
		}
	}
}
