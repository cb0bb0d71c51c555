package main

import (
	"context"
	"database/sql"
	"time"
)

// catchInFire returns a host whose transaction has moved schedules forward and is about to insert their runs, and keeps
// it there until it is released, by a lock on the table of runs. The host's busy is held then. It returns nil where no
// host that is free to be caught comes along.
func (d *driver) catchInFire(ctx context.Context) *host {
	if !d.trap.TryLock() {
		return nil
	}
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
	h := d.waiting(ctx, tx)
	if h == nil {
		free()
		return nil
	}
	d.caught.Store(h, free)
	return h
}

// waiting locks the table and waits for somebody to run into it.
func (d *driver) waiting(ctx context.Context, tx *sql.Tx) *host {
	// Whoever is at the table now is let finish; the wait for them keeps others out as well.
	for _, statement := range []string{"SET LOCAL lock_timeout = '1s'", "LOCK TABLE hourbell_job_runs IN SHARE MODE"} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return nil
		}
	}
	for ctx.Err() == nil {
		if h := d.blocked(ctx); h != nil {
			return h
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return nil
}

// blocked finds a free host that waits to insert the runs of a fire.
func (d *driver) blocked(ctx context.Context) *host {
	rows, err := d.pool.QueryContext(ctx, `SELECT application_name FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND application_name LIKE 'host-%' AND query LIKE '%INSERT INTO hourbell_job_runs%' AND query NOT LIKE '%request_key, job)%'`)
	if err != nil {
		return nil
	}
	defer func() { _ = rows.Close() }()
	var name string
	for rows.Next() && rows.Scan(&name) == nil {
		for _, h := range d.hosts {
			if h.name == name && h.busy.TryLock() {
				return h
			}
		}
	}
	_ = rows.Err() // the server was restarted: nobody waits
	return nil
}

// release opens the trap that a host was caught in.
func (d *driver) release(h *host) {
	if free, ok := d.caught.LoadAndDelete(h); ok {
		free.(func())()
	}
}
