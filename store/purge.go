package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// purge deletes the rows of one kind that are past their retention, in the
// order of an index. A trigger, a foreign key or row security of the host may
// prevent the deletion of a row. Such rows do not stop the purge.
type purge struct {
	// candidates selects the next rows. They follow @after, or are not in
	// @refused. For each row, it returns three values: the key, whether the row
	// is past its retention, and whether no older rows follow.
	candidates *statement
	// delete deletes the rows with @keys, and returns their keys. It leaves out
	// rows that another transaction has locked.
	delete  *statement
	applies func(storage.Retention) bool // nil: always
}

var purges = []purge{
	// Finished runs, found by the index hourbell_job_runs_finished.
	{
		candidates: prepare(`
WITH
-- the database time; a function that is called for each row cannot be an index condition
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT CAST(id AS text) AS key, true, false FROM hourbell_job_runs
WHERE namespace = @namespace AND finished_at < {clock} - {interval @runs} AND CAST(id AS text) NOT IN {list @refused}
ORDER BY finished_at LIMIT @limit`),
		delete: deleteRuns,
	},
	// Unfinished runs, found by the index hourbell_job_runs_open. Ids grow with
	// time.
	{
		candidates: prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT CAST(id AS text) AS key, queued_at < {clock} - {interval @runs}, queued_at BETWEEN {clock} - {interval @runs} AND {clock} FROM hourbell_job_runs
WHERE namespace = @namespace AND status IN ('QUEUED', 'RUNNING') AND id > {bigint @after}
ORDER BY id LIMIT @limit`),
		delete:  deleteRuns,
		applies: func(r storage.Retention) bool { return r.Unfinished },
	},
	// Events, found by the index of the namespace, in the order of ids. Ids
	// grow with time, except for events with a future time. Those were recorded
	// before the clock was stepped back. The last ENABLED or DISABLED event of
	// a schedule is kept, unless a REMOVED event follows: it says whether to
	// enable the schedule if its row is missing.
	{
		candidates: prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT CAST(id AS text) AS key,
	at < {clock} - {interval @events} AND (kind NOT IN ('ENABLED', 'DISABLED') OR schedule_id IS NULL OR EXISTS (
		SELECT 1 FROM hourbell_events l WHERE l.namespace = @namespace AND l.schedule_id = e.schedule_id AND l.id > e.id
			AND l.kind IN ('ENABLED', 'DISABLED', 'REMOVED'))),
	at BETWEEN {clock} - {interval @events} AND {clock}
FROM hourbell_events e
WHERE namespace = @namespace AND id > {bigint @after}
ORDER BY id LIMIT @limit`),
		delete: prepare(`
WITH
-- the rows, locked
old AS MATERIALIZED (SELECT id FROM hourbell_events WHERE namespace = @namespace AND id {in_bigints @keys} {skip_locked})
DELETE FROM hourbell_events WHERE namespace = @namespace AND id {in SELECT id FROM old}
RETURNING CAST(id AS text)`),
	},
	// Removed schedules and dead workers. They are few and need no index.
	{
		candidates: prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT id, true, false FROM hourbell_schedules
WHERE namespace = @namespace AND removed_at < {clock} - {interval @removed} AND id NOT IN {list @refused} ORDER BY id LIMIT @limit`),
		delete: prepare(`
WITH
-- the rows, locked
old AS MATERIALIZED (SELECT id FROM hourbell_schedules WHERE namespace = @namespace AND id IN {list @keys} {skip_locked})
DELETE FROM hourbell_schedules WHERE namespace = @namespace AND id {in SELECT id FROM old}
RETURNING id`),
	},
	{
		candidates: prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT id, true, false FROM hourbell_workers
WHERE namespace = @namespace AND heartbeat_at < {clock} - {interval @workers} AND id NOT IN {list @refused} ORDER BY id LIMIT @limit`),
		delete: prepare(`
WITH
-- the rows, locked
old AS MATERIALIZED (SELECT id FROM hourbell_workers WHERE namespace = @namespace AND id IN {list @keys} {skip_locked})
DELETE FROM hourbell_workers WHERE id {in SELECT id FROM old}
RETURNING id`),
	},
}

var deleteRuns = prepare(`
WITH
-- the rows, locked
old AS MATERIALIZED (SELECT id FROM hourbell_job_runs WHERE namespace = @namespace AND id {in_bigints @keys} {skip_locked})
DELETE FROM hourbell_job_runs WHERE id {in SELECT id FROM old}
RETURNING CAST(id AS text)`)

// maxRefused is how many rows of a kind may refuse to be deleted before a purge
// ends.
const maxRefused = 10_000

// Purge implements [hourbell.Store].
func (s *database) Purge(ctx context.Context, retention storage.Retention, limit int) (result storage.PurgeResult, err error) {
	v := values{
		"runs": retention.Runs.Microseconds(), "events": retention.Events.Microseconds(), "removed": retention.Removed.Microseconds(),
		"workers": retention.Workers.Microseconds(), "limit": limit,
	}
	var errs []error
	for _, p := range purges {
		if p.applies != nil && !p.applies(retention) {
			continue
		}
		if err := s.purge(ctx, p, v, limit, &result); err != nil {
			errs = append(errs, err)
		}
	}
	return result, errors.Join(errs...)
}

// purge deletes the rows of one kind in batches.
func (s *database) purge(ctx context.Context, p purge, v values, limit int, result *storage.PurgeResult) error {
	after, refused := "0", []string{}
	for len(refused) < maxRefused {
		v["after"], v["refused"] = after, refused
		var keys []string
		count, end := 0, false
		err := s.query(ctx, p.candidates, v, func(rows *sql.Rows) error {
			var old, recent bool
			if err := rows.Scan(&after, &old, &recent); err != nil {
				return err
			}
			count, end = count+1, end || recent
			if old {
				keys = append(keys, after)
			}
			return nil
		})
		if err != nil {
			return err
		}
		deleted, err := s.deleteKeys(ctx, p, keys)
		result.Deleted += int64(len(deleted))
		for _, key := range keys {
			if !deleted[key] {
				refused = append(refused, key)
				result.Refused++
			}
		}
		if err != nil {
			return err
		}
		if count < limit || end {
			return nil
		}
	}
	return nil
}

// deleteKeys deletes rows and returns the keys of those that were deleted. If
// the database refuses a batch, it halves the batch to isolate the rows that
// cannot be deleted.
func (s *database) deleteKeys(ctx context.Context, p purge, keys []string) (map[string]bool, error) {
	deleted := make(map[string]bool, len(keys))
	batches := [][]string{keys}
	for len(batches) > 0 {
		batch := batches[0]
		batches = batches[1:]
		if len(batch) == 0 {
			continue
		}
		var ids []string
		err := s.write(ctx, p.delete, values{"keys": batch}, collectIDs(&ids))
		switch {
		case err == nil:
			for _, id := range ids {
				deleted[id] = true
			}
		case errors.Is(err, hourbell.ErrUnavailable) || ctx.Err() != nil:
			return deleted, err
		case len(batch) > 1:
			batches = append(batches, batch[:len(batch)/2], batch[len(batch)/2:])
		}
	}
	return deleted, nil
}
