// Package docs_test runs what the documents say.
package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// blocks are the fenced blocks of a document in a language, by what their fence says behind it.
func blocks(t *testing.T, file, language string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	found := map[string]string{}
	for _, match := range regexp.MustCompile("(?ms)^```"+language+" ?([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		require.NotContains(t, found, match[1], "twice, or without a name")
		found[match[1]] = match[2]
	}
	require.NotEmpty(t, found)
	return found
}

// flaky is an engine that is away for one job.
type flaky struct{}

func (flaky) Enqueue(_ context.Context, _ hourbell.Tx, runs []hourbell.JobRun) error {
	for _, run := range runs {
		if run.Job == "broken" {
			return errors.New("the queue is full")
		}
	}
	return nil
}

// trouble makes a database in which everything has gone wrong that operations.md speaks of, by way of the library as
// far as that can be.
func trouble(t *testing.T) *dbtest.DB {
	t.Helper()
	db := dbtest.Postgres(t)
	ctx := t.Context()
	start := time.Now().Add(-40 * time.Minute).Truncate(5 * time.Minute)
	now := start
	clock := func() time.Time { return now }
	every := func(id, job string) hourbell.Definition {
		return hourbell.Definition{ID: id, Cron: "*/5 * * * *", Target: hourbell.Jobs(job), EnabledByDefault: true}
	}
	cfg := hourbell.Config{
		Jobs:        []hourbell.Job{{Name: "import"}, {Name: "broken"}, {Name: "slow"}},
		Definitions: []hourbell.Definition{every("fires", "import"), every("failing", "broken"), every("disabled", "import"), every("locked", "slow"), every("removed", "import")},
		Enqueuer:    flaky{}, Now: clock, Logger: slog.New(slog.DiscardHandler),
	}
	scheduler, err := hourbell.New(store.New(db.DB), cfg)
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(ctx))
	require.NoError(t, scheduler.Disable(ctx, "disabled", hourbell.By{Actor: "ada", Note: "too loud"}))
	tick := func() {
		_, err := scheduler.Tick(ctx)
		require.NoError(t, err)
	}
	now = start.Add(5*time.Minute + 2*time.Second)
	tick()
	runs, err := scheduler.TakeRuns(ctx, hourbell.TakeRequest{Worker: "busy", Lease: time.Minute})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	now = start.Add(20 * time.Minute) // nobody was there for two slots
	tick()

	worker := func(id string, at time.Time, skew time.Duration) hourbell.Store {
		s, err := store.New(db.DB).Bind("default", func() time.Time { return at })
		require.NoError(t, err)
		_, err = s.Heartbeat(ctx, hourbell.Worker{ID: id, WorkerType: "schedule_daemon", Hostname: id, Version: "r-" + id, ClockSkew: skew}, 30*time.Second)
		require.NoError(t, err)
		return s
	}
	now = start.Add(25 * time.Minute)
	claims, err := worker("dead", now, 0).Claim(ctx, hourbell.ClaimRequest{
		Worker: "dead", Limit: 5, LockTTL: time.Minute, Except: []string{},
	})
	require.NoError(t, err)
	require.NotEmpty(t, claims.Rows)
	worker("skewed", time.Now(), 5*time.Second)
	cfg.Definitions = cfg.Definitions[:4]
	later, err := hourbell.New(store.New(db.DB), cfg)
	require.NoError(t, err)
	require.NoError(t, later.Sync(ctx))
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET settled_until = now() + interval '10 minutes' WHERE id = 'fires'").Error)
	return db
}

