package hourbell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hourbell/hourbell/internal/parallel"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/timing"
)

// Schedule is a definition as stored, with its state. All times are UTC and by
// the database clock; the zero time means none.
type Schedule struct {
	Namespace, ID, Name, Description string
	Cron, TimeZone                   string
	Manual                           bool          // never due: see [Definition]
	TargetKind                       string        // ALL_JOBS, GROUP or JOBS
	Target                           string        // empty, the group, or a JSON array of job names
	Grace                            time.Duration // how late a slot may be claimed and still fire
	DefinitionHash                   string        // covers the definition and its jobs; hexadecimal
	FormerID                         string        // the ID whose state the schedule took over: see [Definition]; empty for none
	Enabled                          bool
	EnabledNote                      string    // the note of the last Enable or Disable
	NextRunAt                        time.Time // the first slot that is not settled; zero if disabled, removed or manual
	LastRunAt                        time.Time // when the schedule last fired
	LastScheduledFor                 time.Time // the slot that fired then
	SettledThrough                   time.Time // slots up to this time are settled: the last slot that fired or was skipped, or when the schedule was enabled or moved, if that is later
	LockedAt                         time.Time // when a replica claimed the schedule; zero if unlocked
	LockedBy                         string    // the ID of the [Worker] that holds the lock; empty if unlocked
	Version                          int64     // incremented by each change of state
	UnfinishedSince                  time.Time // start of the unfinished claim
	ConsecutiveFailures              int       // failed attempts to enqueue in a row
	LastError                        string    // of the last failed attempt; empty after a fire
	RetryAt                          time.Time // no attempt before this time
	RemovedAt                        time.Time // when a sync found that code no longer declares the schedule
	CreatedAt                        time.Time
	UpdatedAt                        time.Time // last claim, fire, failure, release or settlement

	// The fields below are not stored. Each call that returns a Schedule
	// computes them.

	ReadAt  time.Time // when the schedule was read
	State   ScheduleState
	Overdue bool // the slot NextRunAt is out of grace
	// ETag changes when code or an operator changes the schedule, and stays the
	// same when it fires. See [ChangeOptions].
	ETag string
	// LockExpiresAt is when any replica may take over the lock: after
	// Config.LockTTL, or as soon as its holder has stopped or missed its
	// heartbeats. Zero if unlocked.
	LockExpiresAt time.Time
	// DeclaredHere reports that this process declares the definition as it is
	// stored. A process fires only such schedules.
	DeclaredHere bool
	// Jobs are the declared jobs that the schedule targets, with Args as
	// json.RawMessage. Nil if this process does not declare all of them.
	Jobs []Job
	// Outcomes are the newest outcomes, newest first. Only
	// [Scheduler.Schedules] returns them, as many as the query asks for.
	Outcomes []Outcome
}

// TickReport says what one tick did.
type TickReport struct {
	// Claimed is the number of claims. A tick may claim a schedule repeatedly.
	// A fire on the fast path, which needs no separate claim, counts as a
	// claim.
	Claimed  int
	Fired    int // slots that fired
	Skipped  int // slots that were skipped; a gap counts as 1,000 at most
	Enqueued int // runs that were inserted
	Failed   int // failed attempts to fire a slot
	LockLost int // claims that were no longer valid when their slots were to fire
	// WakeAt is the earliest time at which another tick can find something to
	// do, in UTC and by the database clock. Zero if nothing is planned, or if
	// the tick failed first.
	WakeAt time.Time
}

