package contract_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// newLoopConfig returns a Config for a loop that uses the database clock. Its
// schedule "s" is due every second; its deadlines and pauses take about a
// second.
func newLoopConfig(log *logBuffer) hourbell.Config {
	return hourbell.Config{
		Definitions: []hourbell.Definition{everySecond("s")}, LockTTL: 2 * time.Second,
		PollInterval: time.Second, Logger: log.logger(),
	}
}

// awaitFirstFire waits until the schedule "s" has fired.
func awaitFirstFire(t testing.TB, s *hourbell.Scheduler) {
	t.Helper()
	await(t, "the first fire", func() bool { return len(readRuns(t, s, "s")) > 0 })
}

// awaitNextFire waits until the schedule "s" has fired another slot.
func awaitNextFire(t testing.TB, s *hourbell.Scheduler) {
	t.Helper()
	last := readSchedule(t, s, "s").LastScheduledFor
	await(t, "another slot fires", func() bool { return readSchedule(t, s, "s").LastScheduledFor.After(last) })
}

// awaitTick returns the report of the loop's next tick.
func awaitTick(t testing.TB, reports <-chan hourbell.TickReport) hourbell.TickReport {
	t.Helper()
	select {
	case report := <-reports:
		return report
	case <-time.After(30 * time.Second):
		t.Fatal("the loop does not tick")
		return hourbell.TickReport{}
	}
}

// openNamedPool opens a Postgres pool whose sessions have the application name
// "replica", so that tests can find and end them.
func openNamedPool(t testing.TB, db *dbtest.DB) *gorm.DB {
	named := dbtest.DB{DSN: db.DSN + "&application_name=replica", Dialect: db.Dialect}
	return named.Open(t, nil)
}

// endNamedSessions ends the sessions of openNamedPool, whatever they are doing.
func endNamedSessions(t testing.TB, db *gorm.DB) {
	t.Helper()
	require.NoError(t, db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'replica' AND datname = current_database()").Error)
}

// openImpatientPool opens a pool that waits for a lock on a SQLite file for at
// most a tenth of a second, because a deadline cannot end such a wait. On
// Postgres it is an ordinary pool.
func openImpatientPool(t testing.TB, db *dbtest.DB) *gorm.DB {
	impatient := *db
	if impatient.Dialect == "sqlite" {
		impatient.DSN += "&_pragma=busy_timeout(100)"
	}
	return impatient.Open(t, nil)
}
