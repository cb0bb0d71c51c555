package hourbell_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Builds of one host, as a rolling deploy has them side by side.
var (
	early = time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	late  = early.Add(24 * time.Hour)
)

// build is a Config of a build of some age that calls the schedule "a" by a name of its own.
func build(c *clock, name string, at time.Time) hourbell.Config {
	d := hourly("a")
	d.Name = name
	cfg := definitions(c, d)
	cfg.BuildTime, cfg.Version = at, name
	return cfg
}

// D7: the newest build that lives owns the definitions; where an age is unknown or equal, the last to start does.
func TestTheNewestLivingBuildOwnsTheDefinitions(t *testing.T) {
	peer := func(id string, built time.Time) hourbell.Worker {
		return hourbell.Worker{ID: id, WorkerType: "schedule_daemon", BuildTime: built, DefinitionsHash: "of " + id}
	}
	type situation struct {
		own     time.Time
		peers   []hourbell.Worker
		stopped bool          // all of them
		silence time.Duration // since they were heard of
		owns    bool
	}
	var unknown time.Time
	eachCase(t, map[string]situation{
		"alone":                         {early, nil, false, 0, true},
		"a newer one lives":             {early, []hourbell.Worker{peer("p", late)}, false, 0, false},
		"a newer one has stopped":       {early, []hourbell.Worker{peer("p", late)}, true, 0, true},
		"a newer one was just heard of": {early, []hourbell.Worker{peer("p", late)}, false, 30 * time.Second, false},
		"a newer one is silent":         {early, []hourbell.Worker{peer("p", late)}, false, 31 * time.Second, true},
		"an older one lives":            {late, []hourbell.Worker{peer("p", early)}, false, 0, true},
		"as old, started before":        {late, []hourbell.Worker{peer("p", late)}, false, 0, true},
		"its own age is unknown":        {unknown, []hourbell.Worker{peer("p", late)}, false, 0, true},
		"the other's age is unknown":    {early, []hourbell.Worker{peer("p", unknown)}, false, 0, true},
		"the age of a third is unknown": {early, []hourbell.Worker{peer("p", late), peer("q", unknown)}, false, 0, true},
		"between an older and a newer":  {early.Add(time.Hour), []hourbell.Worker{peer("p", early), peer("q", late)}, false, 0, false},
	}, func(t *testing.T, db *dbtest.DB, c situation) {
		now := newClock(noon)
		stored := synced(t, db.DB, build(now, "stored", c.own))
		st := bound(t, db.DB, now.Now)
		for _, w := range c.peers {
			_, err := st.Heartbeat(t.Context(), w, 30*time.Second)
			require.NoError(t, err)
			if c.stopped {
				require.NoError(t, st.StopWorker(t.Context(), w.ID))
			}
		}
		now.Advance(c.silence)
		var log logs
		cfg := build(now, "own", c.own)
		cfg.Logger = log.logger()
		s := replica(t, db.DB, cfg)
		if c.owns {
			require.NoError(t, s.Sync(t.Context()))
			require.Equal(t, "own", row(t, stored, "a").Name)
			return
		}
		untouched(t, db, func() { require.NoError(t, s.Sync(t.Context())) })
		require.Contains(t, log.String(), "those of a newer build")
	})
}

// D7: an older process that starts while a newer build lives leaves the definitions alone, fires nothing that is not
// its own, and takes over once the newer is gone, as after a rollback.
func TestAnOlderBuildTakesOverOnceTheNewerIsGone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		var ticks *atomic.Int64 // of the last to start
		run := func(name string, at time.Time) (*hourbell.Scheduler, func() error) {
			cfg := build(nil, name, at)
			cfg.Now = nil
			cfg.Definitions[0].Cron = "* * * * * *"
			cfg.PollInterval = 100 * time.Millisecond
			counted := new(atomic.Int64)
			cfg.OnTick = func(hourbell.TickReport) { counted.Add(1) }
			ticks = counted
			s := replica(t, db.DB, cfg)
			return s, running(t, s)
		}
		named := func(s *hourbell.Scheduler, name string) func() bool {
			return func() bool {
				stored, err := s.Schedule(t.Context(), "a")
				return err == nil && stored.Name == name && len(runsOf(t, s, "a")) > 0
			}
		}
		newer, stopNewer := run("newer", late)
		await(t, "the newer build fires", named(newer, "newer"))
		older, _ := run("older", early)
		await(t, "the older build looks what is stored", func() bool { return ticks.Load() > 2 })
		before := len(runsOf(t, newer, "a"))
		await(t, "the newer goes on", func() bool { return len(runsOf(t, newer, "a")) > before })
		require.Equal(t, "newer", row(t, older, "a").Name)

		require.NoError(t, stopNewer())
		await(t, "the older takes over", named(older, "older"))
		before = len(runsOf(t, older, "a"))
		await(t, "the older fires", func() bool { return len(runsOf(t, older, "a")) > before })
	})
}

