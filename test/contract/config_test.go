package contract_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// New rejects a store that has no database.
func TestNewRejectsStoreWithoutDatabase(t *testing.T) {
	var nilStore *hookedStore
	for message, st := range map[string]hourbell.Store{
		"the store is nil":     nil,
		"use store.New":        nilStore,
		"its *gorm.DB is nil":  store.New(nil),
		"has no database: its": store.New(&gorm.DB{Config: &gorm.Config{}}),
	} {
		s, err := hourbell.New(st, hourbell.Config{Jobs: testJobs})
		require.Nil(t, s)
		require.ErrorContains(t, err, "hourbell: the store")
		require.ErrorContains(t, err, message)
	}
}

// New rejects an invalid config value with an error that names the field. It
// never clamps a value.
func TestNewRejectsInvalidConfigValues(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	for _, invalid := range []struct {
		cfg            hourbell.Config
		field, message string
	}{
		{hourbell.Config{Namespace: "my shop"}, "Namespace", `"my shop"`},
		{hourbell.Config{Namespace: "-shop"}, "Namespace", `"-shop"`},
		{hourbell.Config{Namespace: "a/b"}, "Namespace", `"a/b"`},
		{hourbell.Config{Namespace: strings.Repeat("x", 101)}, "Namespace", "1 to 100"},
		{hourbell.Config{PollInterval: -time.Second}, "PollInterval", "-1s"},
		{hourbell.Config{LockTTL: time.Second - 1}, "LockTTL", "999.999999ms"},
		{hourbell.Config{LockTTL: -time.Minute}, "LockTTL", "-1m0s"},
		{hourbell.Config{Grace: 70*time.Second - 1}, "Grace", "1m10s"},
		{hourbell.Config{Grace: -time.Minute}, "Grace", "-1m0s"},
		{hourbell.Config{PollInterval: 2 * time.Minute}, "Grace", "2m10s"},
		{hourbell.Config{PollInterval: 10 * time.Second, LockTTL: 4 * time.Second, Grace: 12*time.Second - 1}, "Grace", "12s"},
		{hourbell.Config{BatchSize: -1}, "BatchSize", "-1"},
		{hourbell.Config{BatchSize: 10_001}, "BatchSize", "10001"},
		{hourbell.Config{Connections: -1}, "Connections", "-1"},
		{hourbell.Config{Connections: 17}, "Connections", "17"},
		{hourbell.Config{Retention: time.Hour - 1}, "Retention", "59m59.999999999s"},
		{hourbell.Config{Retention: -time.Hour}, "Retention", "-1h0m0s"},
	} {
		t.Run(invalid.field+" "+invalid.message, func(t *testing.T) {
			s, err := hourbell.New(st, invalid.cfg)
			require.Nil(t, s)
			require.ErrorContains(t, err, "hourbell: Config."+invalid.field+": ")
			require.ErrorContains(t, err, invalid.message)
		})
	}
	_, err := hourbell.New(st, hourbell.Config{Namespace: "?", BatchSize: -1, Retention: 1})
	for _, field := range []string{"Namespace", "BatchSize", "Retention"} {
		require.ErrorContains(t, err, "Config."+field, "one error names all fields")
	}
}

// New accepts the smallest and largest values, and an empty Config.
func TestNewAcceptsConfigLimits(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	for name, cfg := range map[string]hourbell.Config{
		"empty":              {},
		"longest name":       {Namespace: strings.Repeat("x", 100)},
		"all punctuation":    {Namespace: "9a._-Z"},
		"shortest lock":      {LockTTL: time.Second},
		"shortest grace":     {PollInterval: 10 * time.Second, LockTTL: 4 * time.Second, Grace: 12 * time.Second},
		"largest batch":      {BatchSize: 10_000},
		"smallest batch":     {BatchSize: 1},
		"one connection":     {Connections: 1},
		"most connections":   {Connections: 16},
		"shortest retention": {Retention: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hourbell.New(st, cfg)
			require.NoError(t, err)
		})
	}
}