// Run registers this process as a [Worker], syncs the definitions, and then
// runs the loop until ctx ends. The loop ticks, and then sleeps until the next
// slot or for Config.PollInterval, whichever is shorter.
//
// Run returns nil within about 5 s after ctx ends. While the database is
// unavailable, Run waits and retries. At the start, it logs a warning once a
// minute meanwhile. At the start, it also waits while [Scheduler.Sync] refuses
// to remove every schedule of the namespace, and logs that as an error.
//
// Run returns only errors that waiting cannot fix. Examples are
// [ErrNotMigrated], a missing privilege, and a call of Run while another one
// runs. It logs each error that it returns. [Scheduler.Health] reports why the
// last start failed.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		err := errors.New("hourbell: run: this Scheduler is already running")
		s.log.ErrorContext(ctx, "hourbell: run failed", "error", err)
		return err
	}
	defer s.started.Store(false)
	s.noteRun(true, "")
	err := s.run(ctx)
	if err == nil || ctx.Err() != nil { // a failure while stopping is not a failed start
		s.noteRun(false, "")
		return nil //nolint:nilerr // the caller has stopped Run
	}
	err = fmt.Errorf("hourbell: run: %w", err)
	s.noteRun(false, err.Error())
	s.log.ErrorContext(ctx, "hourbell: run failed", "error", err)
	return err
}

func (s *Scheduler) run(ctx context.Context) error {
	if err := s.retryStart(ctx, s.store.CheckMigrated); err != nil {
		return err
	}
	var stop func()
	register := func(ctx context.Context) (err error) {
		stop, err = s.startWorker(ctx)
		return err
	}
	if err := s.retryStart(ctx, register); err != nil {
		return err
	}
	defer stop()
	if err := s.retryStart(ctx, s.firstSync); err != nil {
		return err
	}
	s.noteSynced()
	s.log.InfoContext(ctx, "hourbell: running", "worker", s.worker.ID, "namespace", s.cfg.Namespace,
		"jobs", len(s.catalog.jobs), "schedules", len(s.catalog.definitions), "poll", s.cfg.PollInterval)
	s.runLoop(ctx)
	s.log.InfoContext(ctx, "hourbell: stopped", "worker", s.worker.ID)
	return nil
}

// firstSync syncs at the start of Run. If missing schedules cannot be restored,
// Run starts anyway, so that the others fire. The regular check tries again.
func (s *Scheduler) firstSync(ctx context.Context) error {
	err := s.sync(ctx)
	if errors.Is(err, errNoEffect) {
		s.log.ErrorContext(ctx, "hourbell: sync incomplete", "error", err, "retry", timing.CheckEvery)
		return nil
	}
	return err
}

// startLogEvery is how often retryStart logs that it waits.
const startLogEvery = time.Minute

// retryStart calls a step of the start again, with backoff, while it fails for
// a reason that may pass.
func (s *Scheduler) retryStart(ctx context.Context, step func(context.Context) error) error {
	backoff := timing.Backoff{Min: time.Second, Max: 30 * time.Second}
	var logged time.Time
	for {
		err := step(ctx)
		refused := errors.Is(err, errRemovesAll)
		waits := refused || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)
		if err == nil || !waits || ctx.Err() != nil {
			return err
		}
		if now := timing.Now(); logged.IsZero() || timing.Elapsed(logged, now) >= startLogEvery {
			logged = now
			level, message := slog.LevelWarn, "hourbell: waiting for the database"
			if refused {
				level, message = slog.LevelError, "hourbell: sync refused"
			}
			s.log.Log(ctx, level, message, "error", err)
		}
		timing.Sleep(ctx, timing.Jitter(backoff.Next()))
	}
}

// runLoop ticks until ctx ends.
func (s *Scheduler) runLoop(ctx context.Context) {
	pacer, warmUp := timing.NewPacer(s.cfg.PollInterval), newWarmUp(s)
	defer warmUp.wait()
	for ctx.Err() == nil {
		s.resyncIfNeeded(ctx)
		p, err := s.tick(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			now := s.estimatedNow()
			pause := pacer.After(p.summary(), now)
			end := time.Now().Add(pause)
			// The pause ends at the wake-up time, unless this replica polls
			// before it or yields after it.
			if now.Add(pause).Equal(p.report.WakeAt) {
				warmUp.beforeSlot(ctx, p.report.WakeAt, end)
			}
			timing.SleepUntil(ctx, end)
		default:
			pause := pacer.AfterFailure()
			s.log.ErrorContext(ctx, "hourbell: tick failed", "error", err, "retry", pause)
			timing.Sleep(ctx, pause)
		}
	}
}

