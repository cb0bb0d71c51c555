package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// Settings of a scheduler's sweep, as by default.
const (
	retention    = 30 * 24 * time.Hour
	purgeBatch   = 5000
	purgeTimeout = 10 * time.Second // for one batch
)

// retentionWorkload purges a long history while schedules fire.
var retentionWorkload = workload{
	name: "retention",
	metrics: []metric{
		{"duration of the purge", seconds},
		{"purged", perSecond},
		{"slowest batch", milliseconds},
		{"p50 of fires before", milliseconds},
		{"p99 of fires before", milliseconds},
		{"p50 of fires during", milliseconds},
		{"p99 of fires during", milliseconds},
		{"fires missing", count},
	},
	peers: func(o options) []peer {
		return []peer{{"hourbell, " + thousands(o.retained) + " old runs", retentionHourbell(o)}}
	},
	targets: func(o options) []target {
		return []target{{"hourbell, " + thousands(o.retained) + " old runs", "fires missing", "", atMost(0)}}
	},
	once: true,
}

func retentionHourbell(o options) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) (figures []float64, err error) {
		if err := db.requireCommitTimestamps(ctx); err != nil {
			return nil, err
		}
		handle, err := db.migrated(ctx, nil)
		if err != nil {
			return nil, err
		}
		if err := db.insertOldRuns(ctx, o.retained); err != nil {
			return nil, err
		}
		stop, err := startReplicas(ctx, db, 1, newConfig(duePerSecond, everySecond))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		from, purgeStart, err := db.watch(ctx, newestRows, o.seconds)
		if err != nil {
			return nil, err
		}
		duration, slowest, err := purgeAll(ctx, store.New(handle), o.retained)
		if err != nil {
			return nil, err
		}
		// The current second is left out, because its runs may be incomplete.
		var purgeEnd time.Time
		if err := db.read(ctx, []any{&purgeEnd}, "SELECT date_trunc('second', clock_timestamp())"); err != nil {
			return nil, err
		}
		before, err := db.lateness(ctx, hourbellRows, from, purgeStart)
		if err != nil {
			return nil, err
		}
		during, err := db.lateness(ctx, hourbellRows, purgeStart, purgeEnd)
		if err != nil {
			return nil, err
		}
		missing := duePerSecond*int(purgeEnd.Sub(from)/time.Second) - len(before) - len(during)
		return []float64{
			duration.Seconds(), float64(o.retained) / duration.Seconds(), inMilliseconds(slowest),
			percentile(before, 50), percentile(before, 99), percentile(during, 50), percentile(during, 99), float64(missing),
		}, nil
	})
}

// newestRows selects slot and xmin of new runs without reading the old ones.
const newestRows = `
SELECT slot, xmin FROM (SELECT scheduled_for AS slot, xmin, finished_at FROM hourbell_job_runs ORDER BY id DESC LIMIT 1000) newest
WHERE finished_at IS NULL`

// insertOldRuns inserts runs past their retention, one for each second. The
// newest is an hour past it.
func (db *database) insertOldRuns(ctx context.Context, n int) error {
	err := db.exec(ctx, `
INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, started_at, finished_at, attempt)
SELECT 'default', 'job', 'CRON', 'schedule-' || to_char(i % 200, 'FM0000000'), at, 0, 'SUCCEEDED', at, at, at, 1
FROM (SELECT i, date_trunc('second', now()) - $2::interval - interval '1 hour' - i * interval '1 second' AS at
	FROM generate_series($1::int, 1, -1) i) old`, n, retention)
	return errors.Join(err, db.vacuum(ctx))
}

// purgeAll deletes in batches until nothing is left to delete, as a scheduler's
// sweep does. It returns the total duration and that of the slowest batch.
func purgeAll(ctx context.Context, unbound hourbell.Store, want int) (total, slowest time.Duration, err error) {
	bound, err := unbound.Bind("default", nil)
	if err != nil {
		return 0, 0, err
	}
	limits := storage.Retention{Runs: retention, Events: retention, Removed: retention, Workers: retention}
	var deleted int64
	start := time.Now()
	for {
		batchStart := time.Now()
		batchCtx, cancel := context.WithTimeout(ctx, purgeTimeout)
		n, err := bound.Purge(batchCtx, limits, purgeBatch)
		cancel()
		if err != nil {
			return 0, 0, fmt.Errorf("purge, after %d rows: %w", deleted, err)
		}
		slowest = max(slowest, time.Since(batchStart))
		if deleted += n; n == 0 {
			break
		}
	}
	return time.Since(start), slowest, errorUnless(deleted == int64(want), "%d runs were deleted instead of %d", deleted, want)
}
