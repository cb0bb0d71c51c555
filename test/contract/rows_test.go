package contract_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/timing"
	"github.com/hourbell/hourbell/store"
)

// M2: a next run that was edited by hand to a time that is not a slot, or is
// settled already, fires nothing. The slots since the last settled one are
// recorded.
func TestEditedNextRunFiresNothing(t *testing.T) {
	type test struct {
		nextRun, at time.Time
		skip        string
	}
	runCases(t, map[string]test{
		"no slot was due":     {june(1, 12, 10), june(1, 12, 10), "NOT_A_SLOT 12:10:00-12:10:00 0"},
		"slots were due":      {june(1, 12, 10), june(1, 14, 30), "NOT_A_SLOT 13:00:00-14:00:00 2"},
		"later than the slot": {june(1, 13, 1), june(1, 13, 1), "NOT_A_SLOT 13:00:00-13:00:00 1"},
		"settled slot":        {june(1, 12, 0), june(1, 12, 1), "NOT_A_SLOT 12:00:00-12:00:00 0"},
	}, func(t *testing.T, db *dbtest.DB, test test) {
		c := newClock(noon.Add(-time.Minute))
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon)
		require.Equal(t, 1, tick(t, s).Fired)
		editSchedule(t, db, "next_run_at", test.nextRun)
		c.Set(test.at)
		require.Zero(t, tick(t, s).Fired)
		require.Equal(t, []string{test.skip}, skipTexts(t, s, "a"))
		skip := readEvents(t, s, "a", hourbell.EventSkipped)[0]
		require.Contains(t, skip.Detail, "the next run "+test.nextRun.Format(time.RFC3339)+" was ")

		a := readSchedule(t, s, "a")
		require.Equal(t, test.at.Truncate(time.Hour).Add(time.Hour), a.NextRunAt)
		require.Empty(t, a.LockedBy)
		require.Zero(t, a.UnfinishedSince)
		c.Set(a.NextRunAt)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// editSchedule sets a column of every schedule, as an operator does by hand.
func editSchedule(t testing.TB, db *dbtest.DB, column string, value any) {
	t.Helper()
	if at, ok := value.(time.Time); ok && db.Dialect == "sqlite" {
		value = at.UnixMicro()
	}
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET "+column+" = ?", value).Error)
}

// D3: a sync writes back the columns that code owns if they were edited by
// hand. It changes nothing else, and the schedule keeps its next run.
func TestSyncWritesBackEditedColumns(t *testing.T) {
	type test struct {
		column string
		value  any
		detail string
	}
	runCases(t, map[string]test{
		"name":        {"name", "edited", `name was "edited"`},
		"description": {"description", "edited", `description was "edited"`},
		"cron":        {"cron", "*/5 * * * *", `cron was "*/5 * * * *"`},
		"time zone":   {"time_zone", "Asia/Tokyo", `time_zone was "Asia/Tokyo"`},
		"zone rules":  {"zone_rules", "edited", `zone_rules was "edited"`},
		"manual":      {"manual", true, `manual was "true"`},
		"target kind": {"target_kind", "ALL_JOBS", `target_kind was "ALL_JOBS"`},
		"grace":       {"grace", (3 * time.Minute).Microseconds(), `grace was "3m0s"`},
		"target":      {"target", `["report"]`, `target was "[\"report\"]"`},
	}, func(t *testing.T, db *dbtest.DB, test test) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		require.NoError(t, s.Disable(t.Context(), "a", ann))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		before := readSchedule(t, s, "a")
		requireNoWrites(t, db, func() { require.NoError(t, s.Sync(t.Context())) })

		if test.column == "grace" && db.Dialect == "postgres" {
			test.value = "3 minutes"
		}
		editSchedule(t, db, test.column, test.value)
		plan, err := s.Plan(t.Context())
		require.NoError(t, err)
		detail := "columns edited by hand are written back: " + test.detail
		next := before.NextRunAt
		require.Equal(t, []hourbell.PlannedChange{{ScheduleID: "a", Kind: hourbell.EventChanged, Detail: detail, OldNextRunAt: next, NewNextRunAt: next}}, plan)
		require.NoError(t, s.Sync(t.Context()))
		after := readSchedule(t, s, "a")
		before.Version++ // so that only one replica writes the row back
		require.Equal(t, before, after)
		require.Equal(t, detail, readEvents(t, s, "a", hourbell.EventChanged)[0].Detail)
		requireNoWrites(t, db, func() { require.NoError(t, s.Sync(t.Context())) })
		c.Set(next)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// fastChecks makes the loops of a test compare the table with the definitions
// every few milliseconds, until the end of the test.
func fastChecks(t testing.TB) {
	t.Helper()
	original := timing.CheckEvery
	timing.CheckEvery = 20 * time.Millisecond
	t.Cleanup(func() { timing.CheckEvery = original })
}

// D2, M4: a running loop restores a declared schedule whose row is missing, as
// operators left it. Nothing fires for the past.
func TestLoopRestoresMissingSchedule(t *testing.T) {
	type test struct {
		byDefault bool
		change    func(t *testing.T, s *hourbell.Scheduler)
		enabled   bool
		note      string
	}
	runCases(t, map[string]test{
		"enabled by default":  {true, nil, true, ""},
		"disabled by default": {false, nil, false, ""},
		"enabled by operator": {false, func(t *testing.T, s *hourbell.Scheduler) {
			require.NoError(t, s.Enable(t.Context(), "a", ann))
		}, true, ann.Note},
		"disabled by operator": {true, func(t *testing.T, s *hourbell.Scheduler) {
			require.NoError(t, s.Disable(t.Context(), "a", ann))
		}, false, ann.Note},
		"disabled and enabled by operator": {true, func(t *testing.T, s *hourbell.Scheduler) {
			require.NoError(t, s.Disable(t.Context(), "a", ann))
			require.NoError(t, s.Enable(t.Context(), "a", ann))
		}, true, ann.Note},
	}, func(t *testing.T, db *dbtest.DB, test test) {
		fastChecks(t)
		c := newClock(noon)
		a := hourly("a")
		a.EnabledByDefault = test.byDefault
		log := &logBuffer{}
		cfg := newConfig(c, a, hourly("b"))
		cfg.Logger = log.logger()
		s := newReplica(t, db.DB, cfg)
		stop := startLoop(t, s)
		await(t, "the first sync", func() bool { return isSynced(t, s) })
		if test.change != nil {
			test.change(t, s)
		}
		c.Set(noon.Add(90 * time.Minute))
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id = 'a'").Error)
		await(t, "the row is restored", func() bool {
			var rows int64
			require.NoError(t, db.Table("hourbell_schedules").Where("id = 'a'").Count(&rows).Error)
			return rows == 1
		})
		require.NoError(t, stop())

		restored := readSchedule(t, s, "a")
		require.Equal(t, test.enabled, restored.Enabled)
		require.Equal(t, test.note, restored.EnabledNote)
		if test.enabled {
			require.Equal(t, noon.Add(2*time.Hour), restored.NextRunAt)
		} else {
			require.Zero(t, restored.NextRunAt)
		}
		defined := readEvents(t, s, "a", hourbell.EventDefined)
		require.Len(t, defined, 2)
		require.Equal(t, `restored after its row was missing: 0 * * * * in UTC, jobs ["import"]`, defined[0].Detail)
		require.Contains(t, log.String(), `level=ERROR msg="hourbell: missing schedules restored" count=1 schedules=[a]`)
		require.Empty(t, readRuns(t, s, "a"))
	})
}

// D2: a restart restores missing schedules too. A schedule that was deleted
// after its removal is new.
func TestSyncRestoresMissingSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		definitions := []hourbell.Definition{hourly("kept"), hourly("missing"), hourly("removed")}
		for i := range definitions {
			definitions[i].EnabledByDefault = false
		}
		s := newSyncedReplica(t, db.DB, newConfig(c, definitions...))
		for _, id := range []string{"missing", "removed"} {
			require.NoError(t, s.Enable(t.Context(), id, ann))
		}
		newSyncedReplica(t, db.DB, newConfig(c, definitions[:2]...))
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id <> 'kept'").Error)

		s = newSyncedReplica(t, db.DB, newConfig(c, definitions...))
		require.True(t, readSchedule(t, s, "missing").Enabled)
		require.False(t, readSchedule(t, s, "removed").Enabled)
		require.Contains(t, readEvents(t, s, "missing", hourbell.EventDefined)[0].Detail, "row was missing")
		require.NotContains(t, readEvents(t, s, "removed", hourbell.EventDefined)[0].Detail, "missing")
	})
}

// O1: health names the declared schedules that were missing, until the next
// check. If inserting them has no effect, it says so, and the other schedules
// fire.
func TestHealthNamesMissingSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		fastChecks(t)
		c := newClock(noon)
		log := &logBuffer{}
		cfg := newConfig(c, hourly("a"), minutely("b"))
		cfg.Logger = log.logger()
		s := newReplica(t, db.DB, cfg)
		stop := startLoop(t, s)
		await(t, "the first sync", func() bool { return isSynced(t, s) })
		dropInserts(t, db)
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id = 'a'").Error)
		missing := func(s *hourbell.Scheduler, reason string) func() bool {
			return func() bool {
				health, err := s.Health(t.Context())
				require.NoError(t, err)
				return fmt.Sprint(health.Missing) == "[a]" && health.MissingError == reason
			}
		}
		const noEffect = "inserting them had no effect: check the table for a row-level security policy or a trigger"
		await(t, "health says that the insert has no effect", missing(s, noEffect))
		await(t, "the error is logged", func() bool {
			return strings.Contains(log.String(), `level=ERROR msg="hourbell: checking the stored schedules failed" error="hourbell: sync: declared schedules are missing (1: a)`)
		})
		require.NoError(t, stop())

		// A process that starts now runs the loop for the other schedules.
		restarted := newReplica(t, db.DB, cfg)
		stop = startLoop(t, restarted)
		await(t, "health of the new process", missing(restarted, noEffect))
		c.Set(noon.Add(time.Minute))
		tick(t, restarted)
		require.Len(t, readRuns(t, restarted, "b"), 1)

		allowInserts(t, db)
		await(t, "the schedule is restored", func() bool {
			_, err := restarted.Schedule(t.Context(), "a")
			return err == nil
		})
		await(t, "health has no problem", func() bool {
			health, err := restarted.Health(t.Context())
			require.NoError(t, err)
			return health.Missing == nil && health.MissingError == ""
		})
		require.NoError(t, stop())
	})
}

