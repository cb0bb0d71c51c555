package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// statements returns the SQL of operations.md by name.
func statements(t *testing.T) map[string]string {
	t.Helper()
	named := map[string]string{}
	for _, b := range codeBlocks(t, "docs/operations.md", "sql") {
		name, ok := strings.CutPrefix(b.info, "name=")
		require.True(t, ok, "without a name: %s", b.code)
		require.NotContains(t, named, name)
		named[name] = b.code
	}
	return named
}

// failingEnqueuer fails for one job.
type failingEnqueuer struct{}

func (failingEnqueuer) Enqueue(_ context.Context, _ *gorm.DB, runs []hourbell.JobRun) error {
	for _, run := range runs {
		if run.Job == "broken" {
			return errors.New("the queue is full")
		}
	}
	return nil
}

// newTroubledDB returns a database with all the problems that operations.md
// describes.
func newTroubledDB(t *testing.T) *dbtest.DB {
	t.Helper()
	db := dbtest.Postgres(t)
	ctx := t.Context()
	start := time.Now().Add(-40 * time.Minute).Truncate(5 * time.Minute)
	now := start
	everyFiveMinutes := func(id, job string) hourbell.Definition {
		return hourbell.Definition{ID: id, Cron: "*/5 * * * *", Target: hourbell.Jobs(job), EnabledByDefault: true}
	}
	cfg := hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import"}, {Name: "broken"}, {Name: "slow"}},
		Definitions: []hourbell.Definition{
			everyFiveMinutes("fires", "import"), everyFiveMinutes("failing", "broken"), everyFiveMinutes("disabled", "import"),
			everyFiveMinutes("locked", "slow"), everyFiveMinutes("removed", "import"),
		},
		Enqueuer: failingEnqueuer{}, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	}
	scheduler, err := hourbell.New(store.New(db.DB), cfg)
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(ctx))
	require.NoError(t, scheduler.Disable(ctx, "disabled", hourbell.ChangeOptions{Actor: "ada", Note: "too loud"}))
	tick := func() {
		_, err := scheduler.Tick(ctx)
		require.NoError(t, err)
	}
	now = start.Add(5*time.Minute + 2*time.Second)
	tick()
	runs, err := scheduler.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: "busy", Lease: time.Minute})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	now = start.Add(20 * time.Minute) // skips two slots
	tick()

	heartbeat := func(id string, at time.Time, skew time.Duration) hourbell.Store {
		bound, err := store.New(db.DB).Bind("default", func() time.Time { return at })
		require.NoError(t, err)
		_, err = bound.Heartbeat(ctx, hourbell.Worker{ID: id, WorkerType: "schedule_daemon", Hostname: id, Version: "r-" + id, ClockSkew: skew}, 30*time.Second)
		require.NoError(t, err)
		return bound
	}
	now = start.Add(25 * time.Minute)
	claims, err := heartbeat("dead", now, 0).Claim(ctx, storage.ClaimRequest{
		Worker: "dead", Limit: 5, LockTTL: time.Minute, Exclude: []string{},
	})
	require.NoError(t, err)
	require.NotEmpty(t, claims.Claims)
	heartbeat("skewed", time.Now(), 5*time.Second)
	cfg.Definitions = cfg.Definitions[:4]
	next, err := hourbell.New(store.New(db.DB), cfg)
	require.NoError(t, err)
	require.NoError(t, next.Sync(ctx))
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET settled_through = now() + interval '10 minutes' WHERE id = 'fires'").Error)
	require.NoError(t, db.Exec("CREATE POLICY tenants ON hourbell_schedules USING (namespace = current_user)").Error)
	return db
}

// Each query of operations.md finds the problem that it is for.
func TestQueriesFindTheirProblem(t *testing.T) {
	db := newTroubledDB(t)
	expected := map[string][]string{
		"schedules":    {"fires", "failing", "disabled", "locked", "removed"},
		"last-hour":    {"fires", "00:00:02"},
		"skipped":      {"LATE", "removed REMOVED"},
		"workers":      {"dead", "active", "00:00:05"},
		"locks":        {"locked dead"},
		"overdue":      {"locked", "failing"},
		"disabled":     {"disabled", "ada", "too loud"},
		"clock-behind": {"fires"},
		"hidden-rows":  {"policy tenants"},
		"lateness":     {"fires"},
		"queued":       {"import QUEUED", "RUNNING"},
		"expired":      {"busy"},
		"failing":      {"failing", "the queue is full"},
		"skew":         {"skewed"},
		"removed":      {"removed"},
		"namespaces":   {"default 5 2"},
		"size":         {"hourbell_job_runs"},
		"builds":       {"r-skewed"},
		"twice":        nil,
		"incomplete":   nil,
	}
	changes := []string{"grants", "unlock", "drop", "sequences"} // other tests run these
	for name, query := range statements(t) {
		texts, known := expected[name]
		if !known {
			require.Contains(t, changes, name, "no expectation for this query")
			continue
		}
		result := queryText(t, db, query)
		for _, text := range texts {
			require.Contains(t, result, text, name)
		}
		if texts == nil {
			require.Empty(t, result, name)
		}
	}
}

