package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// Cron expressions of the peers. hourlySlots returns the slots of hourly;
// yearly never comes due.
const (
	hourly      = "0 * * * *"
	everySecond = "* * * * * *"
	yearly      = "0 0 1 1 *"
)

// newConfig declares n schedules of one job each.
func newConfig(n int, cron string) hourbell.Config {
	definitions := make([]hourbell.Definition, n)
	for i := range definitions {
		definitions[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%07d", i), Cron: cron, Target: hourbell.Jobs("job"), EnabledByDefault: true,
		}
	}
	return hourbell.Config{Jobs: []hourbell.Job{{Name: "job"}}, Definitions: definitions, Logger: slog.New(slog.DiscardHandler)}
}

// noopEnqueuer makes the loop use the claim path.
type noopEnqueuer struct{}

// Enqueue implements hourbell.Enqueuer.
func (noopEnqueuer) Enqueue(context.Context, *gorm.DB, []hourbell.JobRun) error { return nil }

// newReplica returns a Scheduler with its own pool, as in a process of its own.
func newReplica(ctx context.Context, db *database, cfg hourbell.Config, tracer pgx.QueryTracer) (*hourbell.Scheduler, error) {
	handle, err := db.migrated(ctx, tracer)
	if err != nil {
		return nil, err
	}
	return hourbell.New(store.New(handle), cfg)
}

// fleet is a number of replicas that share a manual clock.
type fleet struct {
	clock    *clock
	replicas []*hourbell.Scheduler
}

// newFleet creates n replicas and syncs them before the first slot.
func newFleet(ctx context.Context, db *database, n int, cfg hourbell.Config) (*fleet, error) {
	f := &fleet{clock: newClock(firstSlot.Add(-lead))}
	cfg.Now = f.clock.Now
	for range n {
		scheduler, err := newReplica(ctx, db, cfg, nil)
		if err != nil {
			return nil, err
		}
		if err := scheduler.Sync(ctx); err != nil {
			return nil, err
		}
		f.replicas = append(f.replicas, scheduler)
	}
	return f, nil
}

// fire prepares a slot and returns how long fireDue takes.
func (f *fleet) fire(ctx context.Context, slot time.Time, want int) (time.Duration, error) {
	if err := f.prepare(ctx, slot); err != nil {
		return 0, err
	}
	start := time.Now()
	err := f.fireDue(ctx, slot, want)
	return time.Since(start), err
}

// prepare lets all replicas tick shortly before a slot.
func (f *fleet) prepare(ctx context.Context, slot time.Time) error {
	f.clock.Set(slot.Add(-lead))
	early, err := f.tick(ctx)
	return errors.Join(err, errorUnless(early == 0, "%d schedules fired before their slot", early))
}

// fireDue lets all replicas tick until everything due at a slot has fired. It
// fails unless exactly want schedules fired.
func (f *fleet) fireDue(ctx context.Context, slot time.Time, want int) error {
	f.clock.Set(slot)
	start := time.Now()
	fired, err := f.tick(ctx)
	for err == nil && fired < want && time.Since(start) < time.Minute {
		var more int // rows that another replica held and released
		more, err = f.tick(ctx)
		fired += more
	}
	return errors.Join(err, errorUnless(fired == want, "%d schedules fired instead of %d", fired, want))
}

// tick lets all replicas tick at the same time and returns how many schedules
// fired in total.
func (f *fleet) tick(ctx context.Context) (int, error) {
	var fired atomic.Int64
	err := inParallel(len(f.replicas), func(i int) error {
		report, err := f.replicas[i].Tick(ctx)
		fired.Add(int64(report.Fired))
		return err
	})
	return int(fired.Load()), err
}

// startReplicas runs n replicas in real time until stop is called.
func startReplicas(ctx context.Context, db *database, n int, cfg hourbell.Config) (stop func() error, err error) {
	schedulers := make([]*hourbell.Scheduler, n)
	for i := range schedulers {
		if schedulers[i], err = newReplica(ctx, db, cfg, nil); err != nil {
			return nil, err
		}
	}
	return runAll(ctx, schedulers), nil
}

// runAll runs schedulers until stop is called. stop returns their errors.
func runAll(ctx context.Context, schedulers []*hourbell.Scheduler) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- inParallel(len(schedulers), func(i int) error { return schedulers[i].Run(ctx) }) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// inParallel calls do with 0 to n-1 in parallel and joins the errors.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = do(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func errorUnless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
