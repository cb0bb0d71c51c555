package store

import (
	"context"
	"database/sql"

	"github.com/hourbell/hourbell/internal/storage"
)

// Each statement deletes up to @limit rows, and leaves out rows that another
// transaction has locked. The clock is in a CTE: a volatile function cannot be
// an index condition.
var purges = []struct {
	statement *statement
	applies   func(storage.Retention) bool // nil: always
}{
	// Finished runs, found by the index hourbell_job_runs_finished.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_job_runs WHERE namespace = @namespace AND finished_at < {clock} - {interval @runs} ORDER BY finished_at LIMIT @limit {skip_locked})
DELETE FROM hourbell_job_runs WHERE id {in SELECT id FROM old}
RETURNING 1`)},
	// Unfinished runs, found by the index hourbell_job_runs_open. Ids grow with
	// time, so it is enough to look at the lowest.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), oldest AS MATERIALIZED (
	SELECT id FROM hourbell_job_runs WHERE namespace = @namespace AND status IN ('QUEUED', 'RUNNING') ORDER BY id LIMIT @limit {skip_locked})
DELETE FROM hourbell_job_runs WHERE id {in SELECT id FROM oldest} AND queued_at < {clock} - {interval @runs}
RETURNING 1`), applies: func(r storage.Retention) bool { return r.Unfinished }},
	// Events, found by the index of the namespace, in the order of ids.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), oldest AS MATERIALIZED (
	SELECT id FROM hourbell_events WHERE namespace = @namespace ORDER BY id LIMIT @limit {skip_locked})
DELETE FROM hourbell_events WHERE namespace = @namespace AND id {in SELECT id FROM oldest} AND at < {clock} - {interval @events}
RETURNING 1`)},
	// Removed schedules and workers. They are few and need no index.
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_schedules WHERE namespace = @namespace AND removed_at < {clock} - {interval @removed} ORDER BY id LIMIT @limit {skip_locked})
DELETE FROM hourbell_schedules WHERE namespace = @namespace AND id {in SELECT id FROM old}
RETURNING 1`)},
	{statement: prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now), old AS MATERIALIZED (
	SELECT id FROM hourbell_workers WHERE namespace = @namespace AND heartbeat_at < {clock} - {interval @workers} ORDER BY id LIMIT @limit {skip_locked})
DELETE FROM hourbell_workers WHERE id {in SELECT id FROM old}
RETURNING 1`)},
}

// Purge implements [hourbell.Store].
func (s *database) Purge(ctx context.Context, retention storage.Retention, limit int) (deleted int64, err error) {
	v := values{
		"runs": retention.Runs.Microseconds(), "events": retention.Events.Microseconds(), "removed": retention.Removed.Microseconds(),
		"workers": retention.Workers.Microseconds(), "limit": limit,
	}
	for _, purge := range purges {
		if purge.applies != nil && !purge.applies(retention) {
			continue
		}
		err := s.write(ctx, purge.statement, v, func(*sql.Rows) error { deleted++; return nil })
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}
