package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

var tables = []string{"hourbell_schedules", "hourbell_job_runs", "hourbell_events", "hourbell_workers", "hourbell_migrations"}

// untouched fails the test if something is written to the database in the meantime, be it the values that were there.
func untouched(t *testing.T, db *dbtest.DB, do func()) {
	t.Helper()
	conn, err := db.SQL().Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	stamp := func() string {
		var all string
		for _, table := range tables {
			query := "SELECT coalesce(string_agg(concat_ws(' ', t.ctid, t.xmin, t.xmax, t.*), E'\n' ORDER BY t.ctid), '') FROM " + table + " t"
			if db.Dialect == "sqlite" {
				query = "PRAGMA data_version" // grows with every commit of another connection that wrote
			}
			var one string
			require.NoError(t, conn.QueryRowContext(t.Context(), query).Scan(&one))
			all += table + ": " + one + "\n"
		}
		return all
	}
	before := stamp()
	do()
	require.Equal(t, before, stamp(), "something was written")
}

// dump reads all rows of a namespace as they are stored.
func dump(t *testing.T, db *dbtest.DB, namespace string) map[string][]map[string]any {
	t.Helper()
	all := map[string][]map[string]any{}
	for _, table := range tables[:4] {
		var list []map[string]any
		require.NoError(t, db.Table(table).Where("namespace = ?", namespace).Order("id").Find(&list).Error)
		all[table] = list
	}
	return all
}

// eachCase runs a subtest for each case on each kind of database. The cases share a database, emptied before each.
func eachCase[Case any](t *testing.T, cases map[string]Case, test func(t *testing.T, db *dbtest.DB, c Case)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				for _, table := range tables[:4] {
					require.NoError(t, db.Exec("DELETE FROM "+table).Error)
				}
				test(t, db, c)
			})
		}
	})
}

// definitions is a Config of definitions alone, on a clock.
func definitions(clock *clock, list ...hourbell.Definition) hourbell.Config {
	return hourbell.Config{Definitions: list, Now: clock.Now}
}

// kinds lists the kinds of a schedule's events, oldest first.
func kinds(t *testing.T, s *hourbell.Scheduler, id string) []string {
	t.Helper()
	var list []string
	for _, e := range eventsOf(t, s, id, "") {
		list = append([]string{e.Kind}, list...)
	}
	return list
}

// skipped describes the skips of a schedule, newest first: reason, from, to and count.
func skipped(t *testing.T, s *hourbell.Scheduler, id string) []string {
	t.Helper()
	var list []string
	for _, e := range eventsOf(t, s, id, "SKIPPED") {
		list = append(list, fmt.Sprintf("%s %s-%s %d", e.Reason, e.SlotFrom.Format(time.TimeOnly), e.SlotTo.Format(time.TimeOnly), e.SlotCount))
	}
	return list
}

// D2: a schedule is disabled until a person enables it.
func TestASyncedScheduleWaitsUntilSomebodyEnablesIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		s := synced(t, db.DB, definitions(c, d))
		require.False(t, row(t, s, "a").Enabled)
		require.Zero(t, row(t, s, "a").NextRunAt)
		c.Advance(3 * time.Hour)
		require.Zero(t, tick(t, s).Claimed)

		require.NoError(t, s.Enable(t.Context(), "a", hourbell.By{Actor: "ann"}))
		c.Advance(time.Hour)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// D2: EnabledByDefault speaks at first sight only.
func TestEnabledByDefaultCountsOnlyAtFirstSight(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		on, off := hourly("on"), hourly("off")
		off.EnabledByDefault = false
		s := synced(t, db.DB, definitions(c, on, off))
		require.True(t, row(t, s, "on").Enabled)
		require.Equal(t, noon.Add(time.Hour), row(t, s, "on").NextRunAt)

		on.EnabledByDefault, off.EnabledByDefault = false, true
		untouched(t, db, func() { synced(t, db.DB, definitions(c, on, off)) })
		on.Name, off.Name = "renamed", "renamed"
		synced(t, db.DB, definitions(c, on, off))
		require.True(t, row(t, s, "on").Enabled)
		require.False(t, row(t, s, "off").Enabled)
	})
}

