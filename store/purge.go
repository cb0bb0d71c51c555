package store

import (
	"context"
	"database/sql"

	"github.com/hourbell/hourbell"
)

// Each deletes at most @limit rows, and passes by those that somebody is at. The clock is read once: compared with each
// row it could not be looked up in an index.
var purges = []struct {
	statement *statement
	needed    func(hourbell.Keep) bool
}{
	// By the index hourbell_job_runs_finished.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_job_runs WHERE namespace = @namespace AND finished_at < {instant} - {span @runs} ORDER BY finished_at LIMIT @limit {skip})
DELETE FROM hourbell_job_runs WHERE id {among SELECT id FROM old}
RETURNING 1`)},
	// Of the oldest open runs, by the index hourbell_job_runs_open: ids grow with time, so that the rest needs no look.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), oldest AS MATERIALIZED (
	SELECT id FROM hourbell_job_runs WHERE namespace = @namespace AND status IN ('QUEUED', 'RUNNING') ORDER BY id LIMIT @limit {skip})
DELETE FROM hourbell_job_runs WHERE id {among SELECT id FROM oldest} AND queued_at < {instant} - {span @runs}
RETURNING 1`), needed: func(k hourbell.Keep) bool { return k.Unfinished }},
	// Of the oldest events, by their key.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), oldest AS MATERIALIZED (
	SELECT id FROM hourbell_events WHERE namespace = @namespace ORDER BY id LIMIT @limit {skip})
DELETE FROM hourbell_events WHERE namespace = @namespace AND id {among SELECT id FROM oldest} AND at < {instant} - {span @events}
RETURNING 1`)},
	// By no index: the schedules are few.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_schedules WHERE namespace = @namespace AND removed_at < {instant} - {span @removed} ORDER BY id LIMIT @limit {skip})
DELETE FROM hourbell_schedules WHERE namespace = @namespace AND id {among SELECT id FROM old}
RETURNING 1`)},
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_workers WHERE namespace = @namespace AND heartbeat_at < {instant} - {span @workers} ORDER BY id LIMIT @limit {skip})
DELETE FROM hourbell_workers WHERE id {among SELECT id FROM old}
RETURNING 1`)},
}

// Purge implements [hourbell.Store].
func (s *Store) Purge(ctx context.Context, keep hourbell.Keep, limit int) (deleted int64, err error) {
	v := values{
		"runs": keep.Runs.Microseconds(), "events": keep.Events.Microseconds(), "removed": keep.Removed.Microseconds(),
		"workers": keep.Workers.Microseconds(), "limit": limit,
	}
	for _, purge := range purges {
		if purge.needed != nil && !purge.needed(keep) {
			continue
		}
		err := s.write(ctx, purge.statement, v, func(*sql.Rows) error { deleted++; return nil })
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}
