package main

import (
	"context"
	"database/sql"
	"time"
)

// A trap is a lock on a table, into which a host runs at a certain point and which keeps it there.
type trap struct {
	table string
	query string // what the host is about to do, by the first thousand bytes of its statement, which is what the server shows
}

var (
	// A transaction that has moved schedules forward, or is just doing it, and is about to insert their runs. What people
	// ask for inserts runs too, and is let pass.
	inFire = trap{"hourbell_job_runs", `(query LIKE '%free AS MATERIALIZED%' OR query LIKE '%INSERT INTO hourbell_job_runs%' AND query NOT LIKE '%request_key, job)%')`}
	// A claim. It is committed when the host is let go, and the host does not know that yet when it is paused.
	inClaim = trap{"hourbell_schedules", `query LIKE '%due AS MATERIALIZED%'`}
)

// catch waits for a host to run into a trap, and keeps it there until it is released. The host's busy is held then. It
// returns nil where no host that is free to be caught comes along.
func (d *driver) catch(ctx context.Context, t trap) *host {
	d.trap.Lock() // one at a time: each keeps everybody waiting
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	tx, err := d.pool.BeginTx(ctx, nil)
	free := func() {
		if tx != nil {
			_ = tx.Rollback()
		}
		cancel()
		d.trap.Unlock()
	}
	if err != nil {
		free()
		return nil
	}
	h := d.waiting(ctx, tx, t)
	if h == nil {
		free()
		return nil
	}
	d.caught.Store(h, free)
	return h
}

// waiting locks the table and waits for somebody to run into it.
func (d *driver) waiting(ctx context.Context, tx *sql.Tx, t trap) *host {
	// Whoever is at the table now is let finish; the wait for them keeps others out as well.
	for _, statement := range []string{"SET LOCAL lock_timeout = '1s'", "LOCK TABLE " + t.table + " IN SHARE MODE"} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return nil
		}
	}
	for ctx.Err() == nil {
		if h := d.blocked(ctx, t); h != nil {
			return h
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return nil
}

// blocked finds a free host that is in the trap.
func (d *driver) blocked(ctx context.Context, t trap) *host {
	names, err := texts(ctx, d.pool, `SELECT application_name FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND application_name LIKE 'host-%' AND `+t.query)
	if err != nil {
		return nil // the server was restarted: nobody waits
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

// release opens the trap that a host was caught in.
func (d *driver) release(h *host) {
	if free, ok := d.caught.LoadAndDelete(h); ok {
		free.(func())()
	}
}