// D3: a first sync stores all that code owns, and says so.
func TestSyncStoresWhatCodeDeclares(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c,
			hourbell.Definition{
				ID: "a", Name: "Feeds", Description: "reads the feeds", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin",
				Target: hourbell.Group("feed"), Grace: 5 * time.Minute,
			},
			hourbell.Definition{ID: "b", Cron: "@daily", Target: hourbell.Jobs("report", "import")},
			hourbell.Definition{ID: "c", Cron: "@daily", Target: hourbell.AllJobs()}))

		a := row(t, s, "a")
		require.Len(t, a.DefinitionHash, 32)
		require.Equal(t, hourbell.Schedule{
			Namespace: "default", ID: "a", Name: "Feeds", Description: "reads the feeds", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin",
			TargetKind: "GROUP", Target: "feed", Grace: 5 * time.Minute, DefinitionHash: a.DefinitionHash, CreatedAt: noon, UpdatedAt: noon,
		}, a)
		b := row(t, s, "b")
		require.Equal(t, []any{"b", "UTC", "JOBS", `["report","import"]`, 2 * time.Minute}, []any{b.Name, b.TimeZone, b.TargetKind, b.Target, b.Grace})
		require.Equal(t, "ALL_JOBS", row(t, s, "c").TargetKind)
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, []string{"DEFINED"}, kinds(t, s, id))
		}
	})
}

// D3: unchanged definitions cause no write, however often the host restarts.
func TestUnchangedDefinitionsCauseNoWrite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		off := hourly("b")
		off.EnabledByDefault = false
		cfg := definitions(c, hourly("a"), off, hourly("gone"))
		synced(t, db.DB, cfg)
		cfg.Definitions = cfg.Definitions[:2]
		s := synced(t, db.DB, cfg)
		c.Advance(time.Hour)
		tick(t, s)
		require.NoError(t, s.Enable(t.Context(), "b", hourbell.By{Actor: "ann", Note: "go"}))
		c.Advance(5 * time.Hour) // slots are due; that is the loop's business

		untouched(t, db, func() {
			for range 3 {
				synced(t, db.DB, cfg)
			}
			require.NoError(t, s.Sync(t.Context()))
			cfg.Definitions = []hourbell.Definition{cfg.Definitions[1], cfg.Definitions[0]} // another order
			synced(t, db.DB, cfg)
		})
	})
}

// D3: what people own survives every change of the definition.
func TestSyncNeverWritesWhatPeopleOwn(t *testing.T) {
	renamed, recron, retarget := hourly("a"), hourly("a"), hourly("a")
	renamed.Name = "other"
	recron.Cron = "30 * * * *"
	retarget.Target = hourbell.AllJobs()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{Actor: "ann", Note: "on holiday"}))
		for _, d := range []hourbell.Definition{renamed, recron, retarget} {
			synced(t, db.DB, definitions(c, d, hourly("b")))
			a := row(t, s, "a")
			require.False(t, a.Enabled)
			require.Equal(t, "on holiday", a.EnabledNote)
			require.Zero(t, a.NextRunAt)
		}
		require.NoError(t, s.Enable(t.Context(), "a", hourbell.By{Actor: "ann", Note: "back"}))
		synced(t, db.DB, definitions(c, recron, hourly("b")))
		require.True(t, row(t, s, "a").Enabled)
		require.Equal(t, "back", row(t, s, "a").EnabledNote)
	})
}

