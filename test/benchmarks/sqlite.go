package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// sqliteSettings are the settings of the demo.
const sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"

// sqliteWorkload is the fire workload on a SQLite file, with one and with
// several replicas.
var sqliteWorkload = workload{
	name:    "sqlite",
	metrics: []metric{{"fired", perSecond}, {"ticks that found it locked", count}},
	peers: func(o options) []peer {
		return []peer{{"hourbell", fireSQLite(o, 1)}, {"hourbell ×4", fireSQLite(o, 4)}}
	},
	targets: func(options) []target {
		return []target{
			{"hourbell", "fired", "", atLeast(15_000)},
			{"hourbell", "ticks that found it locked", "", atMost(0)},
			{"hourbell ×4", "fired", "hourbell", bound{}},
			{"hourbell ×4", "ticks that found it locked", "", atMost(0)},
		}
	},
}

func fireSQLite(o options, replicas int) measureFunc {
	return func(ctx context.Context, _ *server) (figures []float64, err error) {
		dir, err := os.MkdirTemp("", "hourbell-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		f, err := openSQLiteFleet(ctx, filepath.Join(dir, "bench.db"), replicas, newConfig(o.schedules, hourly))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		durations, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) { return f.fire(ctx, slot, o.schedules) })
		return []float64{medianRate(o.schedules, durations), float64(f.locked.Load())}, err
	}
}

// sqliteFleet is a number of replicas that share a SQLite file and a manual
// clock.
type sqliteFleet struct {
	clock    *clock
	handles  []*gorm.DB
	replicas []*hourbell.Scheduler
	locked   atomic.Int64 // ticks that failed because the file was locked
}

func openSQLiteFleet(ctx context.Context, path string, replicas int, cfg hourbell.Config) (*sqliteFleet, error) {
	f := &sqliteFleet{clock: newClock(firstSlot.Add(-lead))}
	cfg.Now = f.clock.Now
	for range replicas {
		handle, err := gorm.Open(sqlite.Open(path+sqliteSettings), &gorm.Config{Logger: logger.Discard})
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.handles = append(f.handles, handle)
		if err := store.Migrate(ctx, handle); err != nil {
			return nil, errors.Join(err, f.close())
		}
		scheduler, err := hourbell.New(store.New(handle), cfg)
		if err == nil {
			err = scheduler.Sync(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.replicas = append(f.replicas, scheduler)
	}
	return f, nil
}

func (f *sqliteFleet) close() error {
	return inParallel(len(f.handles), func(i int) error {
		pool, err := f.handles[i].DB()
		if err != nil {
			return err
		}
		return pool.Close()
	})
}

// fire lets all replicas tick until everything due at a slot has fired. It
// fails unless each schedule fired exactly once.
func (f *sqliteFleet) fire(ctx context.Context, slot time.Time, want int) (time.Duration, error) {
	f.clock.Set(slot.Add(-lead))
	if _, err := f.tick(ctx); err != nil {
		return 0, err
	}
	f.clock.Set(slot)
	fired := 0
	start := time.Now()
	for fired < want && time.Since(start) < time.Minute {
		more, err := f.tick(ctx)
		if err != nil {
			return 0, err
		}
		fired += more
	}
	duration := time.Since(start)
	var runs int64
	err := f.handles[0].WithContext(ctx).Raw("SELECT count(*) FROM hourbell_job_runs").Scan(&runs).Error
	wantRuns := int64(want) * (int64(slot.Sub(firstSlot)/time.Hour) + 1)
	return duration, errors.Join(err, errorUnless(fired == want && runs == wantRuns,
		"%d schedules fired and there are %d runs, instead of %d and %d", fired, runs, want, wantRuns))
}

func (f *sqliteFleet) tick(ctx context.Context) (int, error) {
	var fired atomic.Int64
	err := inParallel(len(f.replicas), func(i int) error {
		report, err := f.replicas[i].Tick(ctx)
		fired.Add(int64(report.Fired))
		if errors.Is(err, hourbell.ErrBusy) || err != nil && strings.Contains(err.Error(), "locked") {
			f.locked.Add(1)
			return nil
		}
		return err
	})
	return int(fired.Load()), err
}
