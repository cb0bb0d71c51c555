package hourbell

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Schedule is a definition as stored, with its state. Instants are UTC; a zero instant is none.
type Schedule struct {
	Namespace, ID, Name, Description string
	Cron, TimeZone                   string
	TargetKind                       string // ALL_JOBS, GROUP or JOBS
	Target                           string // empty, the group, or a JSON array of job names
	Grace                            time.Duration
	DefinitionHash                   string
	Enabled                          bool
	EnabledNote                      string    // the note of whoever enabled or disabled it last
	NextRunAt                        time.Time // none while disabled or removed
	LastRunAt                        time.Time // when it last fired
	LastScheduledFor                 time.Time // the slot that fired then
	SettledUntil                     time.Time // the last slot fired or recorded as skipped
	LockedAt                         time.Time
	LockedBy                         string // a Worker's id
	LockToken                        int64  // the row's version
	OwedSince                        time.Time
	Failures                         int // attempts to enqueue that failed since the last that did not
	LastError                        string
	HeldUntil                        time.Time // no attempt before this
	RemovedAt                        time.Time // when it was found missing from code
	CreatedAt                        time.Time
	UpdatedAt                        time.Time // when it was last claimed, fired, held back, given back or settled
}

// TickReport says what one pass of the loop did.
type TickReport struct {
	Claimed  int // claims, of which a schedule may have several; a fire that needed none counts as one
	Fired    int // slots
	Skipped  int // slots
	Enqueued int // runs
	Failed   int // attempts to enqueue
	LockLost int // claims that no longer held when they were to be settled
	// Wake is the earliest instant, by the database's clock, at which another pass can find something; zero for never.
	Wake time.Time
	at   time.Time // the clock's instant in the last claim
	busy bool      // another worker holds what is due
}

// Run syncs the definitions and then loops until ctx ends: it ticks, and sleeps until the next slot, PollInterval at
// most. It returns nil after a clean stop, within about five seconds of ctx's end. It returns an error, and has
// written nothing, when the database is away, is not migrated, or refuses the definitions at the start; later
// faults of the database are logged and outlived. A Scheduler runs once: it is one Worker, which starts and stops.
func (s *Scheduler) Run(ctx context.Context) error {
	if err := s.Sync(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	if s.ran.Swap(true) {
		return errors.New("hourbell: this Scheduler was run before; make another with New")
	}
	stop, err := s.startWorker(ctx)
	if err != nil {
		s.ran.Store(false)
		return unlessStopped(ctx, err)
	}
	defer stop()
	s.log.InfoContext(ctx, "hourbell: running", "worker", s.worker.ID, "namespace", s.cfg.Namespace,
		"jobs", len(s.catalog.jobs), "schedules", len(s.catalog.definitions), "poll", s.cfg.PollInterval)
	s.loop(ctx)
	s.log.InfoContext(ctx, "hourbell: stopped", "worker", s.worker.ID)
	return nil
}

// unlessStopped is an error of the start, unless it is that of being told to stop.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever ended ctx knows why
	}
	return err
}

// loop ticks until ctx ends.
func (s *Scheduler) loop(ctx context.Context) {
	pace, warmup := newPace(s.cfg.PollInterval), newWarmup(s)
	defer warmup.wait()
	for ctx.Err() == nil {
		s.defend(ctx)
		report, err := s.Tick(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			now := s.estimate()
			pause := pace.after(report, now)
			if now.Add(pause).Equal(report.Wake) { // whoever lets others go first has time
				pause = warmup.before(ctx, report.Wake, pause)
			}
			sleepExactly(ctx, pause)
		default:
			pause := pace.afterFault()
			s.log.ErrorContext(ctx, "hourbell: tick failed", "error", err, "retry", pause)
			sleep(ctx, pause)
		}
	}
}

// Tick makes one pass: it claims what is due, decides, and fires or skips it, until nothing is due, or for PollInterval
// where more comes due meanwhile than it can fire. Ticks of one Scheduler follow one another. The report says what was done even
// where there is an error.
//
// When ctx ends, the fire under way is finished or rolled back within about four seconds and nothing new is claimed.
func (s *Scheduler) Tick(ctx context.Context) (TickReport, error) {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	pass := &pass{Scheduler: s, calendars: map[[2]string]*calendar{}}
	lasting, cancel := outlive(ctx, stopGrace)
	defer cancel()
	if s.cfg.OnTick != nil {
		defer func() { s.cfg.OnTick(pass.report) }()
	}
	if over, err := pass.fireOnTime(ctx, lasting); err != nil || over {
		return pass.report, err
	}
	err := pass.claimAndFire(ctx, lasting)
	return pass.report, err
}

// pass is the work of one tick.
type pass struct {
	*Scheduler
	guard     sync.Mutex // of what follows, and of what ticking guards, among the lanes
	report    TickReport
	calendars map[[2]string]*calendar
}