// D3: fields that are not the expression or the zone are written, and nothing of the loop's is moved, not even a
// lock that is held at that moment.
func TestOtherChangedFieldsMoveNothing(t *testing.T) {
	errLost := errors.New("the answer was lost")
	eachCase(t, map[string]func(*hourbell.Definition){
		"name":        func(d *hourbell.Definition) { d.Name = "other" },
		"description": func(d *hourbell.Definition) { d.Description = "other" },
		"target":      func(d *hourbell.Definition) { d.Target = hourbell.AllJobs() },
		"grace":       func(d *hourbell.Definition) { d.Grace = time.Hour },
	}, func(t *testing.T, db *dbtest.DB, change func(*hourbell.Definition)) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("a")))
		c.Advance(time.Hour)
		cfg := definitions(c, hourly("a"))
		cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errors.New("no") })
		tick(t, replica(t, db.DB, cfg)) // failures, an error, a back-off
		c.Advance(2 * time.Second)
		holder := replicaOn(t, &stepped{store.New(db.DB), firstAt("after claim", func() error { return errLost })}, definitions(c, hourly("a")))
		_, err := holder.Tick(t.Context())
		require.ErrorIs(t, err, errLost)
		before := row(t, holder, "a")
		require.NotEmpty(t, before.LockedBy)
		require.NotZero(t, before.OwedSince)
		require.Equal(t, 1, before.Failures)

		c.Advance(time.Second)
		d := hourly("a")
		change(&d)
		s := synced(t, db.DB, definitions(c, d))
		after := row(t, s, "a")
		require.NotEqual(t, before.DefinitionHash, after.DefinitionHash)
		owned := before
		owned.Name, owned.Description, owned.Target, owned.TargetKind = after.Name, after.Description, after.Target, after.TargetKind
		owned.Grace, owned.DefinitionHash = after.Grace, after.DefinitionHash
		require.Equal(t, owned, after)
		require.Equal(t, []string{"DEFINED", "ENQUEUE_FAILED", "CHANGED"}, kinds(t, s, "a"))

		c.Advance(6 * time.Minute) // past the lock's life
		require.Equal(t, 1, tick(t, s).Fired, "the debt was kept too")
	})
}

// D4: a changed expression or zone settles the schedule, and the next slot is the first of the new one after now.
func TestAChangedExpressionOrZoneGoesOnAfterNow(t *testing.T) {
	type change struct {
		change func(*hourbell.Definition)
		next   string
	}
	eachCase(t, map[string]change{
		"expression": {func(d *hourbell.Definition) { d.Cron = "*/20 * * * *" }, "15:40"},
		"zone":       {func(d *hourbell.Definition) { d.TimeZone = "Asia/Kathmandu" }, "16:15"},
	}, func(t *testing.T, db *dbtest.DB, test change) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("a")))
		c.Set(noon.Add(3*time.Hour + 30*time.Minute))
		d := hourly("a")
		test.change(&d)
		s := synced(t, db.DB, definitions(c, d))

		a := row(t, s, "a")
		require.Equal(t, test.next, a.NextRunAt.Format("15:04"))
		require.Equal(t, noon.Add(3*time.Hour), a.SettledUntil)
		require.Equal(t, []string{"CHANGED 13:00:00-15:00:00 3"}, skipped(t, s, "a"))
		require.Equal(t, []string{"DEFINED", "SKIPPED", "CHANGED"}, kinds(t, s, "a"))
		require.Zero(t, tick(t, s).Claimed)
		c.Set(a.NextRunAt)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{a.NextRunAt}, slots(runsOf(t, s, "a")))
	})
}

// D4: a change before anything is due skips nothing.
func TestAChangedExpressionWithNothingDueSkipsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("a")))
		c.Set(noon.Add(59 * time.Minute))
		d := hourly("a")
		d.Cron = "*/20 * * * *"
		s := synced(t, db.DB, definitions(c, d))
		require.Equal(t, noon.Add(time.Hour), row(t, s, "a").NextRunAt)
		require.Empty(t, skipped(t, s, "a"))
	})
}

// D4: a slot that fired is not repeated by an expression that has it too, though the clock was stepped back before it.
func TestAChangedExpressionNeverRepeatsASlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Fired)

		c.Set(noon.Add(50 * time.Minute))
		d := hourly("a")
		d.Cron = "*/30 * * * *"
		s = synced(t, db.DB, definitions(c, d))
		require.Equal(t, noon.Add(90*time.Minute), row(t, s, "a").NextRunAt)
		for range 120 {
			c.Advance(time.Minute)
			tick(t, s)
		}
		require.Equal(t, []time.Time{noon.Add(150 * time.Minute), noon.Add(120 * time.Minute), noon.Add(90 * time.Minute), noon.Add(time.Hour)},
			slots(runsOf(t, s, "a")))
	})
}

