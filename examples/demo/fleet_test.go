package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// A replica of the fleet is the demo with many schedules that fire each
// second. Locks and leases are short, so that the claims and runs of a killed
// process are soon taken over.
const (
	fleetLockTTL = 2 * time.Second
	fleetLease   = 1500 * time.Millisecond
	slowJobLasts = 3 * time.Second // longer than its lease, which must be extended
)

func fleetConfig(log *slog.Logger) hourbell.Config {
	definitions := make([]hourbell.Definition, 20)
	for i := range definitions {
		definitions[i] = hourbell.Definition{
			ID: fmt.Sprintf("every-second-%02d", i), Cron: "* * * * * *", Target: hourbell.Group("pair"), EnabledByDefault: true,
		}
	}
	return hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "left", Group: "pair"}, {Name: "right", Group: "pair"}, {Name: "slow"}},
		Definitions: definitions, LockTTL: fleetLockTTL, PollInterval: time.Second, Grace: 5 * time.Second, Logger: log,
	}
}

// runReplica is the main function of a replica.
func runReplica(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	db, err := openDatabase(ctx, log)
	if err != nil {
		return err
	}
	scheduler, err := hourbell.New(store.New(db), fleetConfig(log))
	if err != nil {
		return err
	}
	w := newWorker(scheduler, log)
	w.lease = fleetLease
	w.execute = func(ctx context.Context, run hourbell.JobRun) error {
		if run.Job == "slow" {
			select {
			case <-time.After(slowJobLasts):
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	}
	return runLoop(ctx, scheduler, w)
}

// fleet is a group of replicas on one database.
type fleet struct {
	*testing.T
	db        *dbtest.DB
	scheduler *hourbell.Scheduler // runs no loop: the test uses it to enqueue, disable and read
	running   []*process
	killed    []int // process ids
	started   int
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	db := dbtest.Postgres(t)
	scheduler, err := hourbell.New(store.New(db.DB), fleetConfig(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	return &fleet{T: t, db: db, scheduler: scheduler}
}

// start starts a replica. The application name of its connections identifies
// it.
func (f *fleet) start() {
	f.Helper()
	f.started++
	name := fmt.Sprintf("replica-%d", f.started)
	p := start(f.T, "replica", f.TempDir(), f.db.DSN+"&application_name="+name)
	p.name = name
	f.running = append(f.running, p)
}

// kill kills the first replica for which match returns true, and starts
// another.
func (f *fleet) kill(match func(*process) bool) {
	f.Helper()
	for i, p := range f.running {
		if match(p) {
			p.kill()
			f.killed = append(f.killed, p.Process.Pid)
			f.running = slices.Delete(f.running, i, i+1)
			f.start()
			return
		}
	}
	require.FailNow(f, "the process to kill is not running")
}

// queryText returns the first row of a query of one column, or "" if there is
// none.
func (f *fleet) queryText(query string, args ...any) string {
	f.Helper()
	var list []string
	require.NoError(f, f.db.Raw(query, args...).Scan(&list).Error)
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// slotFire is a fire as the table of runs has it.
type slotFire struct {
	Slot, Queued time.Time
	Runs, Jobs   int64
}

func (f *fleet) fires(schedule string) (list []slotFire) {
	f.Helper()
	require.NoError(f, f.db.Raw(`
SELECT scheduled_for AS slot, min(queued_at) AS queued, count(*) AS runs, count(DISTINCT job) AS jobs
FROM hourbell_job_runs WHERE trigger = 'CRON' AND schedule_id = ? GROUP BY scheduled_for`, schedule).Scan(&list).Error)
	return list
}

// slotSkip is a SKIPPED event.
type slotSkip struct {
	At, From, Through time.Time
	Count             int
}

func (f *fleet) skips(schedule string) (list []slotSkip) {
	f.Helper()
	require.NoError(f, f.db.Raw(`
SELECT at, slot_from AS "from", slot_to AS through, slot_count AS count
FROM hourbell_events WHERE kind = 'SKIPPED' AND schedule_id = ?`, schedule).Scan(&list).Error)
	return list
}

// extent returns the first slot of a schedule and the end of its last second.
// They lie within two seconds of its creation and of its being disabled.
func (f *fleet) extent(schedule string) (first, end time.Time) {
	f.Helper()
	var created, disabled time.Time
	require.NoError(f, f.db.Raw(`
SELECT s.created_at, (SELECT max(at) FROM hourbell_events e WHERE e.schedule_id = s.id AND kind = 'DISABLED'),
       least((SELECT min(scheduled_for) FROM hourbell_job_runs r WHERE r.schedule_id = s.id),
             (SELECT min(slot_from) FROM hourbell_events e WHERE e.schedule_id = s.id)),
       s.settled_through + interval '1 second'
FROM hourbell_schedules s WHERE s.id = ?`, schedule).Row().Scan(&created, &disabled, &first, &end))
	require.WithinDuration(f, created, first, 2*time.Second)
	require.WithinDuration(f, disabled, end, 2*time.Second)
	return first, end
}
