package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/hourbell/hourbell"
)

// alive are the workers neither stopped nor silent; overdue are the schedules out of grace, by the index of what is due.
const (
	alive   = `namespace = @namespace AND stopped_at IS NULL AND heartbeat_at >= {instant} - {span @dead} AND heartbeat_at <= {instant} + {span @dead}`
	overdue = `namespace = @namespace AND enabled AND removed_at IS NULL AND next_run_at + grace < {instant} AND next_run_at < {instant}`
)

var (
	selectHealth = prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now)
SELECT {instant},
	(SELECT count(*) FROM hourbell_workers WHERE ` + alive + `),
	(SELECT {micros max(clock_skew)} FROM hourbell_workers WHERE ` + alive + `),
	(SELECT {micros min(clock_skew)} FROM hourbell_workers WHERE ` + alive + `),
	(SELECT max(last_tick_at) FROM hourbell_workers WHERE ` + alive + `),
	(SELECT count(*) FROM hourbell_schedules WHERE ` + overdue + `),
	(SELECT max(settled_until) FROM hourbell_schedules WHERE namespace = @namespace AND enabled AND removed_at IS NULL)`)

	selectLate = prepare(`
WITH clock AS MATERIALIZED (SELECT {now} AS now)
SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE ` + overdue + ` ORDER BY next_run_at LIMIT 100`)
)

// Health implements [hourbell.Store].
func (s *Store) Health(ctx context.Context, dead time.Duration) (h hourbell.Health, err error) {
	var ahead, behind time.Duration
	var settled time.Time
	v := values{"dead": dead.Microseconds()}
	err = s.query(ctx, selectHealth, v, func(rows *sql.Rows) error {
		return rows.Scan(toTime(&h.At), &h.Workers, toSpan(&ahead), toSpan(&behind), toTime(&h.NewestTick), &h.Overdue, toTime(&settled))
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