// The queries of architecture.md run. Those on pg_stat_statements need an
// extension, and are left out.
func TestArchitectureQueriesRun(t *testing.T) {
	db := newTroubledDB(t)
	ran := 0
	for _, b := range codeBlocks(t, "docs/architecture.md", "sql") {
		if !strings.Contains(b.code, "pg_stat_statements") {
			require.NotEmpty(t, queryText(t, db, b.code), b.code)
			ran++
		}
	}
	require.Equal(t, 3, ran)
}

// queryText returns the result of a query, one line per row.
func queryText(t *testing.T, db *dbtest.DB, query string) string {
	t.Helper()
	rows, err := db.Raw(query).Rows()
	require.NoError(t, err, query)
	columns, err := rows.Columns()
	require.NoError(t, err)
	var lines strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		require.NoError(t, rows.Scan(targets...))
		fmt.Fprintln(&lines, values...)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	return lines.String()
}

// The unlock statement clears a lock so that the old holder cannot fire and
// another worker can.
func TestUnlockStatementFencesOldHolder(t *testing.T) {
	db := dbtest.Postgres(t)
	now := time.Now().Truncate(time.Hour)
	cfg := hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import"}},
		Definitions: []hourbell.Definition{{ID: "locked", Cron: "0 * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true}},
		Now:         func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	}
	scheduler, err := hourbell.New(store.New(db.DB), cfg)
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	now = now.Add(time.Hour)
	holder, err := store.New(db.DB).Bind("default", cfg.Now)
	require.NoError(t, err)
	claims, err := holder.Claim(t.Context(), storage.ClaimRequest{Worker: "hangs", Limit: 1, LockTTL: time.Hour, Exclude: []string{}})
	require.NoError(t, err)
	report, err := scheduler.Tick(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Fired)

	require.NoError(t, db.Exec(statements(t)["unlock"]).Error)
	advanced, err := holder.Advance(t.Context(), "hangs", []storage.Advance{{Claim: claims.Claims[0], Fired: now, Through: now, Next: now.Add(time.Hour)}})
	require.NoError(t, err)
	require.Empty(t, advanced)
	report, err = scheduler.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Fired)
}

// A role with the documented grants can do everything that a backend does. The
// documented DROP removes all tables.
func TestGrantsSuffice(t *testing.T) {
	db := dbtest.Postgres(t)
	sql := statements(t)
	role := fmt.Sprintf("backend_%d", time.Now().UnixNano())
	require.NoError(t, db.Exec("CREATE ROLE "+role).Error)
	for _, grant := range strings.SplitAfter(strings.ReplaceAll(sql["grants"], "TO backend", "TO "+role), ";\n") {
		require.NoError(t, db.Exec(grant).Error)
	}
	db.SQL().SetMaxOpenConns(1) // SET ROLE applies to one connection
	require.NoError(t, db.Exec("SET ROLE "+role).Error)
	require.NoError(t, store.Migrate(t.Context(), db.DB), "on a migrated database it changes nothing")
	now := time.Now().Truncate(time.Hour)
	scheduler, err := hourbell.New(store.New(db.DB), hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import"}},
		Definitions: []hourbell.Definition{{ID: "a", Cron: "0 * * * *", Target: hourbell.AllJobs(), EnabledByDefault: true}},
		Now:         func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	now = now.Add(time.Hour)
	report, err := scheduler.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Fired)
	runs, err := scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w"})
	require.NoError(t, err)
	require.NoError(t, scheduler.FinishRun(t.Context(), runs[0], nil))

	require.NoError(t, db.Exec("RESET ROLE").Error)
	require.NoError(t, db.Exec(sql["drop"]).Error)
	require.NoError(t, db.Exec("DROP ROLE "+role).Error)
}

// systemd accepts the unit file.
func TestUnitFileIsValid(t *testing.T) {
	unit := codeBlocks(t, "docs/operations.md", "ini")[0].code
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	file := filepath.Join(t.TempDir(), "shop-schedules.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(unit, "/usr/local/bin/shop-schedules", "/bin/true", 1)), 0o600))
	out, err := exec.Command(analyze, "verify", file).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), filepath.Base(file), "a warning about the unit")
}