// schedulerCalls are the calls of hosts and of the admin page that use the
// database.
var schedulerCalls = map[string]func(context.Context, *hourbell.Scheduler) error{
	"Sync":    func(ctx context.Context, s *hourbell.Scheduler) error { return s.Sync(ctx) },
	"Run":     func(ctx context.Context, s *hourbell.Scheduler) error { return s.Run(ctx) },
	"Tick":    func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Tick(ctx); return err },
	"Enable":  func(ctx context.Context, s *hourbell.Scheduler) error { return s.Enable(ctx, "a", ann) },
	"Disable": func(ctx context.Context, s *hourbell.Scheduler) error { return s.Disable(ctx, "a", ann) },
	"Unlock":  func(ctx context.Context, s *hourbell.Scheduler) error { return s.Unlock(ctx, "a", ann) },
	"Schedules": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.Schedules(ctx, hourbell.ScheduleQuery{})
		return err
	},
	"Schedule": func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Schedule(ctx, "a"); return err },
	"Schedules with outcomes": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.Schedules(ctx, hourbell.ScheduleQuery{IDs: []string{"a"}, Outcomes: 1})
		return err
	},
	"Upcoming": func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Upcoming(ctx, "a", 1); return err },
	"Workers":  func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Workers(ctx); return err },
	"Health":   func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Health(ctx); return err },
	"RunNow": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.RunNow(ctx, "a", hourbell.EnqueueOptions{IdempotencyKey: "k"})
		return err
	},
	"EnqueueAll": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.EnqueueAll(ctx, hourbell.EnqueueOptions{})
		return err
	},
	"Runs": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.Runs(ctx, hourbell.RunQuery{})
		return err
	},
	"Events": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.Events(ctx, hourbell.EventQuery{})
		return err
	},
	"TakeRuns": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: "w"})
		return err
	},
	"FinishRun": func(ctx context.Context, s *hourbell.Scheduler) error {
		return s.FinishRun(ctx, hourbell.JobRun{ID: 1, LeasedBy: "w"}, nil)
	},
}

// Without hourbell's tables New succeeds and every call returns ErrNotMigrated.
// The same Scheduler works once the tables exist.
func TestCallsReportMissingMigration(t *testing.T) {
	for dialect, open := range map[string]func(testing.TB) *dbtest.DB{"sqlite": dbtest.EmptySQLite, "postgres": dbtest.EmptyPostgres} {
		t.Run(dialect, func(t *testing.T) {
			db := open(t)
			s := newReplica(t, db.DB, newConfig(newClock(noon), hourly("a")))
			for name, call := range schedulerCalls {
				err := call(shortContext(t), s)
				require.ErrorIs(t, err, hourbell.ErrNotMigrated, name)
				require.ErrorContains(t, err, "store.Migrate", name)
			}
			for _, table := range tables {
				require.False(t, db.Migrator().HasTable(table), "calls create no tables")
			}
			require.NoError(t, store.Migrate(t.Context(), db.DB))
			require.NoError(t, s.Sync(t.Context()))
		})
	}
}

// If the database is unavailable, every call returns ErrUnavailable at once.
// Run does too.
func TestCallsReportUnavailableDatabase(t *testing.T) {
	for dialect, open := range map[string]func(*testing.T) *gorm.DB{"sqlite": openDeletedSQLite, "postgres": openClosedPostgres} {
		t.Run(dialect, func(t *testing.T) {
			s := newReplica(t, open(t), hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
			for name, call := range schedulerCalls {
				ctx := shortContext(t)
				require.ErrorIs(t, call(ctx, s), hourbell.ErrUnavailable, name)
				require.NoError(t, ctx.Err(), "%s must not wait for the deadline", name)
			}
		})
	}
}

// openClosedPostgres opens a pool on a port that refuses connections.
func openClosedPostgres(t *testing.T) *gorm.DB {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := url.URL{Scheme: "postgres", User: url.User("none"), Host: listener.Addr().String(), Path: "/none", RawQuery: "sslmode=disable"}
	require.NoError(t, listener.Close())
	return (&dbtest.DB{Dialect: "postgres", DSN: address.String()}).Open(t, &gorm.Config{DisableAutomaticPing: true})
}

// openDeletedSQLite opens a pool on a file and deletes its directory.
func openDeletedSQLite(t *testing.T) *gorm.DB {
	directory := filepath.Join(t.TempDir(), "volume")
	require.NoError(t, os.Mkdir(directory, 0o700))
	db := (&dbtest.DB{Dialect: "sqlite", DSN: filepath.Join(directory, "host.db") + "?_txlock=immediate"}).Open(t, nil)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxIdleConns(-1)
	require.NoError(t, os.RemoveAll(directory))
	return db
}

// New copies the Config. Later changes to the host's slices and maps have no
// effect.
func TestNewCopiesConfig(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		names := []string{"import"}
		args := map[string]int{"depth": 1}
		cfg := hourbell.Config{
			Jobs:        []hourbell.Job{{Name: "import", Args: args}, {Name: "report"}},
			Definitions: []hourbell.Definition{{ID: "a", Cron: "@daily", Target: hourbell.Jobs(names...)}},
		}
		s := newReplica(t, db.DB, cfg)
		names[0], args["depth"] = "report", 2
		cfg.Jobs[0].Name, cfg.Definitions[0].Cron, cfg.Definitions[0].ID = "other", "@hourly", "b"
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, `@daily ["import"]`, fmt.Sprint(readSchedule(t, s, "a").Cron, " ", readSchedule(t, s, "a").Target))
		runs, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"import", "report"}, jobNames(runs))
		require.JSONEq(t, `{"depth":1}`, string(runs[0].Args))
	})
}
