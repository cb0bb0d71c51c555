package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

// refusals are ways in which a host's database prevents the deletion of a row,
// by dialect. %[1]s is the table, %[2]s the column and %[3]s its value in that
// row, %[4]s is the primary key, and %[5]s is a name for what is created.
var refusals = map[string]map[string][]string{
	"postgres": {
		"trigger raises": {
			`CREATE FUNCTION %[5]s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this row is kept'; END $$`,
			`CREATE TRIGGER %[5]s BEFORE DELETE ON %[1]s FOR EACH ROW WHEN (OLD.%[2]s = '%[3]s') EXECUTE FUNCTION %[5]s()`,
		},
		"trigger returns NULL": {
			`CREATE FUNCTION %[5]s() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
			`CREATE TRIGGER %[5]s BEFORE DELETE ON %[1]s FOR EACH ROW WHEN (OLD.%[2]s = '%[3]s') EXECUTE FUNCTION %[5]s()`,
		},
		"foreign key": {
			`CREATE TABLE %[5]s AS SELECT * FROM %[1]s WHERE %[2]s = '%[3]s'`,
			`ALTER TABLE %[5]s ADD FOREIGN KEY (%[4]s) REFERENCES %[1]s (%[4]s)`,
		},
	},
	"sqlite": {
		"trigger raises":  {`CREATE TRIGGER %[5]s BEFORE DELETE ON %[1]s WHEN OLD.%[2]s = '%[3]s' BEGIN SELECT RAISE(ABORT, 'this row is kept'); END`},
		"trigger ignores": {`CREATE TRIGGER %[5]s BEFORE DELETE ON %[1]s WHEN OLD.%[2]s = '%[3]s' BEGIN SELECT RAISE(IGNORE); END`},
	},
}

// purgedKinds are the kinds of rows that a purge deletes, with one row of each
// that is refused.
var purgedKinds = []struct{ name, table, column, refused, key string }{
	{"finished", "hourbell_job_runs", "job", "finished3", "id"},
	{"unfinished", "hourbell_job_runs", "job", "unfinished3", "id"},
	{"event", "hourbell_events", "note", "note3", "namespace, id"},
	{"schedule", "hourbell_schedules", "id", "s3", "namespace, id"},
	{"worker", "hourbell_workers", "id", "w3", "id"},
}

// rowsPerKind is how many rows of each kind insertPurgedRows inserts.
const rowsPerKind = 10

// insertPurgedRows inserts rows of each kind.
func insertPurgedRows(t *testing.T, st hourbell.Store, db *dbtest.DB) {
	t.Helper()
	insertQueuedRuns(t, st, "finished", rowsPerKind)
	runs, err := st.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: rowsPerKind, Lease: time.Hour})
	require.NoError(t, err)
	for _, run := range runs {
		finished, err := st.FinishRun(t.Context(), run, hourbell.RunSucceeded, "")
		require.NoError(t, err)
		require.True(t, finished)
	}
	insertQueuedRuns(t, st, "unfinished", rowsPerKind)
	events, schedules := make([]hourbell.Event, rowsPerKind), make([]storage.ScheduleUpdate, rowsPerKind)
	for i := range rowsPerKind {
		events[i] = hourbell.Event{Kind: hourbell.EventEnabled, Note: fmt.Sprintf("note%d", i)}
		schedules[i].Schedule = storage.Schedule{
			ID: fmt.Sprintf("s%d", i), Name: "s", Cron: "0 * * * *", TimeZone: "UTC", TargetKind: "ALL_JOBS", Grace: time.Minute, DefinitionHash: "h",
		}
		_, err := st.Heartbeat(t.Context(), hourbell.Worker{ID: fmt.Sprintf("w%d", i), WorkerType: "schedule_daemon"}, 30*time.Second)
		require.NoError(t, err)
	}
	require.NoError(t, st.InsertEvents(t.Context(), events))
	ids, err := st.InsertSchedules(t.Context(), schedules)
	require.NoError(t, err)
	require.Len(t, ids, rowsPerKind)
	require.NoError(t, db.Exec("UPDATE hourbell_schedules SET removed_at = created_at").Error)
}

// A row that the database refuses to delete does not prevent the deletion of
// the others, in this purge or in the next one.
func TestPurgeStepsOverRefusedRows(t *testing.T) {
	const limit = 4
	for dialect, open := range map[string]func(testing.TB) *dbtest.DB{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		for name, statements := range refusals[dialect] {
			t.Run(dialect+" "+name, func(t *testing.T) {
				db := open(t)
				clock := testclock.New(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
				st, err := store.New(db.DB).Bind("default", clock.Now)
				require.NoError(t, err)
				insertPurgedRows(t, st, db)
				left := map[string][]string{}
				for _, kind := range purgedKinds {
					left[kind.table] = append(left[kind.table], kind.refused)
					for _, statement := range statements {
						statement = fmt.Sprintf(statement+" -- %[1]s %[2]s %[3]s %[4]s %[5]s", kind.table, kind.column, kind.refused, kind.key, "refuse_"+kind.name)
						require.NoError(t, db.Exec(statement).Error)
					}
				}
				clock.Advance(100 * 24 * time.Hour)
				const day = 24 * time.Hour
				retention := storage.Retention{Runs: day, Events: day, Removed: day, Workers: day, Unfinished: true}

				result, err := st.Purge(t.Context(), retention, limit)
				require.NoError(t, err)
				refused := int64(len(purgedKinds))
				require.Equal(t, storage.PurgeResult{Deleted: refused * (rowsPerKind - 1), Refused: refused}, result)
				for _, kind := range purgedKinds {
					var rows []string
					require.NoError(t, db.Table(kind.table).Order(kind.column).Pluck(kind.column, &rows).Error)
					require.Equal(t, left[kind.table], rows, kind.table)
				}
				require.NoError(t, st.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}}))
				insertQueuedRuns(t, st, "later", 1)
				clock.Advance(2 * day)
				result, err = st.Purge(t.Context(), retention, limit)
				require.NoError(t, err)
				require.Equal(t, storage.PurgeResult{Deleted: 2, Refused: refused}, result)
			})
		}
	}
}

// insertQueuedRuns inserts n runs. Their jobs are prefix with 0, 1 and so on.
func insertQueuedRuns(t *testing.T, st hourbell.Store, prefix string, n int) {
	t.Helper()
	runs := make([]hourbell.JobRun, n)
	for i := range runs {
		runs[i] = hourbell.JobRun{Job: fmt.Sprintf("%s%d", prefix, i), Trigger: hourbell.TriggerAPI, Ordinal: i}
	}
	inserted, err := st.InsertRuns(t.Context(), runs, "")
	require.NoError(t, err)
	require.Len(t, inserted, n)
}

// Events that were recorded before the clock was stepped back have a future
// time. A whole batch of them does not prevent the deletion of later ones.
func TestPurgeStepsOverEventsOfFuture(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		const limit = 5000
		start := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		clock := testclock.New(start.Add(1000 * 24 * time.Hour))
		st, err := store.New(db.DB).Bind("default", clock.Now)
		require.NoError(t, err)
		future := make([]hourbell.Event, limit+1)
		for i := range future {
			future[i].Kind = hourbell.EventEnabled
		}
		require.NoError(t, st.InsertEvents(t.Context(), future))
		clock.Set(start)
		require.NoError(t, st.InsertEvents(t.Context(), future[:2]))
		clock.Advance(31 * 24 * time.Hour)
		require.NoError(t, st.InsertEvents(t.Context(), future[:1]))

		result, err := st.Purge(t.Context(), storage.Retention{Events: 30 * 24 * time.Hour}, limit)
		require.NoError(t, err)
		require.Equal(t, storage.PurgeResult{Deleted: 2}, result)
		var left int64
		require.NoError(t, db.Table("hourbell_events").Count(&left).Error)
		require.EqualValues(t, len(future)+1, left)
	})
}