// D4: a disabled schedule takes a new expression and stays without a next slot.
func TestAChangedExpressionDoesNotWakeADisabledSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		synced(t, db.DB, definitions(c, d))
		c.Advance(3 * time.Hour)
		d.Cron = "*/20 * * * *"
		s := synced(t, db.DB, definitions(c, d))
		require.Equal(t, "*/20 * * * *", row(t, s, "a").Cron)
		require.Zero(t, row(t, s, "a").NextRunAt)
		require.Empty(t, skipped(t, s, "a"))
	})
}

// D5: a schedule missing from code is kept, settled, marked and not fired, and comes back with its state.
func TestARemovedScheduleIsKeptAndComesBackWithItsState(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{}))
		require.NoError(t, s.Enable(t.Context(), "a", hourbell.By{Actor: "ann", Note: "needed"}))
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 2, tick(t, s).Fired)

		c.Set(noon.Add(3*time.Hour + time.Minute))
		without := synced(t, db.DB, definitions(c, hourly("b")))
		a := row(t, without, "a")
		require.Equal(t, c.Now(), a.RemovedAt)
		require.Zero(t, a.NextRunAt)
		require.Equal(t, noon.Add(3*time.Hour), a.SettledUntil)
		require.Equal(t, []string{"REMOVED 14:00:00-15:00:00 2"}, skipped(t, s, "a"))
		require.Equal(t, []string{"DEFINED", "DISABLED", "ENABLED", "SKIPPED", "REMOVED"}, kinds(t, s, "a"))
		untouched(t, db, func() { require.NoError(t, without.Sync(t.Context())) })

		c.Set(noon.Add(5 * time.Hour))
		tick(t, without)
		tick(t, s) // an old replica that still declares it
		require.Len(t, runsOf(t, s, "a"), 1)

		c.Advance(30 * time.Minute)
		back := synced(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		returned := row(t, back, "a")
		require.Zero(t, returned.RemovedAt)
		require.True(t, returned.Enabled)
		require.Equal(t, "needed", returned.EnabledNote)
		require.Equal(t, noon.Add(time.Hour), returned.LastScheduledFor)
		require.Equal(t, noon, returned.CreatedAt)
		require.Equal(t, noon.Add(6*time.Hour), returned.NextRunAt, "rule M4: nothing of the past")
		require.Len(t, skipped(t, s, "a"), 1)
		c.Set(returned.NextRunAt)
		tick(t, back)
		require.Equal(t, []time.Time{noon.Add(6 * time.Hour), noon.Add(time.Hour)}, slots(runsOf(t, back, "a")))
	})
}

// D5: a schedule that was disabled when it went comes back disabled; one enabled while it is away waits for code.
func TestARemovedScheduleKeepsWhatPeopleSaid(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		all := definitions(c, hourly("a"), hourly("b"), hourly("stays"))
		s := synced(t, db.DB, all)
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{}))
		require.NoError(t, s.Disable(t.Context(), "b", hourbell.By{}))
		without := synced(t, db.DB, definitions(c, hourly("stays")))
		require.NoError(t, without.Enable(t.Context(), "b", hourbell.By{}))
		require.Zero(t, row(t, without, "b").NextRunAt)
		require.NotZero(t, row(t, without, "b").RemovedAt)

		s = synced(t, db.DB, all)
		require.False(t, row(t, s, "a").Enabled)
		require.Zero(t, row(t, s, "a").NextRunAt)
		require.True(t, row(t, s, "b").Enabled)
		require.Equal(t, noon.Add(time.Hour), row(t, s, "b").NextRunAt)
	})
}

