package admin_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// dropInserts makes the database drop new rows of schedules without an error,
// as a row-level security policy may.
func dropInserts(t testing.TB, db *dbtest.DB) {
	t.Helper()
	statements := []string{`CREATE TRIGGER drop_inserts BEFORE INSERT ON hourbell_schedules BEGIN SELECT RAISE(IGNORE); END`}
	if db.Dialect == "postgres" {
		statements = []string{
			`CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
			`CREATE TRIGGER drop_inserts BEFORE INSERT ON hourbell_schedules FOR EACH ROW EXECUTE FUNCTION drop_row()`,
		}
	}
	for _, statement := range statements {
		require.NoError(t, db.Exec(statement).Error)
	}
}

// missing returns the problem MISSING of the health.
func (f *fixture) missing() string {
	f.Helper()
	for _, problem := range f.json("GET", "/api/health")["problems"].([]any) {
		if p := problem.(map[string]any); p["code"] == "MISSING" {
			return p["detail"].(string)
		}
	}
	return ""
}

// Health and the pages name the declared schedules that were missing from the
// table, and say whether they are restored.
func TestHealthNamesMissingSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		require.Empty(t, f.missing())

		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules").Error)
		require.NoError(t, f.scheduler.Sync(t.Context()))
		const restored = "2 declared schedules missing from the table (off, on); restored"
		require.Equal(t, restored, f.missing())
		require.Contains(t, f.page("/"), restored)

		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id = 'on'").Error)
		dropInserts(t, db)
		require.Error(t, f.scheduler.Sync(t.Context()))
		const failed = "1 declared schedule missing from the table (on); restoring failed: "
		require.Contains(t, f.missing(), failed)
		require.Contains(t, f.missing(), "inserting them had no effect")
		require.Contains(t, f.page("/"), failed)
	})
}

// Health does not name a missing schedule that the request may not probe, and
// the pages name none that it may not view.
func TestHealthHidesNamesOfMissingSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		require.NoError(t, db.Exec("DELETE FROM hourbell_schedules WHERE id IN ('on', 'off')").Error)
		dropInserts(t, db)
		require.Error(t, f.scheduler.Sync(t.Context()))
		var err error
		f.Handler, err = admin.New(f.scheduler, admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
			if action.ScheduleID == "off" {
				return "", errors.New("hidden")
			}
			return "bob", nil
		}})
		require.NoError(t, err)
		const want = "2 declared schedules missing from the table (on and 1 more); restoring failed: the log of the process has the cause"
		require.Equal(t, want, f.missing())
		require.Contains(t, f.page("/"), want)
	})
}
