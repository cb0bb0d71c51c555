package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// insertManySchedules inserts n schedules in one statement. The first ones are
// due.
func insertManySchedules(t testing.TB, db *dbtest.DB, n, due int) {
	t.Helper()
	require.NoError(t, db.Exec(`INSERT INTO hourbell_schedules (namespace, id, name, description, cron, time_zone, target_kind, target, grace,
			definition_hash, enabled, next_run_at, created_at, updated_at)
		SELECT 'test', 'schedule-' || i, 'a name', 'a description', '0 * * * *', 'UTC', 'JOBS', '["import"]', interval '2 minutes',
			'h1', true, clock_timestamp() + CASE WHEN i <= ? THEN interval '-1 hour' ELSE make_interval(mins => 5 + i % 600) END,
			clock_timestamp(), clock_timestamp()
		FROM generate_series(1, ?) i`, due, n).Error)
	require.NoError(t, db.Exec("ANALYZE").Error)
}

// onlyStatement returns the only recorded statement that contains a text.
func onlyStatement(t testing.TB, statements []sentStatement, part string) sentStatement {
	t.Helper()
	var found []sentStatement
	for _, s := range statements {
		if strings.Contains(s.text, part) {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1)
	return found[0]
}

// explainPlans returns the custom plan of a statement and its generic plan.
func explainPlans(t testing.TB, db *dbtest.DB, s sentStatement) map[string]string {
	t.Helper()
	read := func(tx *gorm.DB, query string, args ...any) string {
		rows, err := tx.Statement.ConnPool.QueryContext(t.Context(), query, args...)
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		var lines []string
		for rows.Next() {
			var line string
			require.NoError(t, rows.Scan(&line))
			lines = append(lines, line)
		}
		require.NoError(t, rows.Err())
		return strings.Join(lines, "\n")
	}
	byKind := map[string]string{}
	require.ErrorIs(t, db.Transaction(func(tx *gorm.DB) error {
		byKind["custom"] = read(tx, "EXPLAIN "+s.text, s.args...)
		require.NoError(t, tx.Exec("SET LOCAL plan_cache_mode = force_generic_plan").Error)
		read(tx, "PREPARE probe AS "+s.text)
		literals := make([]string, len(s.args))
		for i, arg := range s.args {
			literals[i] = sqlLiteral(arg)
		}
		defer tx.Exec("DEALLOCATE probe")
		byKind["generic"] = read(tx, "EXPLAIN EXECUTE probe("+strings.Join(literals, ", ")+")")
		return errHost
	}), errHost)
	return byKind
}

// sqlLiteral formats a value of a statement for EXECUTE.
func sqlLiteral(value any) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case *time.Time:
		if value == nil {
			return "NULL"
		}
		return "'" + value.Format(time.RFC3339Nano) + "'"
	case []string:
		quoted := make([]string, len(value))
		for i, text := range value {
			quoted[i] = strconv.Quote(text)
		}
		return "'{" + strings.Join(quoted, ",") + "}'"
	case []int64:
		return strings.NewReplacer(" ", ",", "[", "'{", "]", "}'").Replace(fmt.Sprint(value))
	case []time.Time:
		pointers := make([]*time.Time, len(value))
		for i := range value {
			pointers[i] = &value[i]
		}
		return sqlLiteral(pointers)
	case []*time.Time:
		list := make([]string, len(value))
		for i, at := range value {
			list[i] = strings.Trim(sqlLiteral(at), "'")
		}
		return "'{" + strings.Join(list, ",") + "}'"
	default:
		return fmt.Sprintf("'%v'", value)
	}
}

