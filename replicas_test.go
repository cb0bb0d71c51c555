package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// fleet is some replicas on one database, each with a pool of its own, and one clock.
type fleet struct {
	t       *testing.T
	db      *dbtest.DB
	cfg     hourbell.Config
	start   time.Time
	clock   *clock
	random  *rand.Rand
	members []*member
	mishaps bool                // replicas fail and die, answers are lost, the clock is stepped back
	heir    *hourbell.Scheduler // ticks while a member is paused

	mu    sync.Mutex // guards what follows
	total hourbell.TickReport
	errs  int
}

// member is one replica.
type member struct {
	*hourbell.Scheduler
	store  hourbell.Store
	random *rand.Rand
	report hourbell.TickReport
	err    error
}

func newFleet(t *testing.T, db *dbtest.DB, replicas, schedules int, mishaps bool) *fleet {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	// A day before the clocks change in Berlin.
	start := time.Date(2026, 3, 28, 6, 0, 0, 0, time.UTC)
	f := &fleet{t: t, db: db, start: start, clock: newClock(start), random: rand.New(rand.NewPCG(seed, 0)), mishaps: mishaps}
	f.cfg = definitions(f.clock, variedDefinitions(schedules)...)
	f.heir = synced(t, db.DB, f.cfg)
	for i := range replicas {
		m := &member{random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		m.store = store.New(db.Open(t, nil))
		if mishaps {
			m.store = &stepped{m.store, func(step string) error { return f.mishap(m, step) }}
		}
		f.members = append(f.members, m)
		f.startAnew(m)
	}
	return f
}

// variedDefinitions are n enabled schedules, from minutes to days apart, in several zones, of one job or two.
func variedDefinitions(n int) []hourbell.Definition {
	expressions := []string{
		"* * * * *", "*/2 * * * *", "*/5 * * * *", "3/10 * * * *", "*/15 * * * *", "7,37 * * * *", "0 * * * *",
		"*/20 8-18 * * *", "0 */2 * * *", "30 2 * * *", "0 9 * * 1-5", "@daily",
	}
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourly(fmt.Sprintf("s%04d", i))
		list[i].Cron, list[i].TimeZone = expressions[i%len(expressions)], zones[i%len(zones)]
		if i%3 == 0 {
			list[i].Target = hourbell.Group("feed")
		}
	}
	return list
}

// startAnew makes a member a new process, which knows nothing of what the last one was at.
func (f *fleet) startAnew(m *member) { m.Scheduler = replicaOn(f.t, m.store, f.cfg) }

var errMishap = errors.New("mishap")

// mishap is what may befall a member at a step: it fails, before the step has happened or after, or it is stopped
// between claim and fire for longer than its locks live, while another takes them over.
func (f *fleet) mishap(m *member, step string) error {
	switch n := m.random.IntN(60); {
	case n == 0:
		return errMishap
	case n == 1:
		return fmt.Errorf("%w: %w", hourbell.ErrUnavailable, errMishap)
	case n < 6 && step == "before begin":
		f.clock.Advance(5*time.Minute + time.Second)
		report, err := f.heir.Tick(context.Background())
		f.count(report)
		return err
	}
	return nil
}

func (f *fleet) count(r hourbell.TickReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total.Fired += r.Fired
	f.total.Skipped += r.Skipped
	f.total.LockLost += r.LockLost
	f.total.Failed += r.Failed
}

// tick makes all members tick at once.
func (f *fleet) tick() {
	var all sync.WaitGroup
	for _, m := range f.members {
		all.Go(func() { m.report, m.err = m.Tick(context.Background()) })
	}
	all.Wait()
	for _, m := range f.members {
		f.count(m.report)
		if m.err == nil {
			continue
		}
		require.True(f.t, f.mishaps, "tick: %v", m.err)
		require.ErrorIs(f.t, m.err, errMishap)
		f.errs++
		if f.random.IntN(2) == 0 {
			f.startAnew(m)
		}
	}
}

// jump moves the clock: mostly a little, at times past grace or past a lock's life.
func (f *fleet) jump() {
	between := func(least, most time.Duration) {
		f.clock.Advance(least + time.Duration(f.random.Int64N(int64(most-least))))
	}
	switch n := f.random.IntN(100); {
	case n < 75:
		between(20*time.Second, time.Minute)
	case n < 90:
		between(time.Minute, 4*time.Minute)
	case n < 98 || !f.mishaps:
		between(4*time.Minute, 20*time.Minute)
	default:
		between(-3*time.Minute, -time.Second)
	}
}

