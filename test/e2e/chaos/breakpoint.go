package main

import (
	"context"
	"database/sql"
	"time"
)

// breakpoint is a lock on a table that blocks a host at a certain statement.
type breakpoint struct {
	table string
	query string // matches the first 1,024 bytes of the statement, which pg_stat_activity shows
}

var (
	// inFire blocks a transaction that has advanced schedules, or is about to,
	// and inserts their runs. It excludes runs that an operator enqueues.
	inFire = breakpoint{"hourbell_job_runs", `(query LIKE '%free AS MATERIALIZED%' OR query LIKE '%INSERT INTO hourbell_job_runs%' AND query NOT LIKE '%idempotency_key, job)%')`}
	// inClaim blocks a claim. When the breakpoint is cleared while the host is
	// paused, the claim commits and the host does not know it yet.
	inClaim = breakpoint{"hourbell_schedules", `query LIKE '%due AS MATERIALIZED%'`}
)

// runTo waits until a host is blocked at the breakpoint, and keeps it there
// until clearBreakpoint. It returns the host with its busy locked, or nil if
// none that is free was blocked in time.
func (d *driver) runTo(ctx context.Context, b breakpoint) *host {
	d.breaking.Lock() // one at a time: a breakpoint blocks all hosts
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	tx, err := d.pool.BeginTx(ctx, nil)
	remove := func() {
		if tx != nil {
			_ = tx.Rollback()
		}
		cancel()
		d.breaking.Unlock()
	}
	if err != nil {
		remove()
		return nil
	}
	h := d.awaitBlocked(ctx, tx, b)
	if h == nil {
		remove()
		return nil
	}
	d.atBreakpoint.Store(h, remove)
	return h
}

// awaitBlocked locks the table and waits until a host is blocked by the lock.
func (d *driver) awaitBlocked(ctx context.Context, tx *sql.Tx, b breakpoint) *host {
	// The lock waits for transactions that use the table now, and meanwhile
	// blocks new ones. Hence the short timeout.
	for _, statement := range []string{"SET LOCAL lock_timeout = '1s'", "LOCK TABLE " + b.table + " IN SHARE MODE"} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return nil
		}
	}
	for ctx.Err() == nil {
		if h := d.findBlocked(ctx, b); h != nil {
			return h
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return nil
}

// findBlocked returns a blocked host that no other fault affects, with its busy
// locked.
func (d *driver) findBlocked(ctx context.Context, b breakpoint) *host {
	names, err := queryTexts(ctx, d.pool, `SELECT application_name FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND application_name LIKE 'host-%' AND `+b.query)
	if err != nil {
		return nil // the server is restarting, so no host is blocked
	}
	for _, name := range names {
		for _, h := range d.hosts {
			if h.name == name && h.busy.TryLock() {
				return h
			}
		}
	}
	return nil
}

// clearBreakpoint clears the breakpoint at which a host is blocked, if any.
func (d *driver) clearBreakpoint(h *host) {
	if remove, ok := d.atBreakpoint.LoadAndDelete(h); ok {
		remove.(func())()
	}
}