// Tick makes one pass of the loop: it claims due schedules and fires or skips
// their slots, until nothing is due. If schedules come due faster than it can
// fire them, it returns after Config.PollInterval. Concurrent calls run one
// after the other.
//
// Hosts call Run, which also syncs the definitions and sends heartbeats. Tick
// does neither; it serves tests and hosts with a loop of their own.
//
// When ctx ends, Tick claims nothing more. The fire in progress commits or
// rolls back within about 4 s. If there is an error, the report says what was
// done before it.
func (s *Scheduler) Tick(ctx context.Context) (TickReport, error) {
	p, err := s.tick(ctx)
	return p.report, err
}

func (s *Scheduler) tick(ctx context.Context) (*pass, error) {
	s.loop.ticking.Lock()
	defer s.loop.ticking.Unlock()
	p := &pass{scheduler: s, calendars: s.newCalendars()}
	workCtx, cancel := timing.DelayCancel(ctx, stopTimeout)
	defer cancel()
	if s.cfg.OnTick != nil {
		defer func() { s.cfg.OnTick(p.report) }()
	}
	idle, err := p.fireOnTime(ctx, workCtx)
	if err == nil && !idle {
		err = p.claimAndFire(ctx, workCtx)
	}
	return p, err
}

// pass is the work of one tick. Its connections share it.
//
// Its methods take up to two contexts. When ctx ends, they start nothing more.
// workCtx ends stopTimeout later, so that work in progress can finish.
type pass struct {
	scheduler *Scheduler

	mu           sync.Mutex // guards the fields below
	report       TickReport
	idleAt       time.Time // database time of the last claim that found nothing
	heldByOthers bool      // other workers held due rows then
	calendars    *calendars
}

// claimAndFire claims due schedules and fires or skips their slots, until
// nothing is due. If the first claim returns a full batch, further connections
// claim too. If one of them fails, the others stop.
func (p *pass) claimAndFire(ctx, workCtx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	first, full, err := p.claim(workCtx, time.Time{})
	if err != nil || len(first.Claims) == 0 {
		return err
	}
	connections := 1
	if full {
		connections = p.scheduler.connections()
	}
	claimCtx, stopOthers := context.WithCancel(ctx)
	defer stopOthers()
	return parallel.Run(connections, func(i int) (err error) {
		defer func() {
			if err != nil {
				stopOthers()
			}
		}()
		result := first
		if i > 0 {
			result, _, err = p.claim(workCtx, first.At)
		}
		for err == nil && len(result.Claims) > 0 {
			if err := p.process(claimCtx, workCtx, result.Claims); err != nil {
				return err
			}
			switch {
			case result.At.Sub(first.At) >= p.scheduler.cfg.PollInterval:
				p.noteMoreDue(result.At)
				return nil
			case claimCtx.Err() != nil:
				return ctx.Err() // nil if another connection failed, which returns its error
			}
			result, _, err = p.claim(workCtx, first.At)
		}
		return err
	})
}

// claimedSchedule is a claimed schedule with the decision about it.
type claimedSchedule struct {
	storage.Claim
	decision
	jobs []storage.JobSpec
}

