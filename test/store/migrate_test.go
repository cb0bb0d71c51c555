package store_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

func TestConcurrentMigrationsSucceed(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		pools := make([]*gorm.DB, 8)
		for i := range pools {
			pools[i] = db.Open(t, nil)
		}
		for _, err := range runConcurrently(8, func(i int) error { return store.Migrate(testContext(t), pools[i]) }) {
			require.NoError(t, err)
		}
		require.Equal(t, []int{1, 2, 3}, appliedVersions(t, db))
		s, _ := newStore(t, db.DB)
		require.NoError(t, callAll(t.Context(), s))
	})
}

// appliedVersions returns the versions in hourbell_migrations.
func appliedVersions(t testing.TB, db *dbtest.DB) (list []int) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT version FROM hourbell_migrations ORDER BY version").Scan(&list).Error)
	return list
}

func TestMigrateIsIdempotent(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		before := readSchedule(t, s, "a")
		require.NoError(t, store.Migrate(t.Context(), db.DB))
		require.Equal(t, []int{1, 2, 3}, appliedVersions(t, db))
		require.Equal(t, before, readSchedule(t, s, "a"))
	})
}

func TestMigrateWorksWithPrepareStmt(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		prepared := db.Open(t, &gorm.Config{PrepareStmt: true})
		require.NoError(t, store.Migrate(t.Context(), prepared))
		require.NoError(t, store.Migrate(t.Context(), prepared))
		s, _ := newStore(t, prepared)
		require.NoError(t, callAll(t.Context(), s))
	})
}

func TestMigrateRefusesTransaction(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
			err := db.Open(t, cfg).Transaction(func(tx *gorm.DB) error { return store.Migrate(t.Context(), tx) })
			require.ErrorContains(t, err, "transaction")
			require.Empty(t, tableNames(t, db))
		}
	})
}

func TestMigrateRefusesNilDatabase(t *testing.T) {
	require.ErrorContains(t, store.Migrate(t.Context(), nil), "nil")
	_, err := store.New(nil).Bind("test", nil)
	require.ErrorContains(t, err, "nil")
}

func TestFailedMigrationRollsBack(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		// This table makes a late statement of the migration fail.
		require.NoError(t, db.Exec("CREATE TABLE hourbell_events (n int)").Error)
		err := store.Migrate(t.Context(), db.DB)
		require.ErrorContains(t, err, "hourbell_events")
		require.ErrorContains(t, err, db.Dialect+"/0001_")
		require.Equal(t, []string{"hourbell_events"}, tableNames(t, db))

		// No transaction is still open: the migration succeeds when the table
		// is gone.
		require.NoError(t, db.Exec("DROP TABLE hourbell_events").Error)
		require.NoError(t, store.Migrate(testContext(t), db.DB))
	})
}

func TestMigrationsApplyWithOtherTools(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		names, err := fs.Glob(store.Migrations(), db.Dialect+"/*.sql")
		require.NoError(t, err)
		require.NotEmpty(t, names)
		migrateTo(t, db, len(names))
		s, _ := newStore(t, db.DB)
		require.NoError(t, s.CheckMigrated(t.Context()))
		require.NoError(t, store.Migrate(t.Context(), db.DB))
		require.NoError(t, callAll(t.Context(), s))
	})
}

// The third migration gives each schedule with a next run a time from which it
// counts, before that run.
func TestMigrationSetsSettledThrough(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		migrateTo(t, db, 2)
		at := func(offset time.Duration) any {
			if db.Dialect == "sqlite" {
				return noon.Add(offset).UnixMicro()
			}
			return noon.Add(offset)
		}
		insert := func(id string, next, settled, updated any) {
			require.NoError(t, db.Exec(`INSERT INTO hourbell_schedules
				(namespace, id, definition_hash, enabled, next_run_at, settled_through, grace, updated_at, created_at, name, cron, time_zone, target_kind)
				VALUES ('test', ?, 'h', true, ?, ?, ?, ?, ?, 'n', '0 * * * *', 'UTC', 'ALL_JOBS')`,
				id, next, settled, map[string]any{"postgres": "2 minutes", "sqlite": 120_000_000}[db.Dialect], updated, at(0)).Error)
		}
		insert("never fired", at(time.Hour), nil, at(time.Minute))
		insert("due", at(0), nil, at(time.Minute))
		insert("fired", at(time.Hour), at(0), at(time.Second))
		insert("settled later", at(time.Hour), at(time.Minute), at(time.Second))
		insert("disabled", nil, at(0), at(time.Hour))
		require.NoError(t, store.Migrate(t.Context(), db.DB))
		s, _ := newStore(t, db.DB)
		for id, want := range map[string]time.Time{
			"never fired": noon.Add(time.Minute), "due": noon.Add(-time.Microsecond), "fired": noon.Add(time.Second),
			"settled later": noon.Add(time.Minute), "disabled": noon,
		} {
			require.Equal(t, want, readSchedule(t, s, id).SettledThrough, id)
		}
	})
}

