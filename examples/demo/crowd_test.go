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

// The crowd is the demo with many schedules that fire each second, and with locks and leases so short that what a
// killed process held is soon taken over.
const (
	crowdLock  = 2 * time.Second
	crowdLease = 1500 * time.Millisecond
	slowJob    = 3 * time.Second // outlives its lease, if that were not extended
)

func crowdConfig(log *slog.Logger) hourbell.Config {
	definitions := make([]hourbell.Definition, 20)
	for i := range definitions {
		definitions[i] = hourbell.Definition{
			ID: fmt.Sprintf("every-second-%02d", i), Cron: "* * * * * *", Target: hourbell.Group("pair"), EnabledByDefault: true,
		}
	}
	return hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "left", Group: "pair"}, {Name: "right", Group: "pair"}, {Name: "slow"}},
		Definitions: definitions, LockTTL: crowdLock, PollInterval: time.Second, Grace: 5 * time.Second, Logger: log,
	}
}

// runCrowd is a process of the crowd.
func runCrowd(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	db, err := openDatabase(ctx, log)
	if err != nil {
		return err
	}
	scheduler, err := hourbell.New(store.New(db), crowdConfig(log))
	if err != nil {
		return err
	}
	w := newWorker(scheduler, log)
	w.lease = crowdLease
	w.execute = func(ctx context.Context, run hourbell.JobRun) error {
		if run.Job == "slow" {
			select {
			case <-time.After(slowJob):
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	}
	return serve(ctx, scheduler, w)
}

// crowd is a test's view of the processes and their tables.
type crowd struct {
	*testing.T
	db        *dbtest.DB
	scheduler *hourbell.Scheduler // runs no loop: it enqueues, disables and reads
	running   []*process
	killed    []int // process ids
	started   int
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	db := dbtest.Postgres(t)
	scheduler, err := hourbell.New(store.New(db.DB), crowdConfig(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	return &crowd{T: t, db: db, scheduler: scheduler}
}

// start starts another process. Its connections carry its number, so that they can be told from others.
func (c *crowd) start() {
	c.Helper()
	c.started++
	name := fmt.Sprintf("crowd-%d", c.started)
	p := start(c.T, "crowd", c.TempDir(), c.db.DSN+"&application_name="+name)
	p.name = name
	c.running = append(c.running, p)
}

// kill kills the process in question and starts another in its place.
func (c *crowd) kill(which func(*process) bool) {
	c.Helper()
	for i, p := range c.running {
		if which(p) {
			p.kill()
			c.killed = append(c.killed, p.Process.Pid)
			c.running = slices.Delete(c.running, i, i+1)
			c.start()
			return
		}
	}
	require.FailNow(c, "the process to be killed is not running")
}

// text reads one value as text, "" where there is none.
func (c *crowd) text(query string, args ...any) string {
	c.Helper()
	var list []string
	require.NoError(c, c.db.Raw(query, args...).Scan(&list).Error)
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// fire is what the table of runs says of one slot.
type fire struct {
	Slot, Queued time.Time
	Runs, Jobs   int64
}

func (c *crowd) fires(schedule string) (list []fire) {
	c.Helper()
	require.NoError(c, c.db.Raw(`
SELECT scheduled_for AS slot, min(queued_at) AS queued, count(*) AS runs, count(DISTINCT job) AS jobs
FROM hourbell_job_runs WHERE trigger = 'CRON' AND schedule_id = ? GROUP BY scheduled_for`, schedule).Scan(&list).Error)
	return list
}

// skip is a SKIPPED event.
type skip struct {
	At, From, Through time.Time
	Count             int
}

func (c *crowd) skips(schedule string) (list []skip) {
	c.Helper()
	require.NoError(c, c.db.Raw(`
SELECT at, slot_from AS "from", slot_to AS through, slot_count AS count
FROM hourbell_events WHERE kind = 'SKIPPED' AND schedule_id = ?`, schedule).Scan(&list).Error)
	return list
}

// extent is the first slot that the schedule had, and the end of the last: within two seconds of its creation, and of
// its being disabled.
func (c *crowd) extent(schedule string) (first, end time.Time) {
	c.Helper()
	var created, disabled time.Time
	require.NoError(c, c.db.Raw(`
SELECT s.created_at, (SELECT max(at) FROM hourbell_events e WHERE e.schedule_id = s.id AND kind = 'DISABLED'),
       least((SELECT min(scheduled_for) FROM hourbell_job_runs r WHERE r.schedule_id = s.id),
             (SELECT min(slot_from) FROM hourbell_events e WHERE e.schedule_id = s.id)),
       s.settled_until + interval '1 second'
FROM hourbell_schedules s WHERE s.id = ?`, schedule).Row().Scan(&created, &disabled, &first, &end))
	require.WithinDuration(c, created, first, 2*time.Second)
	require.WithinDuration(c, disabled, end, 2*time.Second)
	return first, end
}
