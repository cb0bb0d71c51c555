package hourbell

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Worker is one process that runs the loop.
type Worker struct {
	ID              string // random for each start
	Namespace       string
	WorkerType      string // schedule_daemon
	Hostname        string
	PID             int
	Version         string // the version of the host's main module
	BuildTime       time.Time
	DefinitionsHash string
	StartedAt       time.Time
	HeartbeatAt     time.Time     // says that the process lives
	LastTickAt      time.Time     // its last claim: says that its loop does
	StoppedAt       time.Time     // set by a clean stop
	ClockSkew       time.Duration // how far the process's clock is ahead of the database's
}

// Alive says whether the worker has neither stopped nor fallen silent at an instant of the database's clock.
func (w Worker) Alive(at time.Time) bool {
	return w.StoppedAt.IsZero() && at.Sub(w.HeartbeatAt).Abs() <= deadAfter
}

const workerType = "schedule_daemon"

// newWorker describes this process. Build time and version are those that the toolchain left in the binary, unless the
// host knows better.
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

// startWorker makes the process known, keeps its heart beating and its tables swept, and returns what stops that.
func (s *Scheduler) startWorker(ctx context.Context) (stop func(), err error) {
	// A stop that comes meanwhile does not leave a worker behind that seems to live.
	registering, done := outlive(ctx, stopGrace)
	defer done()
	for range 2 { // the first measures the skew that the second writes
		if err := s.beat(registering); err != nil {
			return nil, fmt.Errorf("hourbell: register worker: %w", err)
		}
	}
	s.runs(true)
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { s.heartbeats(lasting) })
	running.Go(func() { s.sweeps(lasting) })
	return func() {
		defer s.runs(false)
		cancel()
		running.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.store.StopWorker(last, s.worker.ID); err != nil {
			s.log.ErrorContext(ctx, "hourbell: worker could not be marked stopped; others take it for dead after its heartbeat", "error", err)
		}
	}, nil
}

// heartbeats beats until ctx ends.
func (s *Scheduler) heartbeats(ctx context.Context) {
	for {
		sleep(ctx, heartbeatEvery)
		if ctx.Err() != nil {
			return
		}
		if err := s.beat(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "hourbell: heartbeat failed", "error", err)
		}
	}
}

// beat writes the worker's row and measures how far this process's clock is from the one that judges. The skew
// written is the one that the last beat measured. It learns whether another build lives.
func (s *Scheduler) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatDeadline)
	defer cancel()
	s.mu.Lock()
	worker := s.worker
	worker.LastTickAt, worker.ClockSkew = s.lastTick, s.skew
	s.mu.Unlock()

	before := wallClock()
	beat, err := s.store.Heartbeat(ctx, worker, deadAfter)
	if err != nil {
		return err
	}
	after := wallClock()
	s.contact.seen()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worker.StartedAt.IsZero() {
		s.worker.StartedAt = beat.At
	}
	if s.cfg.Now == nil {
		s.skew = before.Add(after.Sub(before) / 2).Round(0).Sub(beat.At)
	}
	s.rivals, s.doubt = beat.Rivals, s.doubt || beat.Rivals
	if s.skew.Abs() > skewWarning && worker.ClockSkew.Abs() <= skewWarning {
		s.log.WarnContext(ctx, "hourbell: this process's clock is wrong; the database's is used", "skew", s.skew)
	}
	return nil
}

const skewWarning = 2 * time.Second

// runs notes that the loop has begun, or ended.
func (s *Scheduler) runs(running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.tickedAt = running, wallClock()
}

// ticked notes that the loop has claimed, be there anything due or not: what the clock showed, and when it was asked.
func (s *Scheduler) ticked(at, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastTick, s.tickedAt = at, wallClock()
	s.judge.read(at, asked, s.tickedAt)
}

// estimate is about what the clock that judges shows by now, without asking; zero before it ever was asked.
func (s *Scheduler) estimate() time.Time {
	if s.cfg.Now != nil {
		return s.cfg.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge.at(wallClock())
}

// contact follows when this process has seen the database. One that has not for as long as a silent worker is
// taken for dead cannot tell who is dead from who was cut off like itself, and for as long again judges nobody
// (rule O1).
type contact struct {
	mu         sync.Mutex
	last, gone time.Time // gone: when a silence was last noticed
}

func (c *contact) seen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := wallClock()
	if !c.last.IsZero() && elapsed(c.last, now) > deadAfter {
		c.gone = now
	}
	c.last = now
}

func (c *contact) steady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := wallClock()
	silent := !c.last.IsZero() && elapsed(c.last, now) > deadAfter
	recovering := !c.gone.IsZero() && elapsed(c.gone, now) <= deadAfter
	return !silent && !recovering
}

// elapsed counts the time that the machine was suspended too, which the monotonic clock does not.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