// D6: two services on one database, with the same ids, jobs, keys and workers, do not touch each other's rows.
func TestTwoNamespacesDoNotTouchEachOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		ctx := t.Context()
		of := func(namespace string, list ...hourbell.Definition) hourbell.Config {
			cfg := definitions(c, list...)
			cfg.Namespace = namespace
			return cfg
		}
		mine := synced(t, db.DB, of("mine", hourly("a"), hourly("b")))
		_, err := mine.EnqueueJob(ctx, "import", hourbell.EnqueueOptions{Key: "k"})
		require.NoError(t, err)
		c.Advance(time.Hour)
		before := dump(t, db, "mine")

		theirs := synced(t, db.DB, of("theirs", hourly("a"), hourly("b")))
		by := hourbell.By{Actor: "ann"}
		require.NoError(t, theirs.Disable(ctx, "a", by))
		require.NoError(t, theirs.Enable(ctx, "a", by))
		require.NoError(t, theirs.Unlock(ctx, "a", by))
		runs, err := theirs.EnqueueJob(ctx, "import", hourbell.EnqueueOptions{Key: "k"})
		require.NoError(t, err)
		require.Equal(t, "theirs", runs[0].Namespace)
		_, err = theirs.RunNow(ctx, "b", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		c.Advance(time.Hour)
		require.Equal(t, 2, tick(t, theirs).Fired)
		taken, err := theirs.TakeRuns(ctx, hourbell.TakeRequest{Worker: "w", Limit: 100})
		require.NoError(t, err)
		require.Len(t, taken, 4)
		require.NoError(t, theirs.FinishRun(ctx, taken[0], nil))
		changed := hourly("a")
		changed.Cron = "* * * * *"
		theirs = synced(t, db.DB, of("theirs", changed))
		_ = synced(t, db.DB, of("theirs", hourly("c"))) // with no id in common
		stopped, stop := context.WithCancel(ctx)
		stop()
		_ = theirs.Run(stopped)
		require.Equal(t, before, dump(t, db, "mine"))

		health, err := theirs.Health(ctx)
		require.NoError(t, err)
		require.Zero(t, health.Overdue, "what is late is mine")
		list, err := theirs.Schedules(ctx, hourbell.ScheduleQuery{})
		require.NoError(t, err)
		require.Len(t, list.Schedules, 3)
		require.Equal(t, 2, tick(t, mine).Claimed)
	})
}

// D6: a sync that knows none of the stored schedules refuses to remove them while another worker lives, and names
// Namespace; it goes through when none does.
func TestSyncRefusesToRemoveAllWhileAnotherWorkerLives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		looping := make(chan struct{}, 100)
		cfg := definitions(c, hourly("a"), hourly("b"))
		cfg.OnTick = func(hourbell.TickReport) { looping <- struct{}{} }
		first := replica(t, db.DB, cfg)
		second := replica(t, db.DB, definitions(c, hourly("x")))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- first.Run(ctx) }()
		<-looping

		for _, attempt := range []func(context.Context) error{second.Sync, second.Run} {
			err := attempt(t.Context())
			require.ErrorContains(t, err, `Namespace "default"`)
			require.ErrorContains(t, err, "refusing to remove them all")
		}
		require.Zero(t, row(t, second, "a").RemovedAt)
		_, err := second.Schedule(t.Context(), "x")
		require.ErrorIs(t, err, hourbell.ErrUnknownSchedule, "nothing is written, not even what is new")
		require.NoError(t, replica(t, db.DB, definitions(c, hourly("b"), hourly("x"))).Sync(t.Context()), "one id in common will do")
		require.NotZero(t, row(t, second, "a").RemovedAt)

		stop()
		require.NoError(t, <-ended)
		third := replica(t, db.DB, definitions(c, hourly("z")))
		require.NoError(t, third.Sync(t.Context()))
		require.NotZero(t, row(t, second, "b").RemovedAt)
	})
}

// D6: a worker that has missed its heartbeats does not count as living.
func TestSyncRemovesAllWhenTheOtherWorkerIsSilent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := synced(t, db.DB, definitions(c, hourly("a")))
		bound, err := store.New(db.DB).Bind("default", c.Now)
		require.NoError(t, err)
		_, err = bound.Heartbeat(t.Context(), hourbell.Worker{ID: "other", WorkerType: "schedule_daemon"}, 30*time.Second)
		require.NoError(t, err)
		stranger := replica(t, db.DB, definitions(c, hourly("z")))
		c.Advance(30 * time.Second)
		require.ErrorContains(t, stranger.Sync(t.Context()), "Namespace")
		c.Advance(time.Second)
		require.NoError(t, stranger.Sync(t.Context()))
		require.NotZero(t, row(t, s, "a").RemovedAt)
	})
}

