package admin_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// fixture is a handler that allows every action, on a database with an enabled,
// locked schedule "on", a disabled schedule "off", more schedules that a test
// declares, and one run.
type fixture struct {
	testing.TB
	http.Handler
	scheduler *hourbell.Scheduler
	db        *dbtest.DB
	log       *bytes.Buffer
}

func newFixture(t testing.TB, db *dbtest.DB, more ...hourbell.Definition) *fixture {
	t.Helper()
	scheduler, err := hourbell.New(store.New(db.DB), hourbell.Config{
		Jobs: []hourbell.Job{{Name: "job", Group: "group"}},
		Definitions: append([]hourbell.Definition{
			{ID: "on", Cron: "@daily", Target: hourbell.AllJobs(), EnabledByDefault: true},
			{ID: "off", Cron: "@daily", Target: hourbell.AllJobs()},
		}, more...),
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, scheduler.Sync(t.Context()))
	_, err = scheduler.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET locked_by = 'w', locked_at = next_run_at WHERE id = 'on'").Error)
	f := &fixture{TB: t, scheduler: scheduler, db: db, log: &bytes.Buffer{}}
	f.Handler, err = admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: slog.New(slog.NewTextHandler(f.log, nil))})
	require.NoError(t, err)
	return f
}

// dump returns all rows of all tables as text.
func (f *fixture) dump() string {
	f.Helper()
	var all strings.Builder
	for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
		var rows []map[string]any
		require.NoError(f, f.db.Table("hourbell_"+table).Order("id").Find(&rows).Error)
		for _, row := range rows {
			_, _ = fmt.Fprintln(&all, table, row)
		}
	}
	return all.String()
}

// requireUnchanged fails the test if a row changes while fn runs.
func (f *fixture) requireUnchanged(what string, fn func()) {
	f.Helper()
	before := f.dump()
	fn()
	require.Equal(f, before, f.dump(), what)
}
