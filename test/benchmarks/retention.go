package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// How a scheduler sweeps, with what it keeps by default.
const (
	retention  = 30 * 24 * time.Hour
	purgeBatch = 5000
	purgeLimit = 10 * time.Second // for one batch
)

// purge: a history that has outlived its keep is deleted while schedules go on firing.
var purge = workload{
	name: "retention",
	metrics: []metric{
		{"purging", seconds},
		{"purged", perSecond},
		{"slowest batch", milliseconds},
		{"p50 of fires before", milliseconds},
		{"p99 of fires before", milliseconds},
		{"p50 of fires meanwhile", milliseconds},
		{"p99 of fires meanwhile", milliseconds},
		{"fires missing", count},
	},
	peers: func(o options) []peer {
		return []peer{{"hourbell, " + thousands(o.retained) + " old runs", purgeHourbell(o)}}
	},
	targets: func(o options) []target {
		return []target{{"hourbell, " + thousands(o.retained) + " old runs", "fires missing", "", atMost(0)}}
	},
	once: true,
}

func purgeHourbell(o options) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) (figures []float64, err error) {
		if err := db.tracksCommits(ctx); err != nil {
			return nil, err
		}
		handle, err := db.migrated(ctx, nil)
		if err != nil {
			return nil, err
		}
		if err := db.oldRuns(ctx, o.retained); err != nil {
			return nil, err
		}
		stop, err := startHourbell(ctx, db, 1, config(perInstant, everySecond))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
		began, quietly, err := db.watched(ctx, newestRows, o.seconds)
		if err != nil {
			return nil, err
		}
		took, slowest, err := purgeAll(ctx, store.New(handle), o.retained)
		if err != nil {
			return nil, err
		}
		var over time.Time
		if err := db.read(ctx, []any{&over}, "SELECT date_trunc('second', clock_timestamp())"); err != nil {
			return nil, err
		}
		before, err := db.lateness(ctx, hourbellRows, began, quietly)
		if err != nil {
			return nil, err
		}
		// Not the second that is under way: some of it may be still to come.
		meanwhile, err := db.lateness(ctx, hourbellRows, quietly, over)
		if err != nil {
			return nil, err
		}
		missing := perInstant*int(over.Sub(began)/time.Second) - len(before) - len(meanwhile)
		return []float64{
			took.Seconds(), float64(o.retained) / took.Seconds(), inMilliseconds(slowest),
			percentile(before, 50), percentile(before, 99), percentile(meanwhile, 50), percentile(meanwhile, 99), float64(missing),
		}, nil
	})
}

// newestRows are runs that are not of the history, found without looking through it.
const newestRows = `
SELECT slot, xmin FROM (SELECT scheduled_for AS slot, xmin, finished_at FROM hourbell_job_runs ORDER BY id DESC LIMIT 1000) newest
WHERE finished_at IS NULL`

// oldRuns stores runs that have outlived their keep, one a second and the last of them just so.
func (db *database) oldRuns(ctx context.Context, n int) error {
	err := db.exec(ctx, `
INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, started_at, finished_at, attempt)
SELECT 'default', 'job', 'CRON', 'schedule-' || to_char(i % 200, 'FM0000000'), at, 0, 'SUCCEEDED', at, at, at, 1
FROM (SELECT i, date_trunc('second', now()) - $2::interval - interval '1 hour' - i * interval '1 second' AS at
	FROM generate_series($1::int, 1, -1) i) old`, n, retention)
	return errors.Join(err, db.settle(ctx))
}

// purgeAll deletes in batches until there is nothing to delete, as a scheduler's sweep does.
func purgeAll(ctx context.Context, unbound *store.Store, want int) (took, slowest time.Duration, err error) {
	bound, err := unbound.Bind("default", nil)
	if err != nil {
		return 0, 0, err
	}
	keep := hourbell.Keep{Runs: retention, Events: retention, Removed: retention, Workers: retention}
	var deleted int64
	began := time.Now()
	for {
		batchBegan := time.Now()
		batchCtx, cancel := context.WithTimeout(ctx, purgeLimit)
		n, err := bound.Purge(batchCtx, keep, purgeBatch)
		cancel()
		if err != nil {
			return 0, 0, fmt.Errorf("purge, after %d rows: %w", deleted, err)
		}
		slowest = max(slowest, time.Since(batchBegan))
		if deleted += n; n == 0 {
			break
		}
	}
	return time.Since(began), slowest, unless(deleted == int64(want), "%d runs were deleted instead of %d", deleted, want)
}