// O4: The cost of a poll does not depend on the number of schedules.
func TestClaimUsesDueIndex(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 20_000, 20)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	for _, limit := range []int{20, 2000} {
		r := claimRequest("w1")
		r.Limit = limit
		leastRecent := r
		leastRecent.LeastRecentFirst = true
		statement := onlyStatement(t, pool.during(func() { require.NoError(t, errOf(s.Claim(testContext(t), leastRecent))) }), "UPDATE hourbell_schedules")
		require.NotContains(t, explainPlans(t, db, statement)["custom"], "Seq Scan on hourbell_schedules", "limit %d", limit)
		statement = onlyStatement(t, pool.during(func() { require.NoError(t, errOf(s.Claim(testContext(t), r))) }), "UPDATE hourbell_schedules")
		for name, plan := range explainPlans(t, db, statement) {
			require.Contains(t, plan, "Index Scan using hourbell_schedules_due", "%s, limit %d:\n%s", name, limit, plan)
			require.NotContains(t, plan, "Seq Scan on hourbell_schedules", "%s, limit %d:\n%s", name, limit, plan)
		}
	}
}

// A claim finds its rows by their tuple ids. A join with a table of unknown
// size could compare each row with each other.
func TestClaimOnUnanalyzedTableUsesTIDs(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 4000, 2000)
	require.NoError(t, db.Exec("DELETE FROM pg_statistic WHERE starelid = 'hourbell_schedules'::regclass").Error)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	r := claimRequest("w1")
	r.Limit = 2000
	statement := onlyStatement(t, pool.during(func() { require.NoError(t, errOf(s.Claim(testContext(t), r))) }), "UPDATE hourbell_schedules")
	for name, plan := range explainPlans(t, db, statement) {
		require.Contains(t, plan, "TID Cond", "%s:\n%s", name, plan)
		require.NotContains(t, plan, "Seq Scan on hourbell_schedules", "%s:\n%s", name, plan)
		require.Equal(t, 2, strings.Count(plan, "CTE Scan on due"), "%s: one scan for the tuple ids, one for the previous values:\n%s", name, plan)
	}
}

// The fast path looks each schedule up by its key and updates it by its tuple
// id, whether or not the table was analyzed.
func TestFastPathLooksUpSchedulesByKey(t *testing.T) {
	for _, analyzed := range []bool{false, true} {
		db := dbtest.Postgres(t)
		handle, pool := openRecorded(t, db, gorm.Config{})
		s := bindStore(t, handle, "test", nil)
		require.NoError(t, db.Exec("ALTER TABLE hourbell_schedules SET (autovacuum_enabled = off)").Error)
		insertManySchedules(t, db, 20_000, 20)
		if !analyzed {
			require.NoError(t, db.Exec("DELETE FROM pg_statistic WHERE starelid = 'hourbell_schedules'::regclass").Error)
		}
		var list []storage.SlotFire
		for i := range 20 {
			f := slotFire(fmt.Sprintf("schedule-%d", 1+i), 2)
			f.Slot = readSchedule(t, s, f.ScheduleID).NextRunAt
			f.Next = f.Slot.Add(24 * time.Hour)
			list = append(list, f)
		}
		uniform := slices.Clone(list)
		for i := range uniform {
			uniform[i].Slot, uniform[i].Next = list[0].Slot, list[0].Next
		}
		for _, list := range [][]storage.SlotFire{list, uniform} {
			statement := onlyStatement(t, pool.during(func() { require.Zero(t, fireOnTime(t, s, list...).Slots, "the slots are late") }), "UPDATE hourbell_schedules")
			for name, plan := range explainPlans(t, db, statement) {
				require.Contains(t, plan, "Index Scan using hourbell_schedules_pkey", "%s:\n%s", name, plan)
				require.Contains(t, plan, "TID Cond", "%s:\n%s", name, plan)
				require.NotContains(t, plan, "hourbell_schedules_due", "%s:\n%s", name, plan)
				require.NotContains(t, plan, "Seq Scan on hourbell_schedules", "%s:\n%s", name, plan)
			}
		}
	}
}

// FindNext uses the index of due schedules, however many schedules are not due.
func TestFastPathFindNextUsesIndexes(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 200_000, 20)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	statement := onlyStatement(t, pool.during(func() {
		require.NoError(t, errOf(s.FireOnTime(testContext(t), storage.FireRequest{Fires: []storage.SlotFire{slotFire("schedule-1", 1)}, FindNext: true, Exclude: []string{"excluded h1"}})))
	}), "UPDATE hourbell_schedules")
	for name, plan := range explainPlans(t, db, statement) {
		require.NotContains(t, plan, "Seq Scan on hourbell_schedules", "%s:\n%s", name, plan)
		require.NotContains(t, plan, "Bitmap", "%s:\n%s", name, plan)
	}
}

