package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// O6: The transactions of the store use READ COMMITTED.
func TestTransactionsAreReadCommitted(t *testing.T) {
	db := dbtest.Postgres(t)
	require.NoError(t, db.Exec("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE").Error)
	db.SQL().SetMaxOpenConns(1)
	s, _ := newStore(t, db.DB)
	require.NoError(t, s.Transaction(t.Context(), deadAfter, func(_ hourbell.Store, tx *gorm.DB) error {
		var level string
		require.NoError(t, tx.Raw("SHOW transaction_isolation").Scan(&level).Error)
		require.Equal(t, "read committed", level)
		return nil
	}))
}

// O4: If READ COMMITTED is the default of the host, an operation of one
// statement needs no transaction around it.
// O6: Otherwise the store sets the isolation level in a transaction.
func TestSingleStatementsSetIsolationIfNeeded(t *testing.T) {
	for level, autocommit := range map[string]bool{"read committed": true, "serializable": false} {
		db := *dbtest.Postgres(t)
		db.DSN += "&default_transaction_isolation=" + strings.ReplaceAll(level, " ", "%20")
		handle, pool := openRecorded(t, &db, gorm.Config{})
		s := bindStore(t, handle, "test", nil)
		for name, call := range map[string]func(){
			"claim":     func() { claimAll(t, s, "w1") },
			"heartbeat": func() { sendHeartbeat(t, s, "w1") },
			"fire":      func() { fireOnTime(t, s, slotFire("a", 1)) },
		} {
			require.Greater(t, len(pool.during(call)), 1, "%s: the default is not known yet", name)
		}
		require.NoError(t, s.CheckMigrated(t.Context()))
		for name, call := range map[string]func(){
			"claim":     func() { claimAll(t, s, "w1") },
			"heartbeat": func() { sendHeartbeat(t, s, "w1") },
			"fire":      func() { fireOnTime(t, s, slotFire("a", 1)) },
		} {
			require.Equal(t, autocommit, len(pool.during(call)) == 1, "%s under %s", name, level)
		}
	}
}

// O6: If a statement fails because its connection has another isolation level,
// the store retries it in a transaction and uses transactions from then on.
func TestIsolationErrorEndsAutocommit(t *testing.T) {
	db := dbtest.Postgres(t)
	handle, pool := openRecorded(t, db, gorm.Config{})
	s := bindStore(t, handle, "test", nil)
	insertSchedules(t, s, scheduleDueAt("a", time.Now().Add(-time.Hour)))
	require.NoError(t, s.CheckMigrated(t.Context()))
	failed := false
	pool.onStatement = func(string) error {
		if !failed {
			failed = true
			return raiseSQLState(db.DB, "40001")
		}
		return nil
	}
	require.Len(t, claimAll(t, s, "w1").Claims, 1)
	require.True(t, failed)
	require.Greater(t, len(pool.during(func() { claimAll(t, s, "w1") })), 1, "later claims set the isolation level")
}

// O6: Under any default isolation level claims succeed and lock each row once.
func TestClaimsSucceedUnderAnyHostIsolation(t *testing.T) {
	for _, level := range []string{"serializable", "repeatable read", "read uncommitted"} {
		t.Run(level, func(t *testing.T) {
			db := dbtest.Postgres(t)
			var name string
			require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
			require.NoError(t, db.Exec("ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'").Error)
			handle, pool := openRecorded(t, db, gorm.Config{})
			var current string
			require.NoError(t, handle.Raw("SHOW default_transaction_isolation").Scan(&current).Error)
			require.Equal(t, level, current)

			var rows []storage.Schedule
			for i := range 200 {
				rows = append(rows, scheduleDueAt(numberedID(i), time.Now().Add(-time.Hour)))
			}
			s := bindStore(t, handle, "test", nil)
			insertSchedules(t, s, rows...)
			claimed := make([][]workerClaim, 4)
			sent := pool.during(func() {
				for _, err := range runConcurrently(4, func(i int) (err error) {
					claimed[i], err = claimUntilEmpty(t, s, 5, string(rune('a'+i)))
					return err
				}) {
					require.NoError(t, err)
				}
			})
			requireClaimedOnce(t, claimed, 200)
			for _, statement := range sent {
				require.NotEqual(t, "ROLLBACK", statement.text, "no claim was retried")
			}

			fired := make([]int, 4)
			for _, err := range runConcurrently(4, func(i int) error {
				for batch := range slices.Chunk(claimed[i], 10) {
					err := s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, _ *gorm.DB) error {
						for _, c := range batch {
							ids, err := s.Advance(testContext(t), c.worker, []storage.Advance{firedAdvance(c.Claim)})
							if err != nil || len(ids) == 0 {
								return err
							}
							runs, err := s.InsertRuns(testContext(t), []hourbell.JobRun{cronRun(c.ID, c.NextRunAt, 0)})
							if err != nil {
								return err
							}
							fired[i] += len(runs)
						}
						return nil
					})
					if err != nil {
						return err
					}
				}
				return nil
			}) {
				require.NoError(t, err)
			}
			require.Equal(t, 200, fired[0]+fired[1]+fired[2]+fired[3])
		})
	}
}
