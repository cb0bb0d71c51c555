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

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// everyHour, everySecond and everyYear are the crons in use: due at the slots of hourlySlots, all the time, and never.
const (
	everyHour   = "0 * * * *"
	everySecond = "* * * * * *"
	everyYear   = "0 0 1 1 *"
)

// config declares n schedules of one job each.
func config(n int, cron string) hourbell.Config {
	definitions := make([]hourbell.Definition, n)
	for i := range definitions {
		definitions[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%07d", i), Cron: cron, Target: hourbell.Jobs("job"), EnabledByDefault: true,
		}
	}
	return hourbell.Config{Jobs: []hourbell.Job{{Name: "job"}}, Definitions: definitions, Logger: slog.New(slog.DiscardHandler)}
}

// noEnqueuer makes the loop take the road on which host code runs between claim and fire.
type noEnqueuer struct{}

func (noEnqueuer) Enqueue(context.Context, hourbell.Tx, []hourbell.JobRun) error { return nil }

// replica makes one more scheduler on the database, with a pool of its own, as another process would have.
func replica(ctx context.Context, db *database, cfg hourbell.Config, tracer pgx.QueryTracer) (*hourbell.Scheduler, error) {
	handle, err := db.migrated(ctx, tracer)
	if err != nil {
		return nil, err
	}
	return hourbell.New(store.New(handle), cfg)
}

// stepped are replicas that share a clock set by hand.
type stepped struct {
	clock    *clock
	replicas []*hourbell.Scheduler
}

// newStepped makes n replicas and syncs them, before the first slot.
func newStepped(ctx context.Context, db *database, n int, cfg hourbell.Config) (*stepped, error) {
	s := &stepped{clock: newClock(firstSlot.Add(-quiet))}
	cfg.Now = s.clock.Now
	for range n {
		one, err := replica(ctx, db, cfg, nil)
		if err != nil {
			return nil, err
		}
		if err := one.Sync(ctx); err != nil {
			return nil, err
		}
		s.replicas = append(s.replicas, one)
	}
	return s, nil
}

// fire returns how long all replicas, side by side, take for what is due at a slot, with all that their ticks do.
func (s *stepped) fire(ctx context.Context, slot time.Time, want int) (time.Duration, error) {
	if err := s.ready(ctx, slot); err != nil {
		return 0, err
	}
	began := time.Now()
	err := s.due(ctx, slot, want)
	return time.Since(began), err
}

// ready lets all replicas have a look at the database before a slot.
func (s *stepped) ready(ctx context.Context, slot time.Time) error {
	s.clock.Set(slot.Add(-quiet))
	early, err := s.tick(ctx)
	return errors.Join(err, unless(early == 0, "%d schedules fired before their slot", early))
}

// due lets all replicas fire what is due at a slot. It fails unless exactly as many schedules fired as should have.
func (s *stepped) due(ctx context.Context, slot time.Time, want int) error {
	s.clock.Set(slot)
	began := time.Now()
	fired, err := s.tick(ctx)
	for err == nil && fired < want && time.Since(began) < time.Minute {
		var more int // held by a replica that gave it back
		more, err = s.tick(ctx)
		fired += more
	}
	return errors.Join(err, unless(fired == want, "%d schedules fired instead of %d", fired, want))
}

// tick lets every replica make one pass at the same time and returns how many schedules fired in all.
func (s *stepped) tick(ctx context.Context) (int, error) {
	var fired atomic.Int64
	err := together(len(s.replicas), func(i int) error {
		report, err := s.replicas[i].Tick(ctx)
		fired.Add(int64(report.Fired))
		return err
	})
	return int(fired.Load()), err
}

// together calls do for 0 to n-1 side by side.
func together(n int, do func(i int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = do(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
