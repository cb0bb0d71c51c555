package store_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// qualifiedTable matches a table name with the schema of the test before it.
// In a string, Postgres reads it as the name of a table.
var (
	qualifiedTable = regexp.MustCompile(`"jobs"\.hourbell_\w+`)
	anyTable       = regexp.MustCompile(`\bhourbell_(schedules|job_runs|events|workers|migrations)\b`)
)

// E3: with store.Schema, no statement has a table name without the schema. The
// search_path has no tables, so a statement without the schema would fail, too.
func TestSchemaQualifiesEveryStatement(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	require.NoError(t, db.Exec("CREATE SCHEMA jobs").Error)
	require.NoError(t, store.Migrate(testContext(t), db.DB, store.Schema("jobs")))
	handle, sent := openRecorded(t, db, gorm.Config{})
	s, err := store.New(handle, store.Schema("jobs")).Bind("test", nil)
	require.NoError(t, err)
	statements := sent.during(func() {
		for _, op := range operations {
			require.NoError(t, op.call(testContext(t), s), op.name)
		}
		for _, sort := range []string{"id", "name", "nextRunAt", "lastRunAt"} {
			require.NoError(t, errOf(s.ListSchedules(testContext(t), hourbell.ScheduleQuery{Sort: sort, Limit: 1, Search: "a"})))
		}
		require.NoError(t, errOf(s.Runs(testContext(t), hourbell.RunQuery{ScheduleID: "a", Limit: 1})))
		require.NoError(t, errOf(s.Events(testContext(t), hourbell.EventQuery{ScheduleID: "a", Limit: 1})))
		for _, find := range []bool{false, true} {
			for _, jobs := range [][]storage.JobSpec{{{Name: "a"}}, {{Name: "a"}, {Name: "b"}}} {
				fires := []storage.SlotFire{
					{ScheduleID: "a", Slot: noon, Next: noon.AddDate(1, 0, 0), Jobs: jobs},
					{ScheduleID: "b", Slot: noon, Next: noon.AddDate(1, 0, 0), Jobs: jobs[:1]},
				}
				require.NoError(t, errOf(s.FireOnTime(testContext(t), storage.FireRequest{Fires: fires, FindNext: find})))
			}
		}
		require.NoError(t, errOf(s.Stored(testContext(t))))
		require.NoError(t, errOf(s.Now(testContext(t))))
	})
	require.NotEmpty(t, statements)
	for _, statement := range statements {
		rest := qualifiedTable.ReplaceAllString(statement.text, "")
		require.NotRegexp(t, anyTable, rest, statement.text)
	}
}

// SQLite has no schemas.
func TestSchemaIsRefusedOnSQLite(t *testing.T) {
	db := dbtest.EmptySQLite(t)
	require.ErrorContains(t, store.Migrate(testContext(t), db.DB, store.Schema("jobs")), "SQLite has no schemas")
	_, err := store.New(db.DB, store.Schema("jobs")).Bind("test", nil)
	require.ErrorContains(t, err, "SQLite has no schemas")
}