// dropInserts makes the database accept inserts of schedules without effect.
func dropInserts(t testing.TB, db *dbtest.DB) {
	t.Helper()
	statements := []string{"CREATE TRIGGER drop_inserts BEFORE INSERT ON hourbell_schedules BEGIN SELECT RAISE(IGNORE); END"}
	if db.Dialect == "postgres" {
		statements = []string{
			"CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
			"CREATE TRIGGER drop_inserts BEFORE INSERT ON hourbell_schedules FOR EACH ROW EXECUTE FUNCTION drop_row()",
		}
	}
	for _, statement := range statements {
		require.NoError(t, db.Exec(statement).Error)
	}
}

func allowInserts(t testing.TB, db *dbtest.DB) {
	t.Helper()
	statement := "DROP TRIGGER drop_inserts"
	if db.Dialect == "postgres" {
		statement += " ON hourbell_schedules"
	}
	require.NoError(t, db.Exec(statement).Error)
}

// O1: row-level security that hides a schedule from a running loop is reported
// like a missing row.
func TestHealthNamesHiddenSchedules(t *testing.T) {
	fastChecks(t)
	db := dbtest.Postgres(t)
	c := newClock(noon)
	cfg := newConfig(c, hourly("a"), hourly("b"))
	newSyncedReplica(t, db.DB, cfg)
	role := strings.ToLower("hourbell_" + rand.Text())
	execAll := func(statements ...string) {
		for _, statement := range statements {
			require.NoError(t, db.Exec(statement).Error)
		}
	}
	execAll("CREATE ROLE "+role, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+role)
	t.Cleanup(func() { require.NoError(t, db.Exec("DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role).Error) })
	asRole, err := gorm.Open(postgres.Open(db.DSN+"&role="+role), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := asRole.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })

	s := newReplica(t, asRole, cfg)
	startLoop(t, s)
	await(t, "the first sync", func() bool { return isSynced(t, s) })
	execAll("CREATE POLICY hide_a ON hourbell_schedules USING (id <> 'a') WITH CHECK (true)",
		"ALTER TABLE hourbell_schedules ENABLE ROW LEVEL SECURITY")
	await(t, "health names the schedule", func() bool {
		health, err := s.Health(t.Context())
		require.NoError(t, err)
		return health.Synced && fmt.Sprint(health.Missing) == "[a]" && strings.Contains(health.MissingError, "row-level security")
	})
	c.Set(noon.Add(time.Hour))
	await(t, "the other schedule fires", func() bool {
		tick(t, s)
		return len(readRuns(t, s, "b")) == 1
	})
}

// D3, M1: if the expression was edited by hand, Enable uses that of the
// definition, and writes it back.
func TestEnableIgnoresEditedExpression(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, d))
		editSchedule(t, db, "cron", "0 0 1 1 *")
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		a := readSchedule(t, s, "a")
		require.Equal(t, "0 * * * *", a.Cron)
		require.Equal(t, noon.Add(time.Hour), a.NextRunAt)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventChanged, hourbell.EventEnabled}, eventKinds(t, s, "a"))
	})
}