// migrateTo applies the migrations up to a version.
func migrateTo(t testing.TB, db *dbtest.DB, version int) {
	t.Helper()
	names, err := fs.Glob(store.Migrations(), db.Dialect+"/*.sql")
	require.NoError(t, err)
	for _, name := range names[:version] {
		text, err := fs.ReadFile(store.Migrations(), name)
		require.NoError(t, err)
		_, err = db.SQL().ExecContext(t.Context(), string(text))
		require.NoError(t, err)
	}
}

func TestUnmigratedDatabaseReturnsErrNotMigrated(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
			s, _ := newStore(t, db.Open(t, cfg))
			for _, op := range operations {
				err := op.call(t.Context(), s)
				require.ErrorIs(t, err, hourbell.ErrNotMigrated, op.name)
				require.ErrorContains(t, err, "store.Migrate", op.name)
			}
			err := s.Transaction(t.Context(), deadAfter, func(s hourbell.Store, _ *gorm.DB) error { return errOf(s.Schedules(t.Context())) })
			require.ErrorIs(t, err, hourbell.ErrNotMigrated)
		}
	})
}

func TestOlderVersionReturnsErrNotMigrated(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		require.NoError(t, s.CheckMigrated(t.Context()))
		require.NoError(t, db.Exec("DELETE FROM hourbell_migrations").Error)
		err := s.CheckMigrated(t.Context())
		require.ErrorIs(t, err, hourbell.ErrNotMigrated)
		require.ErrorContains(t, err, "migration 1 is missing")
	})
}

// The tables of an unreleased build have another checksum or no checksum
// column.
func TestUnreleasedMigrationIsRefused(t *testing.T) {
	for name, change := range map[string]string{
		"other checksum": "UPDATE hourbell_migrations SET checksum = 'x'",
		"no checksum":    "ALTER TABLE hourbell_migrations DROP COLUMN checksum",
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
				require.NoError(t, db.Exec(change).Error)
				for _, err := range []error{s.CheckMigrated(t.Context()), store.Migrate(t.Context(), db.DB)} {
					require.ErrorIs(t, err, hourbell.ErrNotMigrated)
					require.ErrorContains(t, err, "unreleased build")
				}
			})
		})
	}
}

func TestMissingHostTableIsNotErrNotMigrated(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		err := s.Transaction(t.Context(), deadAfter, func(_ hourbell.Store, tx *gorm.DB) error {
			return tx.Exec("INSERT INTO host_table VALUES (1)").Error
		})
		require.ErrorContains(t, err, "host_table")
		require.NotErrorIs(t, err, hourbell.ErrNotMigrated)
	})
}

// tableNames returns the names of all tables.
func tableNames(t testing.TB, db *dbtest.DB) (list []string) {
	t.Helper()
	query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
	if db.Dialect == "postgres" {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_name"
	}
	require.NoError(t, db.Raw(query).Scan(&list).Error)
	return list
}

// tableColumns lists the documented columns of each table in order.
var tableColumns = map[string]string{
	"hourbell_schedules": `namespace id definition_hash removed_at enabled next_run_at grace locked_by locked_at version unfinished_since
		retry_at consecutive_failures settled_through last_run_at last_scheduled_for updated_at created_at name description cron time_zone target_kind target
		enabled_note last_error former_id zone_rules manual definition_digest`,
	"hourbell_job_runs": `id namespace job job_group trigger schedule_id scheduled_for ordinal status args queued_at started_at finished_at
		leased_by leased_until attempt error actor idempotency_key request_hash`,
	"hourbell_workers": `id namespace worker_type hostname pid version build_time definitions_hash started_at heartbeat_at stopped_at
		last_tick_at clock_skew`,
	"hourbell_events":     `id namespace schedule_id kind reason at actor note slot_from slot_to slot_count detail`,
	"hourbell_migrations": `version checksum applied_at`,
}

func TestBothDatabasesHaveSameColumns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		query := "SELECT name FROM pragma_table_info(?) ORDER BY cid"
		if db.Dialect == "postgres" {
			query = "SELECT column_name FROM information_schema.columns WHERE table_name = ? ORDER BY ordinal_position"
		}
		want := []string{}
		for table, names := range tableColumns {
			want = append(want, table)
			var list []string
			require.NoError(t, db.Raw(query, table).Scan(&list).Error)
			require.Equal(t, strings.Fields(names), list, table)
		}
		require.ElementsMatch(t, want, tableNames(t, db))
	})
}

func TestPostgresTimesHaveZones(t *testing.T) {
	db := dbtest.Postgres(t)
	var wrong []string
	require.NoError(t, db.Raw(`SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_name LIKE 'hourbell%' AND data_type = 'timestamp without time zone'`).Scan(&wrong).Error)
	require.Empty(t, wrong)
}
