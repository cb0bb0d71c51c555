package contract_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// T2, L1, L3, M1, M2, M3: eight replicas at the same time fire every slot once
// or record it once as skipped. The clock jumps past grace and has a gap of
// days.
func TestReplicasFireEverySlotOnce(t *testing.T) {
	fires, schedules := 10_000, 500
	if testing.Short() {
		fires, schedules = 1000, 100
	}
	f := newFleet(t, dbtest.Postgres(t), 8, schedules, false)
	f.runUntil(fires)
	require.GreaterOrEqual(t, f.total.Fired+f.total.Skipped, 2*fires)
	f.requireLedgers()
}

// The rules of TestReplicasFireEverySlotOnce hold for two replicas on SQLite.
func TestSQLiteReplicasFireEverySlotOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("SQLite, which is written in Go, is slow under the race detector")
	}
	f := newFleet(t, dbtest.SQLite(t), 2, 60, false)
	f.runUntil(1000)
	f.requireLedgers()
}

// L2, L4, T5, E2, E4, and the rules of TestReplicasFireEverySlotOnce: they hold
// while operations fail, responses are lost, replicas die with claims and are
// restarted, and the clock is stepped back.
func TestFailingReplicasFireEverySlotOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		fires, schedules := 3000, 120
		switch {
		case testing.Short():
			fires, schedules = 300, 60
		case db.Dialect == "sqlite":
			fires = 600
		}
		f := newFleet(t, db, 4, schedules, true)
		f.runUntil(fires)
		f.requireLedgers()
		require.NotZero(t, f.total.LockLost)
		require.NotZero(t, f.failedTicks)
	})
}