// process decides and fires one batch of claims. It releases the claims that it
// neither settles nor records as failed.
func (p *pass) process(ctx, workCtx context.Context, claims []storage.Claim) error {
	s := p.scheduler
	s.recordTakeovers(workCtx, claims)
	ready, released, failed := p.decideAll(claims) // foreign claims are released
	batches := splitBatches(ready)
	// Claims older than half of LockTTL are released and claimed again, so that
	// no lock expires while its holder still works.
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LockTTL/2)
	defer cancel()
	var err error
	for len(batches) > 0 && err == nil && ctx.Err() == nil {
		batch := batches[0]
		batches = batches[1:]
		var lost []storage.Claim
		lost, err = p.fire(workCtx, batch)
		// A claim is also lost if the definition has changed or the clock was
		// stepped back. This worker then still holds the lock. The release of
		// any other lost claim changes nothing.
		released = append(released, lost...)
		switch {
		case err == nil:
			s.growBatch()
		case isSystemic(workCtx, err, len(batch)):
			s.shrinkBatch(errors.Is(err, errEnqueuerTimeout))
			batches = append(batches, batch) // to be released
			err = fmt.Errorf("hourbell: fire %d schedules: %w", len(batch), err)
		case len(batch) == 1:
			failed, err = append(failed, s.newFailure(batch[0], err)), nil
		default: // halve the batch until the schedule that fails is alone
			batches, err = append(batches, batch[:len(batch)/2], batch[len(batch)/2:]), nil
		}
	}
	for _, batch := range batches {
		for _, c := range batch {
			released = append(released, c.Claim)
		}
	}
	return errors.Join(err, p.recordFailures(workCtx, failed), s.release(workCtx, released))
}

// isSystemic reports whether a batch failed for a reason that concerns no
// single schedule: the database is unavailable or busy, a deadline has passed,
// or a call was canceled. The whole batch is then released. If the Enqueuer
// exceeds its deadline with only one schedule, that schedule is the reason.
func isSystemic(ctx context.Context, err error, batchSize int) bool {
	if ctx.Err() == nil && errors.Is(err, errEnqueuerTimeout) {
		return batchSize > 1
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled) || ctx.Err() != nil
}

// decideAll decides every claim. It separates foreign claims, whose definition
// this process does not declare (rule D8), and claims that cannot be decided.
func (p *pass) decideAll(claims []storage.Claim) (ready []*claimedSchedule, foreign []storage.Claim, failed []storage.Failure) {
	s := p.scheduler
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, claim := range claims {
		if !s.catalog.declares(claim.ID, claim.DefinitionHash) {
			s.exclude(claim)
			foreign = append(foreign, claim)
			continue
		}
		declared := s.catalog.definitions[claim.ID]
		c := &claimedSchedule{Claim: claim, jobs: declared.jobs}
		slots, err := p.calendars.get(declared.Cron, declared.TimeZone)
		if err == nil {
			c.decision, err = decide(claim, declared.Grace, slots)
		}
		if err != nil {
			failed = append(failed, s.newFailure(c, err))
			continue
		}
		ready = append(ready, c)
	}
	return ready, foreign, failed
}

// count adds what a connection has done to the report.
func (p *pass) count(done TickReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Claimed += done.Claimed
	p.report.Fired += done.Fired
	p.report.Skipped += done.Skipped
	p.report.Enqueued += done.Enqueued
	p.report.Failed += done.Failed
	p.report.LockLost += done.LockLost
}

// noteIdle records that no claimable schedule was due at a time, and when to
// wake. If several connections report, the report with the latest time counts.
// If they report the same time, as with a test's clock, the latest wake-up
// counts: that connection asked after the others had fired.
func (p *pass) noteIdle(at, wakeAt time.Time, heldByOthers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	outdated := at.Equal(p.idleAt) && !wakeAt.IsZero() && wakeAt.Before(p.report.WakeAt)
	if at.Before(p.idleAt) || outdated {
		return
	}
	p.idleAt, p.report.WakeAt, p.heldByOthers = at, wakeAt, heldByOthers
	loop := &p.scheduler.loop
	loop.mu.Lock()
	defer loop.mu.Unlock()
	loop.lookahead.MoveTo(at)
}

// noteMoreDue records that the tick ends although schedules may still be due.
func (p *pass) noteMoreDue(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.WakeAt = at
}

// summary returns what the pacer needs to know of the tick.
func (p *pass) summary() timing.Tick {
	return timing.Tick{At: p.idleAt, WakeAt: p.report.WakeAt, Claimed: p.report.Claimed > 0, HeldByOthers: p.heldByOthers}
}