// D8: a replica fires only rows whose definition is its own, and so a row's jobs are those of the build that owns it.
func TestAReplicaFiresOnlyRowsOfItsOwnDefinition(t *testing.T) {
	more := append([]hourbell.Job{{Name: "archive", Group: "feed"}}, jobs...)
	grouped := hourly("a")
	grouped.Target = hourbell.Group("feed")
	wider := grouped
	wider.Target = hourbell.AllJobs()
	renamed := grouped
	renamed.Name = "other"
	withArgs := append([]hourbell.Job{}, jobs...)
	withArgs[0].Args = map[string]int{"depth": 2}
	type build struct {
		definition hourbell.Definition
		jobs       []hourbell.Job
		runs       int
	}
	eachCase(t, map[string]build{
		"another target":           {wider, jobs, 3},
		"another name":             {renamed, jobs, 2},
		"another job in the group": {grouped, more, 3},
		"other arguments":          {grouped, withArgs, 2},
	}, func(t *testing.T, db *dbtest.DB, newer build) {
		c := newClock(noon)
		old := synced(t, db.DB, definitions(c, grouped))
		cfg := definitions(c, newer.definition)
		cfg.Jobs = newer.jobs
		current := synced(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))

		report := tick(t, old)
		require.Equal(t, []int{1, 0, 0, 0}, []int{report.Claimed, report.Fired, report.Skipped, report.Failed})
		require.Empty(t, row(t, old, "a").LockedBy, "it is given back at once")
		require.Zero(t, tick(t, old).Claimed, "and left out of further claims")
		require.Equal(t, 1, tick(t, current).Fired)
		require.Len(t, runsOf(t, current, "a"), newer.runs)

		require.NoError(t, old.Sync(t.Context())) // as after a rollback
		c.Set(noon.Add(2 * time.Hour))
		require.Zero(t, tick(t, current).Fired)
		require.Equal(t, 1, tick(t, old).Fired)
		require.Len(t, runsOf(t, current, "a"), newer.runs+2)
	})
}

// D8: rows that a replica may not fire do not fill its batches.
func TestForeignRowsDoNotFillTheBatch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		var stale, current []hourbell.Definition
		for i := range 5 {
			d := hourly(fmt.Sprintf("foreign%d", i))
			stale = append(stale, d)
			d.Name = "newer"
			current = append(current, d)
		}
		mine := hourly("mine")
		mine.Cron = "1 * * * *" // the last in the order of claims
		synced(t, db.DB, definitions(c, append(current, mine)...))
		cfg := definitions(c, append(stale, mine)...)
		cfg.BatchSize = 1
		s := replica(t, db.DB, cfg)
		c.Set(noon.Add(61 * time.Minute))
		require.Equal(t, 1, tick(t, s).Fired)
		require.Len(t, runsOf(t, s, "mine"), 1)

		c.Set(noon.Add(121 * time.Minute))
		require.Equal(t, 1, tick(t, s).Claimed, "one claim, and it is its own")
		require.Len(t, runsOf(t, s, "mine"), 2)
	})
}

// D8: health names a row that is late and that this process cannot fire.
func TestHealthShowsARowThatNobodyCanFire(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newer := hourly("a")
		newer.Name = "newer"
		old := replica(t, db.DB, definitions(c, hourly("a"), hourly("b")))
		current := synced(t, db.DB, definitions(c, newer, hourly("b")))
		c.Set(noon.Add(time.Hour + 3*time.Minute))

		tick(t, old) // settles b, out of grace, and must leave a
		health, err := old.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, health.Unfireable)
		require.Equal(t, 1, health.Overdue)
		require.Equal(t, noon.Add(time.Hour), health.OldestDue)
		health, err = current.Health(t.Context())
		require.NoError(t, err)
		require.Empty(t, health.Unfireable, "this one can")
		require.Equal(t, 1, health.Overdue)

		tick(t, current)
		health, err = old.Health(t.Context())
		require.NoError(t, err)
		require.Zero(t, health.Overdue)
		require.Empty(t, health.Unfireable)
	})
}
