package hourbell

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/timing"
)

// A worker writes a heartbeat every heartbeatEvery. It is dead if its latest
// heartbeat and the database clock differ by more than deadAfter.
const (
	heartbeatEvery   = 10 * time.Second
	heartbeatTimeout = 5 * time.Second
	deadAfter        = 30 * time.Second
)

// skewWarning is the clock skew beyond which a worker logs a warning.
const skewWarning = 2 * time.Second

// Worker is one process that runs the loop. Times are UTC and, except for
// BuildTime, by the database clock. The zero time means none.
type Worker struct {
	ID              string // random, new for each [Scheduler]
	Namespace       string
	WorkerType      string        // schedule_daemon
	Hostname        string        // as the operating system reports it
	PID             int           // the process ID
	Version         string        // of the build: see Config.Version
	BuildTime       time.Time     // zero if unknown: see Config.BuildTime
	DefinitionsHash string        // of all definitions that the process declares
	StartedAt       time.Time     // the first heartbeat
	HeartbeatAt     time.Time     // the latest heartbeat
	LastTickAt      time.Time     // the last tick that reached the database
	StoppedAt       time.Time     // when the process stopped cleanly
	ClockSkew       time.Duration // how far the process's clock is ahead of the database clock
	// Active reports that, when the worker was read, it had not stopped and its
	// latest heartbeat was at most 30 s old. It is not stored.
	Active bool
}

const workerType = "schedule_daemon"

// newWorker describes this process, with a new ID.
func newWorker(cfg Config, definitionsHash string) Worker {
	w := Worker{ID: rand.Text(), Namespace: cfg.Namespace, WorkerType: workerType, PID: os.Getpid(), DefinitionsHash: definitionsHash}
	w.Hostname, _ = os.Hostname()
	if info, ok := debug.ReadBuildInfo(); ok {
		w.Version = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.time" {
				w.BuildTime, _ = time.Parse(time.RFC3339, setting.Value)
			}
		}
	}
	if cfg.Version != "" {
		w.Version = cfg.Version
	}
	if !cfg.BuildTime.IsZero() {
		w.BuildTime = cfg.BuildTime.UTC()
	}
	return w
}

// startWorker registers this process, and starts its heartbeats, sweeps and
// checks of the stored schedules. The returned function stops them and marks
// the worker stopped.
func (s *Scheduler) startWorker(ctx context.Context) (stop func(), err error) {
	// If ctx ends now, the registration is still completed. Otherwise other
	// replicas would see an active worker that never stops.
	workCtx, done := timing.DelayCancel(ctx, stopTimeout)
	defer done()
	s.noteStart()
	for range 2 { // the first heartbeat measures the skew that the second writes
		if err := s.heartbeat(workCtx); err != nil {
			return nil, fmt.Errorf("hourbell: register worker: %w", err)
		}
	}
	backgroundCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { s.sendHeartbeats(backgroundCtx) })
	background.Go(func() { s.sweepRegularly(backgroundCtx) })
	background.Go(func() { s.checkRegularly(backgroundCtx) })
	return func() {
		cancel()
		background.Wait()
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.store.StopWorker(stopCtx, s.worker.ID); err != nil {
			s.log.ErrorContext(ctx, "hourbell: marking the worker stopped failed", "error", err)
		}
	}, nil
}

// sendHeartbeats writes heartbeats until ctx ends.
func (s *Scheduler) sendHeartbeats(ctx context.Context) {
	for {
		timing.Sleep(ctx, heartbeatEvery)
		if ctx.Err() != nil {
			return
		}
		if err := s.heartbeat(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "hourbell: heartbeat failed", "error", err)
		}
	}
}

// heartbeat writes the worker's row and measures the skew of this process's
// clock. The next heartbeat writes that skew.
func (s *Scheduler) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	worker := s.ownWorker()
	sent := timing.Now()
	result, err := s.store.Heartbeat(ctx, worker, deadAfter)
	if err != nil {
		return err
	}
	received := timing.Now()
	s.contact.note()
	p := &s.process
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.startedAt.IsZero() {
		p.startedAt = result.At
	}
	if s.cfg.Now == nil {
		p.skew = sent.Add(received.Sub(sent) / 2).Round(0).Sub(result.At)
	}
	p.otherBuildActive, p.needsResync = result.OtherBuildActive, p.needsResync || result.OtherBuildActive
	if p.skew.Abs() > skewWarning && worker.ClockSkew.Abs() <= skewWarning {
		s.log.WarnContext(ctx, "hourbell: this process's clock is wrong", "skew", p.skew, "used", "database clock")
	}
	return nil
}

