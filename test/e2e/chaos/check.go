package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// The checker proves from the tables that a run kept the contract. It uses its
// own SQL and computes the slots from the definitions, independently of the
// code that fired them. It trusts package cron, the triggers that record when a
// schedule was enabled, and the responses that operators received.

// expected holds what the checker compares the tables with.
type expected struct {
	Definitions map[hostKind][]hourbell.Definition
	Actions     []operatorAction
}

// result holds what the checker read and found.
type result struct {
	violations         []string
	slots, fired, runs int
	repeated           int // runs executed more than once
	takeovers          int
	skipped            map[hourbell.SkipReason]int // slots
	actions            map[string]int              // operator actions, by outcome
	skewed             int                         // workers that showed a wrong clock
	skew               time.Duration               // the largest
	p50, p99           time.Duration               // lateness of fires
	enableChanges      map[scheduleName][]enableChange
	fires              map[scheduleName]map[time.Time]fire
	events             []event
	manualRuns         map[string][]manualRun // by idempotency key
}

// scheduleName identifies a schedule.
type scheduleName struct{ Namespace, ID string }

func (n scheduleName) String() string { return n.Namespace + "/" + n.ID }

func (r *result) violation(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// check reads the tables and checks them. It returns an error only if it cannot
// read them.
func check(ctx context.Context, db queryer, want expected) (result, error) {
	r := result{skipped: map[hourbell.SkipReason]int{}, actions: map[string]int{}}
	for _, read := range []func(context.Context, queryer) error{
		r.readEnableChanges, r.readFires, r.readEvents, r.readManualRuns, r.readFigures, r.checkRows,
	} {
		if err := read(ctx, db); err != nil {
			return r, fmt.Errorf("check: %w", err)
		}
	}
	definitions := map[scheduleName]hourbell.Definition{}
	for k, list := range want.Definitions {
		for _, d := range list {
			definitions[scheduleName{string(k), d.ID}] = d
		}
	}
	if err := r.checkSlots(definitions); err != nil {
		return r, err
	}
	r.checkReasons(definitions)
	r.checkEnableEvents()
	r.checkActions(want.Actions, definitions)
	return r, nil
}

// queryEach calls fn for each row of a query.
func queryEach(ctx context.Context, db queryer, fn func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// queryTexts returns the only column of a query.
func queryTexts(ctx context.Context, db queryer, query string, args ...any) (list []string, err error) {
	return list, queryEach(ctx, db, func(rows *sql.Rows) error {
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
	return db.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT FROM chaos_executed GROUP BY run_id HAVING count(*) > 1) repeated`).Scan(&r.repeated)
}