// until jumps and ticks until so many slots have fired, and every mishap has befallen somebody, with one gap of ten
// days on the way.
func (f *fleet) until(fires int) {
	spared := func() bool { return f.mishaps && (f.total.LockLost == 0 || f.errs == 0) }
	for gap := false; f.total.Fired < fires || spared(); f.jump() {
		if !gap && f.total.Fired > fires/2 {
			gap = true
			f.clock.Advance(10*24*time.Hour + 7*time.Minute)
		}
		f.tick()
	}
	// All's well in the end: nothing is held back or locked any more when the last slots are fired.
	f.mishaps = false
	for _, m := range f.members {
		if faulty, ok := m.store.(*stepped); ok {
			m.store = faulty.Store
			f.startAnew(m)
		}
	}
	for range 3 {
		f.clock.Advance(5 * time.Minute)
		f.tick()
	}
	f.t.Logf("%d slots fired, %d skipped; %d ticks and %d attempts failed, %d locks were lost",
		f.total.Fired, f.total.Skipped, f.errs, f.total.Failed, f.total.LockLost)
}

// account checks the account of every schedule, and that nothing is left over.
func (f *fleet) account() {
	t, s, end := f.t, f.members[0].Scheduler, f.clock.Now()
	for _, d := range f.cfg.Definitions {
		account(t, s, d, f.start, end)
		next, err := d.Next(end)
		require.NoError(t, err)
		stored := row(t, s, d.ID)
		require.Equal(t, next, stored.NextRunAt, d.ID)
		require.Empty(t, stored.LockedBy, d.ID)
		require.Zero(t, stored.OwedSince, d.ID)
	}
}

// account walks over every slot of a schedule after one instant and up to another, without the help of what has
// decided them: each must have fired once or be in one skipped range.
func account(t testing.TB, s *hourbell.Scheduler, d hourbell.Definition, after, until time.Time) {
	t.Helper()
	walk, err := d.Between(after.Add(time.Second).Truncate(time.Second), until.Add(time.Nanosecond))
	require.NoError(t, err)
	times := make(map[time.Time]int, len(walk)) // how often a slot was accounted for
	for _, slot := range walk {
		times[slot] = 0
	}
	jobsPerFire := 1
	if d.Target.String() == hourbell.Group("feed").String() {
		jobsPerFire = 2
	}
	runs := allRunsOf(t, s, d.ID)
	fires := slots(runs)
	require.Len(t, runs, jobsPerFire*len(fires), "%s: a fire is all or nothing", d.ID)
	for _, slot := range fires {
		require.Contains(t, times, slot, "%s: fired what is no slot", d.ID)
		times[slot]++
	}
	for _, run := range runs {
		require.False(t, run.QueuedAt.Before(run.ScheduledFor), "%s: %v fired early, at %v", d.ID, run.ScheduledFor, run.QueuedAt)
	}
	events := eventsOf(t, s, d.ID, "SKIPPED")
	require.Less(t, len(events), 1000)
	for _, e := range events {
		covered := 0
		for _, slot := range walk {
			if !slot.Before(e.SlotFrom) && !slot.After(e.SlotTo) {
				times[slot]++
				covered++
			}
		}
		require.Contains(t, times, e.SlotFrom, d.ID)
		require.Contains(t, times, e.SlotTo, d.ID)
		require.Equal(t, min(covered, 1000), e.SlotCount, d.ID)
		require.Equal(t, covered > 1000, e.Detail != "", d.ID)
	}
	for slot, n := range times {
		require.Equal(t, 1, n, "%s: the slot %v was accounted for %d times", d.ID, slot, n)
	}
}

// allRunsOf is runsOf without its limit.
func allRunsOf(t testing.TB, s *hourbell.Scheduler, id string) (list []hourbell.JobRun) {
	t.Helper()
	for query := (hourbell.RunQuery{ScheduleID: id, Limit: 1000}); ; query.Before = list[len(list)-1].ID {
		page, err := s.Runs(t.Context(), query)
		require.NoError(t, err)
		if list = append(list, page...); len(page) < query.Limit {
			return list
		}
	}
}

// The contract as a whole (T2, L1, L3, M1, M2, M3): eight replicas at once, through jumps of the clock past grace and
// a gap of days, fire every slot once or record it as skipped once.
func TestReplicasFireEverySlotOnce(t *testing.T) {
	fires, schedules := 10_000, 500
	if testing.Short() {
		fires, schedules = 1000, 100
	}
	f := newFleet(t, dbtest.Postgres(t), 8, schedules, false)
	f.until(fires)
	require.GreaterOrEqual(t, f.total.Fired+f.total.Skipped, 2*fires)
	f.account()
}

// The same on SQLite, with two replicas.
func TestTwoReplicasOnSQLiteFireEverySlotOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("long on SQLite, which is Go, under the race detector")
	}
	f := newFleet(t, dbtest.SQLite(t), 2, 60, false)
	f.until(1000)
	f.account()
}

// The same (and E2, E4, L2, L4, T5) while statements fail, answers are lost, replicas die with what they hold and are
// started anew, and the clock is stepped back at times.
func TestReplicasThatFailAndDieFireEverySlotOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		fires, schedules := 3000, 120
		switch {
		case testing.Short():
			fires, schedules = 300, 60
		case db.Dialect == "sqlite":
			fires = 600
		}
		f := newFleet(t, db, 4, schedules, true)
		f.until(fires)
		f.account()
		require.NotZero(t, f.total.LockLost)
		require.NotZero(t, f.errs)
	})
}