// ownWorker returns this process's row as the next heartbeat writes it.
func (s *Scheduler) ownWorker() Worker {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	worker := s.worker
	worker.StartedAt, worker.LastTickAt, worker.ClockSkew = s.process.startedAt, s.process.lastTick, s.process.skew
	return worker
}

// noteStart has the next heartbeat write a new start time, and no stop time.
func (s *Scheduler) noteStart() {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.startedAt = time.Time{}
}

// noteRun records that Run was called or has returned, and why it has failed.
func (s *Scheduler) noteRun(running bool, failure string) {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.running, s.process.synced, s.process.runError = running, false, failure
	s.process.missing, s.process.missingError = nil, ""
}

// noteSynced records the first sync of Run. From now on, the loop must tick.
func (s *Scheduler) noteSynced() {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.synced, s.process.tickedAt = true, timing.Now()
}

// isSynced reports whether the first sync of Run has succeeded.
func (s *Scheduler) isSynced() bool {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	return s.process.synced
}

// noteTick records a claim, or a statement of the fast path. at is the database
// time that it returned. sent is when it was sent, by this process's clock.
func (s *Scheduler) noteTick(at, sent time.Time) {
	s.contact.note()
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.lastTick, s.process.tickedAt = at, timing.Now()
	s.process.clock.Observe(at, sent, s.process.tickedAt)
}

// estimatedNow estimates the database time without a statement. Before the
// first claim, it returns the zero time. The estimate says when to tick, and
// never what is due.
func (s *Scheduler) estimatedNow() time.Time {
	if s.cfg.Now != nil {
		return s.cfg.Now()
	}
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	return s.process.clock.At(timing.Now())
}

// dbContact records when this process has reached the database (rule O1).
// After a gap of more than deadAfter, the process cannot distinguish dead
// workers from workers that were cut off like itself. Until deadAfter has
// passed since the end of the gap, it declares no worker dead.
type dbContact struct {
	mu       sync.Mutex // guards the fields below, which are by this process's clock
	last     time.Time  // latest response
	regained time.Time  // end of the latest gap
}

// note records a response of the database.
func (c *dbContact) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := timing.Now()
	if !c.last.IsZero() && timing.Elapsed(c.last, now) > deadAfter {
		c.regained = now
	}
	c.last = now
}

// mayDeclareDead reports whether this process may declare workers dead.
func (c *dbContact) mayDeclareDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := timing.Now()
	lost := !c.last.IsZero() && timing.Elapsed(c.last, now) > deadAfter
	recovering := !c.regained.IsZero() && timing.Elapsed(c.regained, now) <= deadAfter
	return !lost && !recovering
}

// The sweep deletes rows that are past their retention, about every sweepEvery.
const (
	sweepEvery       = time.Hour
	sweepBatch       = 5000
	removedRetention = 14 * 24 * time.Hour
	workerRetention  = 24 * time.Hour
)

// sweepRegularly sweeps until ctx ends.
func (s *Scheduler) sweepRegularly(ctx context.Context) {
	for {
		timing.Sleep(ctx, timing.Jitter(sweepEvery))
		if ctx.Err() != nil {
			return
		}
		result, err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "hourbell: deleting old rows failed", "error", err, "retry", sweepEvery)
		}
		if result.Refused > 0 {
			s.log.WarnContext(ctx, "hourbell: some old rows cannot be deleted", "count", result.Refused)
		}
		if result.Deleted > 0 {
			s.log.InfoContext(ctx, "hourbell: old rows deleted", "count", result.Deleted)
		}
	}
}

// sweep deletes rows that are past their retention. It deletes in batches, so
// that it does not hold locks for long.
func (s *Scheduler) sweep(ctx context.Context) (storage.PurgeResult, error) {
	retention := storage.Retention{
		Runs: s.cfg.Retention, Events: s.cfg.Retention, Removed: removedRetention, Workers: workerRetention,
		Unfinished: s.cfg.Enqueuer != nil,
	}
	return s.store.Purge(ctx, retention, sweepBatch)
}
