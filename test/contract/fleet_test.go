package contract_test

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

// fleet is a group of replicas on one database. Each has its own pool; all
// share one clock.
type fleet struct {
	t         *testing.T
	db        *dbtest.DB
	cfg       hourbell.Config
	start     time.Time
	clock     *clock
	random    *rand.Rand
	members   []*fleetMember
	faults    bool                // replicas fail and die, responses are lost, and the clock is stepped back
	successor *hourbell.Scheduler // ticks while a member is paused

	mu          sync.Mutex          // guards the fields below
	total       hourbell.TickReport // the sum of all reports
	failedTicks int                 // ticks that returned an error
}

// fleetMember is one replica.
type fleetMember struct {
	*hourbell.Scheduler
	store  hourbell.Store
	random *rand.Rand
	report hourbell.TickReport
	err    error
}

// newFleet returns a fleet whose random choices follow from a logged seed.
func newFleet(t *testing.T, db *dbtest.DB, replicas, schedules int, faults bool) *fleet {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	start := time.Date(2026, 3, 28, 6, 0, 0, 0, time.UTC) // the day before the clock change in Berlin
	f := &fleet{t: t, db: db, start: start, clock: newClock(start), random: rand.New(rand.NewPCG(seed, 0)), faults: faults}
	f.cfg = newConfig(f.clock, variedDefinitions(schedules)...)
	f.successor = newSyncedReplica(t, db.DB, f.cfg)
	for i := range replicas {
		m := &fleetMember{random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		m.store = store.New(db.Open(t, nil))
		if faults {
			m.store = &hookedStore{m.store, func(step string) error { return f.injectFault(m, step) }}
		}
		f.members = append(f.members, m)
		f.restart(m)
	}
	return f
}

// variedDefinitions returns n enabled definitions in several zones. They are
// due at intervals from a minute to days, and have one job or two.
func variedDefinitions(n int) []hourbell.Definition {
	expressions := []string{
		"* * * * *", "*/2 * * * *", "*/5 * * * *", "3/10 * * * *", "*/15 * * * *", "7,37 * * * *", "0 * * * *",
		"*/20 8-18 * * *", "0 */2 * * *", "30 2 * * *", "0 9 * * 1-5", "@daily",
	}
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	definitions := make([]hourbell.Definition, n)
	for i := range definitions {
		definitions[i] = hourly(fmt.Sprintf("s%04d", i))
		definitions[i].Cron, definitions[i].TimeZone = expressions[i%len(expressions)], zones[i%len(zones)]
		if i%3 == 0 {
			definitions[i].Target = hourbell.Group("feed")
		}
	}
	return definitions
}

// restart replaces a member by a new process, which knows nothing of the
// previous one's claims.
func (f *fleet) restart(m *fleetMember) { m.Scheduler = newReplicaWithStore(f.t, m.store, f.cfg) }

var errFault = errors.New("injected fault")

// injectFault is the hook of a member with faults. At random it fails the step,
// or pauses the member between claim and fire. The pause lasts until the locks
// of the member have expired and another replica has taken them over.
func (f *fleet) injectFault(m *fleetMember, step string) error {
	switch n := m.random.IntN(60); {
	case n == 0:
		return errFault
	case n == 1:
		return fmt.Errorf("%w: %w", hourbell.ErrUnavailable, errFault)
	case n < 6 && step == "before begin":
		f.clock.Advance(5*time.Minute + time.Second)
		report, err := f.successor.Tick(context.Background())
		f.addReport(report)
		return err
	}
	return nil
}

func (f *fleet) addReport(r hourbell.TickReport) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total.Fired += r.Fired
	f.total.Skipped += r.Skipped
	f.total.LockLost += r.LockLost
	f.total.Failed += r.Failed
}

// tick makes all members tick at the same time. A member whose tick fails may
// restart.
func (f *fleet) tick() {
	var wg sync.WaitGroup
	for _, m := range f.members {
		wg.Go(func() { m.report, m.err = m.Tick(context.Background()) })
	}
	wg.Wait()
	for _, m := range f.members {
		f.addReport(m.report)
		if m.err == nil {
			continue
		}
		require.True(f.t, f.faults, "tick: %v", m.err)
		require.ErrorIs(f.t, m.err, errFault)
		f.failedTicks++
		if f.random.IntN(2) == 0 {
			f.restart(m)
		}
	}
}

// moveClock moves the clock at random: usually by less than a minute, sometimes
// past grace or LockTTL, and with faults sometimes back.
func (f *fleet) moveClock() {
	advanceBetween := func(least, most time.Duration) {
		f.clock.Advance(least + time.Duration(f.random.Int64N(int64(most-least))))
	}
	switch n := f.random.IntN(100); {
	case n < 75:
		advanceBetween(20*time.Second, time.Minute)
	case n < 90:
		advanceBetween(time.Minute, 4*time.Minute)
	case n < 98 || !f.faults:
		advanceBetween(4*time.Minute, 20*time.Minute)
	default:
		advanceBetween(-3*time.Minute, -time.Second)
	}
}

// runUntil ticks until the given number of slots has fired and, with faults, a
// lock was lost and a tick has failed. The clock has one gap of ten days. It
// then ends the faults and settles what is left.
func (f *fleet) runUntil(fires int) {
	lacksFaults := func() bool { return f.faults && (f.total.LockLost == 0 || f.failedTicks == 0) }
	for hadGap := false; f.total.Fired < fires || lacksFaults(); f.moveClock() {
		if !hadGap && f.total.Fired > fires/2 {
			hadGap = true
			f.clock.Advance(10*24*time.Hour + 7*time.Minute)
		}
		f.tick()
	}
	f.faults = false
	for _, m := range f.members {
		if hooked, ok := m.store.(*hookedStore); ok {
			m.store = hooked.Store
			f.restart(m)
		}
	}
	for range 3 { // past the last backoff and lock
		f.clock.Advance(5 * time.Minute)
		f.tick()
	}
	f.t.Logf("%d slots fired, %d skipped; %d ticks and %d attempts failed, %d locks were lost",
		f.total.Fired, f.total.Skipped, f.failedTicks, f.total.Failed, f.total.LockLost)
}

// requireLedgers checks the ledger and the row of each schedule.
func (f *fleet) requireLedgers() {
	t, s, end := f.t, f.members[0].Scheduler, f.clock.Now()
	for _, d := range f.cfg.Definitions {
		requireLedger(t, s, d, f.start, end)
		next, err := d.Next(end)
		require.NoError(t, err)
		stored := readSchedule(t, s, d.ID)
		require.Equal(t, next, stored.NextRunAt, d.ID)
		require.Empty(t, stored.LockedBy, d.ID)
		require.Zero(t, stored.UnfinishedSince, d.ID)
	}
}
