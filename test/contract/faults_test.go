package contract_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// faultStep begins or ends a database fault. The pool is the loop's own; db is
// the test's.
type faultStep func(t *testing.T, db *dbtest.DB, pool *gorm.DB)

// databaseFault is a temporary fault of the database.
type databaseFault struct {
	begin, end faultStep
	logged     string // part of the error that the loop logs
}

// testSurvivesFaults runs the loop through a fault on each path: the fast path
// and the claim path on Postgres, and SQLite. The map has a fault for each
// dialect.
func testSurvivesFaults(t *testing.T, faults map[string]databaseFault) {
	t.Parallel()
	for _, c := range []struct {
		name, dialect string
		enqueuer      hourbell.Enqueuer
	}{{"fast path", "postgres", nil}, {"claim path", "postgres", noopEnqueuer}, {"sqlite", "sqlite", nil}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var db *dbtest.DB
			if c.dialect == "sqlite" {
				db = dbtest.SQLite(t)
			} else {
				db = dbtest.Postgres(t)
			}
			testSurvivesFault(t, db, faults[c.dialect], c.enqueuer)
		})
	}
}

// testSurvivesFault runs the loop before, during and after a fault. The loop
// logs the error and recovers by itself, and each slot fires once or is
// recorded once as skipped.
func testSurvivesFault(t *testing.T, db *dbtest.DB, fault databaseFault, enqueuer hourbell.Enqueuer) {
	var log logBuffer
	cfg := newLoopConfig(&log)
	cfg.Enqueuer = enqueuer
	cfg.Jobs = []hourbell.Job{{Name: "import", Args: strings.Repeat("x", 20_000)}} // a run needs new pages of a file
	var pool *gorm.DB
	if db.Dialect == "postgres" {
		pool = openNamedPool(t, db)
	} else {
		pool = db.Open(t, nil)
		connections, err := pool.DB()
		require.NoError(t, err)
		connections.SetMaxOpenConns(1) // so that a PRAGMA applies to all statements of the loop
	}
	stop := startLoop(t, newReplica(t, pool, cfg))
	observer := newReplica(t, db.DB, cfg)
	awaitFirstFire(t, observer)

	fault.begin(t, db, pool)
	await(t, "ticks fail because of the fault", func() bool {
		failures := 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "tick failed") && strings.Contains(line, fault.logged) {
				failures++
			}
		}
		return failures >= 2
	})
	fault.end(t, db, pool)
	awaitNextFire(t, observer)
	require.NoError(t, stop())
	requireLoopLedger(t, observer)
	require.Zero(t, readSchedule(t, observer, "s").ConsecutiveFailures)
}

// execute is a faultStep that executes a statement on the test's connection.
func execute(statement string) faultStep {
	return func(t *testing.T, db *dbtest.DB, _ *gorm.DB) { require.NoError(t, db.Exec(statement).Error) }
}

// executeInPool is a faultStep that executes a statement on the loop's
// connection.
func executeInPool(statement string) faultStep {
	return func(t *testing.T, _ *dbtest.DB, pool *gorm.DB) { require.NoError(t, pool.Exec(statement).Error) }
}

// alterDatabase is a faultStep that changes a setting of the database. It ends
// the loop's sessions, because only new ones have the setting.
func alterDatabase(setting string) faultStep {
	return func(t *testing.T, db *dbtest.DB, _ *gorm.DB) {
		var name string
		require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
		require.NoError(t, db.Exec("ALTER DATABASE "+name+" "+setting).Error)
		endNamedSessions(t, db.DB)
	}
}