// Each query of operations.md finds what it is for, where it is there.
func TestTheQueriesFindTheTrouble(t *testing.T) {
	db := trouble(t)
	finds := map[string][]string{
		"schedules":    {"fires", "failing", "disabled", "locked", "removed"},
		"last-hour":    {"fires", "00:00:02"},
		"skipped":      {"LATE", "removed REMOVED"},
		"workers":      {"dead", "alive", "00:00:05"},
		"locks":        {"locked dead"},
		"overdue":      {"locked", "failing"},
		"disabled":     {"disabled", "ada", "too loud"},
		"clock-behind": {"fires"},
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
	changes := []string{"grants", "unlock", "drop"} // tested below
	for name, query := range blocks(t, "operations.md", "sql") {
		name := strings.TrimPrefix(name, "name=")
		wanted, known := finds[name]
		if !known {
			require.Contains(t, changes, name, "nobody says what this query finds")
			continue
		}
		var rows []map[string]any
		var lines strings.Builder
		found, err := db.Raw(query).Rows()
		require.NoError(t, err, name)
		columns, err := found.Columns()
		require.NoError(t, err)
		for found.Next() {
			values := make([]any, len(columns))
			targets := make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			require.NoError(t, found.Scan(targets...))
			fmt.Fprintln(&lines, values...)
			rows = append(rows, nil)
		}
		require.NoError(t, found.Close())
		for _, text := range wanted {
			require.Contains(t, lines.String(), text, name)
		}
		if wanted == nil {
			require.Empty(t, rows, "%s: %s", name, &lines)
		}
	}
}

// After the statement of operations.md the lock is gone, its old holder cannot fire, and somebody else can.
func TestALockIsClearedInSQL(t *testing.T) {
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
	claims, err := holder.Claim(t.Context(), hourbell.ClaimRequest{Worker: "hangs", Limit: 1, LockTTL: time.Hour, Except: []string{}})
	require.NoError(t, err)
	report, err := scheduler.Tick(t.Context())
	require.NoError(t, err)
	require.Zero(t, report.Fired)

	require.NoError(t, db.Exec(blocks(t, "operations.md", "sql")["name=unlock"]).Error)
	advanced, err := holder.Advance(t.Context(), "hangs", []hourbell.Settlement{{Claim: claims.Rows[0], Fired: now, Through: now, Next: now.Add(time.Hour)}})
	require.NoError(t, err)
	require.Empty(t, advanced)
	report, err = scheduler.Tick(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Fired)
}

// A role with the rights that operations.md grants can do all that a backend does; dropping the tables works.
func TestTheGrantsAreEnough(t *testing.T) {
	db := dbtest.Postgres(t)
	sql := blocks(t, "operations.md", "sql")
	role := fmt.Sprintf("backend_%d", time.Now().UnixNano())
	require.NoError(t, db.Exec("CREATE ROLE "+role).Error)
	for _, grant := range strings.SplitAfter(strings.ReplaceAll(sql["name=grants"], "TO backend", "TO "+role), ";\n") {
		require.NoError(t, db.Exec(grant).Error)
	}
	db.SQL().SetMaxOpenConns(1) // the role is the connection's
	require.NoError(t, db.Exec("SET ROLE "+role).Error)
	require.NoError(t, store.Migrate(t.Context(), db.DB), "on a database that is up to date it changes nothing")
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
	runs, err := scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "w"})
	require.NoError(t, err)
	require.NoError(t, scheduler.FinishRun(t.Context(), runs[0], nil))

	require.NoError(t, db.Exec("RESET ROLE").Error)
	require.NoError(t, db.Exec(sql["name=drop"]).Error)
	require.NoError(t, db.Exec("DROP ROLE "+role).Error)
}

// Every path of the API that a document names is there.
func TestThePathsOfTheDocumentsAreThere(t *testing.T) {
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{})
	require.NoError(t, err)
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	paths := regexp.MustCompile(`/api/[A-Za-z0-9/._{}?=-]+`)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, path := range paths.FindAllString(string(text), -1) {
			path = strings.TrimRight(path, ".")
			status := http.StatusNotFound
			var body string
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
				if !strings.Contains(w.Body.String(), "unknown-path") {
					status, body = w.Code, w.Body.String()
				}
			}
			require.NotEqual(t, "", body, "%s: there is nothing at %s", file, path)
			require.NotEqual(t, http.StatusBadRequest, status, "%s: %s: %s", file, path, body)
		}
	}
}

// documents are those of the tree.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "../*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	require.Greater(t, len(files), 4)
	return files
}

// A link to another file, or to a heading, leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			target, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
				_, err := os.Stat(path)
				require.NoError(t, err, "%s links to it", file)
			}
			if heading != "" {
				require.Contains(t, headings(t, path), heading, "%s links to it", file)
			}
		}
	}
}

// headings are the anchors of a document.
func headings(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		list = append(list, strings.ReplaceAll(plain, " ", "-"))
	}
	return list
}

// The unit file is one that systemd takes.
func TestTheUnitIsWellFormed(t *testing.T) {
	unit := blocks(t, "operations.md", "ini")[""]
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	file := filepath.Join(t.TempDir(), "shop-schedules.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(unit, "/usr/local/bin/shop-schedules", "/bin/true", 1)), 0o600))
	out, err := exec.Command(analyze, "verify", file).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), filepath.Base(file), "what it says of the unit")
}
