package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// overdue is the condition of a schedule whose next slot is out of grace. Its
// last part allows the use of the index hourbell_schedules_due.
const overdue = `namespace = @namespace AND enabled AND removed_at IS NULL AND next_run_at + grace < {clock} AND next_run_at < {clock}`

var (
	selectHealth = prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now),
-- the active workers
active AS MATERIALIZED (SELECT * FROM hourbell_workers w WHERE w.namespace = @namespace AND ` + activeWorker + `)
SELECT {clock}, (SELECT count(*) FROM active),
	(SELECT {micros max(clock_skew)} FROM active), (SELECT {micros min(clock_skew)} FROM active), (SELECT max(last_tick_at) FROM active),
	(SELECT count(*) FROM hourbell_schedules WHERE ` + overdue + `),
	(SELECT max(settled_through) FROM hourbell_schedules WHERE namespace = @namespace AND enabled AND NOT manual AND removed_at IS NULL)`)

	selectLate = prepare(`
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE ` + overdue + ` ORDER BY next_run_at LIMIT 100`)
)

// Health implements [hourbell.Store].
func (s *database) Health(ctx context.Context, deadAfter time.Duration) (h storage.Health, err error) {
	var ahead, behind time.Duration
	var settled time.Time
	v := values{"dead_after": deadAfter.Microseconds()}
	err = s.query(ctx, selectHealth, v, func(rows *sql.Rows) error {
		return rows.Scan(toTime(&h.At), &h.Workers, toDuration(&ahead), toDuration(&behind), toTime(&h.NewestTick), &h.Overdue, toTime(&settled))
	})
	if err != nil {
		return h, err
	}
	h.MaxSkew = max(ahead, -behind)
	h.ClockBehind = max(settled.Sub(h.At), 0)
	if h.Overdue > 0 {
		err = s.query(ctx, selectLate, nil, collect(&h.Late, scheduleFields))
	}
	if len(h.Late) > 0 {
		h.OldestDue = h.Late[0].NextRunAt
	}
	return h, err
}
