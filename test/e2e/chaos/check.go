package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// The checker proves from the tables what a run has promised. It has SQL of its own and walks the slots by the
// definitions, without the help of what has decided them. What it believes is: the expressions, the witness of when a
// schedule was enabled, and what people were answered.

// facts are what the checker holds the tables against.
type facts struct {
	Definitions map[kind][]hourbell.Definition
	Clicks      []click
}

// result is what it finds.
type result struct {
	violations         []string
	slots, fired, runs int
	again, takeovers   int
	skipped, clicks    map[string]int // by reason; by what came of them
	skewed             int            // processes that have shown a wrong clock
	skew               time.Duration  // the largest
	p50, p99           time.Duration  // how late slots fired
	switches           map[name][]switching
	fires              map[name]map[time.Time]fire
	events             []event
	requests           map[string][]request // by key
}

// name is a schedule.
type name struct{ Namespace, ID string }

func (n name) String() string { return n.Namespace + "/" + n.ID }

func (r *result) wrong(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// check reads all and judges it. The error is that of reading.
func check(ctx context.Context, db queryer, f facts) (result, error) {
	r := result{skipped: map[string]int{}, clicks: map[string]int{}}
	for _, read := range []func(context.Context, queryer) error{r.readSwitchings, r.readFires, r.readEvents, r.readRequests, r.readFigures, r.checkRows} {
		if err := read(ctx, db); err != nil {
			return r, fmt.Errorf("check: %w", err)
		}
	}
	declared := map[name]hourbell.Definition{}
	for k, list := range f.Definitions {
		for _, d := range list {
			declared[name{string(k), d.ID}] = d
		}
	}
	if err := r.checkSlots(declared); err != nil {
		return r, err
	}
	r.checkReasons(declared)
	r.checkSwitches()
	r.checkClicks(f.Clicks, declared)
	return r, nil
}

// each reads rows.
func each(ctx context.Context, db queryer, row func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// texts reads a column.
func texts(ctx context.Context, db queryer, query string, args ...any) (list []string, err error) {
	return list, each(ctx, db, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		list = append(list, text)
		return err
	}, query, args...)
}

func (r *result) readFigures(ctx context.Context, db queryer) error {
	var p50, p99 sql.NullFloat64
	err := db.QueryRowContext(ctx, `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY late), percentile_cont(0.99) WITHIN GROUP (ORDER BY late)
		FROM (SELECT extract(epoch FROM queued_at - scheduled_for) AS late FROM hourbell_job_runs WHERE trigger = 'CRON' AND ordinal = 0) fires`).Scan(&p50, &p99)
	if err != nil {
		return err
	}
	r.p50, r.p99 = time.Duration(p50.Float64*1e9), time.Duration(p99.Float64*1e9)
	var skew float64
	err = db.QueryRowContext(ctx, `SELECT count(*), COALESCE(max(abs(extract(epoch FROM clock_skew))), 0) FROM hourbell_workers
		WHERE abs(extract(epoch FROM clock_skew)) > 2`).Scan(&r.skewed, &skew)
	if err != nil {
		return err
	}
	r.skew = time.Duration(skew * 1e9)
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM hourbell_events WHERE kind = 'LOCK_EXPIRED'`).Scan(&r.takeovers); err != nil {
		return err
	}
	return db.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT FROM chaos_executed GROUP BY run_id HAVING count(*) > 1) again`).Scan(&r.again)
}