// claimAndFire claims what is due, decides, and fires or skips it, until nothing is left. If the first claim is full, other
// lanes help.
func (p *pass) claimAndFire(stop, ctx context.Context) error {
	if err := stop.Err(); err != nil {
		return err
	}
	first, full, err := p.claim(ctx, time.Time{})
	if err != nil || len(first.Rows) == 0 {
		return err
	}
	lanes := 1
	if full {
		lanes = p.lanes()
	}
	going, halt := context.WithCancel(stop)
	defer halt()
	return sideBySide(lanes, func(lane int) (err error) {
		defer func() {
			if err != nil {
				halt() // the other lanes finish what they are at
			}
		}()
		claims := first
		if lane > 0 {
			claims, _, err = p.claim(ctx, first.At)
		}
		for err == nil && len(claims.Rows) > 0 {
			if err := p.process(going, ctx, claims.Rows); err != nil {
				return err
			}
			switch {
			case claims.At.Sub(first.At) >= p.cfg.PollInterval: // the host is told what was done, though it has no end
				p.again(claims.At)
				return nil
			case going.Err() != nil:
				return stop.Err()
			}
			claims, _, err = p.claim(ctx, first.At)
		}
		return err
	})
}

// count adds what a lane has done to the report.
func (p *pass) count(done TickReport) {
	p.guard.Lock()
	defer p.guard.Unlock()
	p.report.Claimed += done.Claimed
	p.report.Fired += done.Fired
	p.report.Skipped += done.Skipped
	p.report.Enqueued += done.Enqueued
	p.report.Failed += done.Failed
	p.report.LockLost += done.LockLost
}

// rest notes that nothing was due at an instant that this process could claim. Of several lanes the last to say so is right,
// and of those that say so at one instant the one that sees furthest, for it was asked after the others had fired.
func (p *pass) rest(at, wake time.Time, busy bool) {
	p.guard.Lock()
	defer p.guard.Unlock()
	overtaken := at.Equal(p.report.at) && !wake.IsZero() && wake.Before(p.report.Wake)
	if !at.Before(p.report.at) && !overtaken {
		p.report.at, p.report.Wake, p.report.busy = at, wake, busy
		p.coming.moveTo(at)
	}
}

// again ends a pass that has not come to rest.
func (p *pass) again(at time.Time) {
	p.guard.Lock()
	defer p.guard.Unlock()
	p.report.Wake = at
}

// due is a claimed schedule with what was decided for it.
type due struct {
	Claim
	decision
	jobs []FireJob
}

// process decides and fires one batch of claims. Whatever it does not get to is given back.
func (p *pass) process(stop, ctx context.Context, claims []Claim) error {
	p.noteTakeovers(ctx, claims)
	p.guard.Lock()
	ready, back, failed := p.decideAll(claims)
	p.guard.Unlock()
	fires := split(ready)
	// Past half the lock's life the rest is given back, to be claimed afresh.
	stop, cancel := context.WithTimeout(stop, p.cfg.LockTTL/2)
	defer cancel()
	var err error
	for len(fires) > 0 && err == nil && stop.Err() == nil {
		batch := fires[0]
		fires = fires[1:]
		var lost []Claim
		lost, err = p.fire(ctx, batch)
		back = append(back, lost...)
		switch {
		case err == nil:
			p.grow()
		case p.shared(ctx, err, batch):
			p.shrink(errors.Is(err, errEnqueuerLate))
			fires = append(fires, batch)
			err = fmt.Errorf("hourbell: fire %d schedules: %w", len(batch), err)
		case len(batch) == 1:
			failed, err = append(failed, p.failure(batch[0], err)), nil
		default:
			fires, err = append(fires, batch[:len(batch)/2], batch[len(batch)/2:]), nil
		}
	}
	for _, batch := range fires {
		for _, d := range batch {
			back = append(back, d.Claim)
		}
	}
	return errors.Join(err, p.hold(ctx, failed), p.giveBack(ctx, back))
}

// shared says whether a failure is nobody's own: the database is away or a deadline has passed, so that the batch is
// to be given back whole. A schedule that ran into a deadline all alone has only itself to blame.
func (p *pass) shared(ctx context.Context, err error, batch []*due) bool {
	if ctx.Err() == nil && errors.Is(err, errEnqueuerLate) {
		return len(batch) > 1
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
}

// decideAll decides every claim, and puts aside those that this process must not fire and those that cannot be decided.
func (p *pass) decideAll(claims []Claim) (ready []*due, foreign []Claim, failed []Failure) {
	for _, c := range claims {
		own := p.catalog.definitions[c.ID]
		if own == nil || own.hash != c.DefinitionHash {
			p.except(c)
			foreign = append(foreign, c)
			continue
		}
		d := &due{Claim: c, jobs: own.jobs}
		slots, err := calendarOf(p.calendars, own.Cron, own.TimeZone)
		if err == nil {
			d.decision, err = decide(c, own.Grace, slots)
		}
		if err != nil {
			failed = append(failed, p.failure(d, err))
			continue
		}
		ready = append(ready, d)
	}
	return ready, foreign, failed
}
