package hourbell_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// fault is something that befalls the database for a while. pool is the loop's own.
type fault struct {
	begin, end func(t *testing.T, db *dbtest.DB, pool *gorm.DB)
	says       string // the cause, as the log must have it
}

// faulty is a loop's config whose runs need room of their own in a file.
func faulty(log *logs, engine hourbell.Enqueuer) hourbell.Config {
	cfg := impatient(log)
	cfg.Enqueuer = engine
	cfg.Jobs = []hourbell.Job{{Name: "import", Args: strings.Repeat("x", 20_000)}}
	return cfg
}

// outlived runs the loop, on each of its roads, before, during and after a fault. Nothing is lost or fired twice, the loop
// goes on by itself, and the log has the cause.
func outlived(t *testing.T, faults map[string]fault) {
	t.Parallel()
	for _, road := range []struct {
		name, dialect string
		engine        hourbell.Enqueuer
	}{{"on time", "postgres", nil}, {"claimed", "postgres", idle}, {"sqlite", "sqlite", nil}} {
		f, meant := faults[road.dialect]
		if !meant {
			continue
		}
		t.Run(road.name, func(t *testing.T) {
			t.Parallel()
			var db *dbtest.DB
			if db = dbtest.SQLite(t); road.dialect == "postgres" {
				db = dbtest.Postgres(t)
			}
			outlive(t, db, f, road.engine)
		})
	}
}

func outlive(t *testing.T, db *dbtest.DB, f fault, engine hourbell.Enqueuer) {
	own := *db
	if db.Dialect == "postgres" {
		own.DSN += "&application_name=replica"
	}
	var log logs
	pool := own.Open(t, nil)
	if sql, _ := pool.DB(); db.Dialect == "sqlite" {
		sql.SetMaxOpenConns(1) // so that a setting of the connection is one of the loop's
	}
	stop := running(t, replica(t, pool, faulty(&log, engine)))
	watcher := replica(t, db.DB, faulty(&log, engine))
	await(t, "the first fire", func() bool { return len(runsOf(t, watcher, "s")) > 0 })

	f.begin(t, db, pool)
	await(t, "ticks fail for the cause", func() bool {
		n := 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "tick failed") && strings.Contains(line, f.says) {
				n++
			}
		}
		return n >= 2
	})
	f.end(t, db, pool)
	goesOn(t, watcher)
	require.NoError(t, stop())
	closed(t, watcher)
	require.Zero(t, row(t, watcher, "s").Failures)
}

// does is a fault's beginning or end that is one statement, by somebody else.
func does(statement string) func(*testing.T, *dbtest.DB, *gorm.DB) {
	return func(t *testing.T, db *dbtest.DB, _ *gorm.DB) { require.NoError(t, db.Exec(statement).Error) }
}

// sets is a fault's beginning or end that is a setting of the loop's own connection.
func sets(statement string) func(*testing.T, *dbtest.DB, *gorm.DB) {
	return func(t *testing.T, _ *dbtest.DB, pool *gorm.DB) { require.NoError(t, pool.Exec(statement).Error) }
}

// failsOver gives the database a setting, and ends the loop's connections, so that the next have it.
func failsOver(setting string) func(*testing.T, *dbtest.DB, *gorm.DB) {
	return func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
		var name string
		require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
		require.NoError(t, db.Exec("ALTER DATABASE "+name+" "+setting).Error)
		require.NoError(t, db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'replica' AND datname = current_database()").Error)
	}
}

// O1: the loop outlives a database that may only be read for a while, such as a standby before it is promoted.
func TestRunOutlivesAReadOnlyDatabase(t *testing.T) {
	outlived(t, map[string]fault{
		"postgres": {failsOver("SET default_transaction_read_only = on"), failsOver("RESET default_transaction_read_only"), "SQLSTATE 25006"},
		"sqlite":   {sets("PRAGMA query_only = ON"), sets("PRAGMA query_only = OFF"), "readonly"},
	})
}

// O1: the loop outlives a full disk. SQLite's is full because it may have no page more; Postgres says what it would say.
func TestRunOutlivesAFullDisk(t *testing.T) {
	full := func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
		does(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''53100''; END'`)(t, db, nil)
		does("CREATE TRIGGER full_disk BEFORE INSERT ON hourbell_job_runs FOR EACH ROW EXECUTE FUNCTION full_disk()")(t, db, nil)
	}
	outlived(t, map[string]fault{
		"postgres": {full, does("DROP TRIGGER full_disk ON hourbell_job_runs"), "No space left on device"},
		"sqlite":   {sets("PRAGMA max_page_count = 1"), sets("PRAGMA max_page_count = 1000000"), "database or disk is full"},
	})
}

// O1, O2: the loop outlives a table that somebody keeps locked for longer than its statements may take.
func TestRunOutlivesATableThatIsLocked(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"hourbell_job_runs", "hourbell_schedules"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			for _, engine := range []hourbell.Enqueuer{nil, idle} {
				t.Run(fmt.Sprint("Enqueuer ", engine != nil), func(t *testing.T) {
					t.Parallel()
					var other *gorm.DB
					outlive(t, dbtest.Postgres(t), fault{
						begin: func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
							other = db.Begin()
							t.Cleanup(func() { other.Rollback() })
							require.NoError(t, other.Exec("LOCK TABLE "+table).Error)
						},
						end: func(t *testing.T, _ *dbtest.DB, _ *gorm.DB) { require.NoError(t, other.Rollback().Error) },
					}, engine)
				})
			}
		})
	}
}

// O6: a fire that the server refuses for reasons of concurrency is tried again at once, on either road, and is no failure.
func TestAFireRefusedForConcurrencyIsNoFailure(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		for name, engine := range map[string]hourbell.Enqueuer{"on time": nil, "claimed": &engine{}} {
			t.Run(code+" "+name, func(t *testing.T) {
				s, _, _, db := travelling(t, hourbell.Config{Definitions: manyHourly(3), Enqueuer: engine})
				does("CREATE TABLE engine_jobs (key text)")(t, db, nil)
				does("CREATE SEQUENCE refusals")(t, db, nil) // counts those that were rolled back too
				does(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
					'BEGIN IF nextval(''refusals'') <= 3 THEN RAISE EXCEPTION ''refused'' USING ERRCODE = ''`+code+`''; END IF; RETURN NULL; END'`)(t, db, nil)
				does("CREATE TRIGGER refuse AFTER INSERT ON hourbell_job_runs FOR EACH STATEMENT EXECUTE FUNCTION refuse()")(t, db, nil)
				report := tick(t, s)
				require.Equal(t, []int{3, 3, 0, 0}, []int{report.Fired, report.Enqueued, report.Failed, report.Skipped})
				var n int
				require.NoError(t, db.Raw("SELECT last_value FROM refusals").Scan(&n).Error)
				require.Greater(t, n, 3)
				require.Empty(t, eventsOf(t, s, "", "ENQUEUE_FAILED"))
				require.Zero(t, row(t, s, "s000001").Failures)
			})
		}
	}
}