// D7: what a build has written that nobody has seen alive is noticed when the row comes due, and written over.
func TestDefinitionsOfABuildThatVanishedAreWrittenOver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := build(nil, "living", early)
		cfg.Now = nil
		cfg.Definitions[0].Cron = "* * * * * *"
		cfg.PollInterval = 100 * time.Millisecond
		s := replica(t, db.DB, cfg)
		running(t, s)
		await(t, "a fire", func() bool { return len(runsOf(t, s, "a")) > 0 })
		cfg.Definitions = []hourbell.Definition{cfg.Definitions[0]}
		cfg.Definitions[0].Name, cfg.BuildTime = "vanished", late
		synced(t, db.DB, cfg)
		await(t, "the living build's definition", func() bool { return row(t, s, "a").Name == "living" })
		before := len(runsOf(t, s, "a"))
		await(t, "its fire", func() bool { return len(runsOf(t, s, "a")) > before })
	})
}

// D7: the build is the one that the host names, if it does.
func TestAWorkerSaysWhichBuildItIs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := replica(t, db.DB, build(newClock(noon), "r4711", late))
		running(t, s)
		await(t, "the worker", func() bool {
			workers, err := s.Workers(t.Context())
			require.NoError(t, err)
			return len(workers) == 1 && workers[0].Version == "r4711" && workers[0].BuildTime.Equal(late)
		})
	})
}

// D7: a dry run says what a sync would add, change and remove and which next slots move, and writes nothing.
func TestADryRunSaysWhatASyncWouldDo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		same, moved, renamed, gone, added := hourly("same"), hourly("moved"), hourly("renamed"), hourly("gone"), hourly("added")
		synced(t, db.DB, definitions(c, same, moved, renamed, gone))
		c.Advance(30 * time.Second)
		moved.Cron, renamed.Name, added.EnabledByDefault = "59 * * * *", "other", true
		s := replica(t, db.DB, definitions(c, same, moved, renamed, added))
		var changes []hourbell.Change
		untouched(t, db, func() {
			var err error
			changes, err = s.Plan(t.Context())
			require.NoError(t, err)
		})
		require.Equal(t, []hourbell.Change{
			{ScheduleID: "added", Kind: "DEFINED", Detail: `0 * * * * in UTC, jobs ["import"]`, NewNextRunAt: noon},
			{ScheduleID: "gone", Kind: "REMOVED", OldNextRunAt: noon},
			{ScheduleID: "moved", Kind: "CHANGED", Detail: "from 0 * * * * in UTC to 59 * * * * in UTC", OldNextRunAt: noon, NewNextRunAt: noon.Add(59 * time.Minute)},
			{ScheduleID: "renamed", Kind: "CHANGED", Detail: "name, description, or the jobs of the target", OldNextRunAt: noon, NewNextRunAt: noon},
		}, changes)

		require.NoError(t, s.Sync(t.Context()))
		for _, change := range changes {
			stored := row(t, s, change.ScheduleID)
			require.Equal(t, change.NewNextRunAt, stored.NextRunAt, change.ScheduleID)
			require.Equal(t, change.Kind, eventsOf(t, s, change.ScheduleID, "")[0].Kind)
		}
		changes, err := s.Plan(t.Context())
		require.NoError(t, err)
		require.Empty(t, changes, "synced")
	})
}

// D6: a dry run fails where a sync would refuse.
func TestADryRunFailsWhereASyncWouldRefuse(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		synced(t, db.DB, definitions(c, hourly("a")))
		_, err := bound(t, db.DB, c.Now).Heartbeat(t.Context(), hourbell.Worker{ID: "other", WorkerType: "schedule_daemon"}, time.Minute)
		require.NoError(t, err)
		_, err = replica(t, db.DB, definitions(c, hourly("z"))).Plan(t.Context())
		require.ErrorContains(t, err, "refusing to remove them all")
	})
}