// D3: replicas that correct the same row at the same time record it once.
func TestEditedRowIsCorrectedOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := newConfig(c, hourly("a"))
		newSyncedReplica(t, db.DB, cfg)
		editSchedule(t, db, "name", "edited")
		other := newReplica(t, db.DB, cfg)
		s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("before begin", func() error {
			return other.Sync(t.Context())
		})}, cfg)
		require.NoError(t, s.Sync(t.Context()))
		require.Len(t, readEvents(t, s, "a", hourbell.EventChanged), 1)
	})
}

// D2, D10: a renamed schedule whose row is missing is restored as operators
// left it under the new ID, or else under the former one.
func TestRenamedScheduleIsRestored(t *testing.T) {
	runCases(t, map[string]func(t *testing.T, s *hourbell.Scheduler) bool{
		"enabled before the rename": func(*testing.T, *hourbell.Scheduler) bool { return true },
		"disabled after the rename": func(t *testing.T, s *hourbell.Scheduler) bool {
			require.NoError(t, s.Disable(t.Context(), "b", ann))
			return false
		},
	}, func(t *testing.T, db *dbtest.DB, change func(*testing.T, *hourbell.Scheduler) bool) {
		c := newClock(noon)
		a := hourly("a")
		a.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, a))
		require.NoError(t, s.Enable(t.Context(), "a", ann))
		b := a
		b.ID, b.FormerID = "b", "a"
		s = newSyncedReplica(t, db.DB, newConfig(c, b))
		want := change(t, s)
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id = 'b'").Error)
		s = newSyncedReplica(t, db.DB, newConfig(c, b))
		restored := readSchedule(t, s, "b")
		require.Equal(t, want, restored.Enabled)
		require.Equal(t, "a", restored.FormerID)
		require.Contains(t, readEvents(t, s, "b", hourbell.EventDefined)[0].Detail, "restored after its row was missing")
	})
}
