package hourbell_test

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

// A store that cannot serve is an error from New.
func TestAStoreWithoutADatabaseFailsNew(t *testing.T) {
	var none *store.Store
	for says, st := range map[string]hourbell.Store{
		"the store is nil":     nil,
		"use store.New":        none,
		"its *gorm.DB is nil":  store.New(nil),
		"has no database: its": store.New(&gorm.DB{Config: &gorm.Config{}}),
	} {
		s, err := hourbell.New(st, hourbell.Config{Jobs: jobs})
		require.Nil(t, s)
		require.ErrorContains(t, err, "hourbell: the store")
		require.ErrorContains(t, err, says)
	}
}

// A wrong config value is an error from New that names the field; it is never clamped.
func TestAWrongConfigValueFailsNewWithItsField(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	for _, wrong := range []struct {
		cfg         hourbell.Config
		field, says string
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
		t.Run(wrong.field+" "+wrong.says, func(t *testing.T) {
			s, err := hourbell.New(st, wrong.cfg)
			require.Nil(t, s)
			require.ErrorContains(t, err, "hourbell: Config."+wrong.field+": ")
			require.ErrorContains(t, err, wrong.says)
		})
	}
	_, err := hourbell.New(st, hourbell.Config{Namespace: "?", BatchSize: -1, Retention: 1})
	for _, field := range []string{"Namespace", "BatchSize", "Retention"} {
		require.ErrorContains(t, err, "Config."+field, "all are named at once")
	}
}

// The limits themselves are fine, and so is a config that says nothing.
func TestConfigValuesAtTheirLimitsAreAccepted(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	for name, cfg := range map[string]hourbell.Config{
		"nothing":            {},
		"the longest name":   {Namespace: strings.Repeat("x", 100)},
		"all signs":          {Namespace: "9a._-Z"},
		"the shortest lock":  {LockTTL: time.Second},
		"the shortest grace": {PollInterval: 10 * time.Second, LockTTL: 4 * time.Second, Grace: 12 * time.Second},
		"the largest batch":  {BatchSize: 10_000},
		"the smallest batch": {BatchSize: 1},
		"one connection":     {Connections: 1},
		"most connections":   {Connections: 16},
		"the least keep":     {Retention: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hourbell.New(st, cfg)
			require.NoError(t, err)
		})
	}
}

// bounded is a context for a call that must answer at once, with an error of its own rather than the context's.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// verbs are the calls that a host or a page makes.
var verbs = map[string]func(context.Context, *hourbell.Scheduler) error{
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
	"Outcomes": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.Outcomes(ctx, hourbell.OutcomeQuery{ScheduleIDs: []string{"a"}})
		return err
	},
	"Upcoming": func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Upcoming(ctx, "a", 1); return err },
	"Workers":  func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Workers(ctx); return err },
	"Health":   func(ctx context.Context, s *hourbell.Scheduler) error { _, err := s.Health(ctx); return err },
	"RunNow": func(ctx context.Context, s *hourbell.Scheduler) error {
		_, err := s.RunNow(ctx, "a", hourbell.EnqueueOptions{Key: "k"})
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
		_, err := s.TakeRuns(ctx, hourbell.TakeRequest{Worker: "w"})
		return err
	},
	"FinishRun": func(ctx context.Context, s *hourbell.Scheduler) error {
		return s.FinishRun(ctx, hourbell.JobRun{ID: 1, WorkerID: "w"}, nil)
	},
}

// A database without hourbell's tables: New is fine, and every call says what is missing.
func TestADatabaseThatIsNotMigratedIsSaidToBe(t *testing.T) {
	for kind, empty := range map[string]func(testing.TB) *dbtest.DB{"sqlite": dbtest.EmptySQLite, "postgres": dbtest.EmptyPostgres} {
		t.Run(kind, func(t *testing.T) {
			db := empty(t)
			s := replica(t, db.DB, definitions(newClock(noon), hourly("a")))
			for name, call := range verbs {
				err := call(bounded(t), s)
				require.ErrorIs(t, err, hourbell.ErrNotMigrated, name)
				require.ErrorContains(t, err, "store.Migrate", name)
			}
			for _, table := range tables {
				require.False(t, db.Migrator().HasTable(table), "nothing is created on the way")
			}
			require.NoError(t, store.Migrate(t.Context(), db.DB))
			require.NoError(t, s.Sync(t.Context()), "and the same scheduler goes on once it is")
		})
	}
}

// A database that is down is not waited for: Run returns at once, and every call says what is the matter.
func TestADatabaseThatIsDownIsSaidToBe(t *testing.T) {
	for kind, down := range map[string]func(*testing.T) *gorm.DB{"sqlite": goneSQLite, "postgres": deadPostgres} {
		t.Run(kind, func(t *testing.T) {
			s := replica(t, down(t), hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}})
			for name, call := range verbs {
				ctx := bounded(t)
				require.ErrorIs(t, call(ctx, s), hourbell.ErrUnavailable, name)
				require.NoError(t, ctx.Err(), "%s: at once, not by its deadline", name)
			}
		})
	}
}

// deadPostgres is a handle on a port at which nobody listens.
func deadPostgres(t *testing.T) *gorm.DB {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := url.URL{Scheme: "postgres", User: url.User("nobody"), Host: listener.Addr().String(), Path: "/none", RawQuery: "sslmode=disable"}
	require.NoError(t, listener.Close())
	return (&dbtest.DB{Dialect: "postgres", DSN: address.String()}).Open(t, &gorm.Config{DisableAutomaticPing: true})
}

// goneSQLite is a handle on a file whose directory was taken away.
func goneSQLite(t *testing.T) *gorm.DB {
	directory := filepath.Join(t.TempDir(), "volume")
	require.NoError(t, os.Mkdir(directory, 0o700))
	db := (&dbtest.DB{Dialect: "sqlite", DSN: filepath.Join(directory, "host.db") + "?_txlock=immediate"}).Open(t, nil)
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxIdleConns(-1)
	require.NoError(t, os.RemoveAll(directory))
	return db
}

// A config is read once: what the host does to its slices afterwards changes nothing.
func TestAConfigIsReadOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		names := []string{"import"}
		args := map[string]int{"depth": 1}
		cfg := hourbell.Config{
			Jobs:        []hourbell.Job{{Name: "import", Args: args}, {Name: "report"}},
			Definitions: []hourbell.Definition{{ID: "a", Cron: "@daily", Target: hourbell.Jobs(names...)}},
		}
		s := replica(t, db.DB, cfg)
		names[0], args["depth"] = "report", 2
		cfg.Jobs[0].Name, cfg.Definitions[0].Cron, cfg.Definitions[0].ID = "other", "@hourly", "b"
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, `@daily ["import"]`, fmt.Sprint(row(t, s, "a").Cron, " ", row(t, s, "a").Target))
		runs, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"import", "report"}, jobsOf(runs))
		require.JSONEq(t, `{"depth":1}`, string(runs[0].Args))
	})
}