func TestBatchWritesUsePrimaryKey(t *testing.T) {
	db := dbtest.Postgres(t)
	insertManySchedules(t, db, 20_000, 20)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	claims := claimAll(t, s, "w1").Claims
	require.Len(t, claims, 20)
	for name, call := range map[string]func() error{
		"release": func() error { return s.Release(testContext(t), "w1", claims[:5]) },
		"record failure": func() error {
			return errOf(s.RecordFailures(testContext(t), "w1", []storage.Failure{{Claim: claims[5]}}))
		},
	} {
		statement := onlyStatement(t, pool.during(func() { require.NoError(t, call()) }), "UPDATE hourbell_schedules")
		for values, plan := range explainPlans(t, db, statement) {
			require.NotContains(t, plan, "Seq Scan on hourbell_schedules", "%s, %s:\n%s", name, values, plan)
		}
	}
}

// The cost of a page does not depend on the length of the history.
func TestHistoryPagesUseIndexes(t *testing.T) {
	db := dbtest.Postgres(t)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_job_runs (namespace, job, trigger, schedule_id, ordinal, status, queued_at, finished_at)
		SELECT 'test', 'job', 'MANUAL', 'schedule-' || i % 500, 0, 'SUCCEEDED', clock_timestamp(), clock_timestamp() FROM generate_series(1, 20000) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_events (namespace, kind, schedule_id, at)
		SELECT 'test', 'ENABLED', 'schedule-' || i % 500, clock_timestamp() FROM generate_series(1, 20000) i`).Error)
	require.NoError(t, db.Exec(`INSERT INTO hourbell_schedules (namespace, id, definition_hash, enabled, grace, updated_at, created_at, name, cron, time_zone, target_kind)
		SELECT 'test', 'schedule-' || i, 'h', false, '1 min', clock_timestamp(), clock_timestamp(), 'n', '0 * * * *', 'UTC', 'ALL_JOBS'
		FROM generate_series(0, 499) i`).Error)
	require.NoError(t, db.Exec("ANALYZE").Error)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	for name, call := range map[string]func() error{
		"runs":            func() error { return errOf(s.Runs(testContext(t), hourbell.RunQuery{Limit: 100})) },
		"runs, next page": func() error { return errOf(s.Runs(testContext(t), hourbell.RunQuery{Limit: 100, Before: 10_000})) },
		"runs of a schedule": func() error {
			return errOf(s.Runs(testContext(t), hourbell.RunQuery{Limit: 100, ScheduleID: "schedule-7"}))
		},
		"take runs": func() error {
			return errOf(s.TakeRuns(testContext(t), hourbell.TakeRequest{LeasedBy: "h", Limit: 9, Lease: time.Minute}))
		},
		"events": func() error { return errOf(s.Events(testContext(t), hourbell.EventQuery{Limit: 100})) },
		"events of a schedule": func() error {
			return errOf(s.Events(testContext(t), hourbell.EventQuery{Limit: 100, ScheduleID: "schedule-7"}))
		},
		"purge": func() error { return errOf(s.Purge(testContext(t), retention, 100)) },
	} {
		for _, statement := range pool.during(func() { require.NoError(t, call()) }) {
			if !strings.Contains(statement.text, "hourbell_job_runs") && !strings.Contains(statement.text, "hourbell_events") {
				continue
			}
			plan := explainPlans(t, db, statement)["custom"]
			require.NotContains(t, plan, "Seq Scan on hourbell_", "%s:\n%s\n%s", name, statement.text, plan)
			// The fires of a schedule, and those under its former id, are read
			// by slot and sorted by id: one page of each.
			require.Less(t, strings.Count(plan, "Sort  ("), 3, "%s:\n%s", name, plan)
		}
	}
}
