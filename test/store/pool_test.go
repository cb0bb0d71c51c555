package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// E3: a pool of one connection is enough, also for many callers at once.
func TestSingleConnectionPoolDoesNotDeadlock(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
			dropTables(t, db)
			handle := db.Open(t, cfg)
			poolOf(t, handle).SetMaxOpenConns(1)
			poolOf(t, handle).SetMaxIdleConns(2)
			exerciseStore(t, handle)
			s := bindStore(t, handle, "many", nil)
			for _, err := range runConcurrently(8, func(i int) error {
				if i%2 == 0 {
					return s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, _ hourbell.Tx) error { return callUntilError(t, s) })
				}
				return callUntilError(t, s)
			}) {
				require.NoError(t, err)
			}
		}
	})
}

// everyAgain is every without what only one of many can do.
func callUntilError(t testing.TB, s hourbell.Store) error {
	for _, v := range operations {
		if err := v.call(testContext(t), s); err != nil {
			return err
		}
	}
	return nil
}

// PrepareStmt: gorm prepares a statement once for all, and whoever needs it meanwhile waits. In a pool that is all in use, the one that
// prepares waits for the one that waits.
func TestPrepareStmtDoesNotDeadlockSmallPool(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		handle := db.Open(t, &gorm.Config{PrepareStmt: true})
		pool := poolOf(t, handle)
		pool.SetMaxOpenConns(1)
		s, _ := newStore(t, handle)
		var outside sync.WaitGroup
		require.NoError(t, s.Transaction(testContext(t), 15*time.Second, func(in hourbell.Store, _ hourbell.Tx) error {
			waiting := pool.Stats().WaitCount
			outside.Go(func() { _, _ = s.Workers(testContext(t)) })
			require.Eventually(t, func() bool { return pool.Stats().WaitCount > waiting }, 5*time.Second, time.Millisecond)
			return errOf(in.Workers(testContext(t)))
		}))
		outside.Wait()
	})
}

// O6: claims do not fail under the host's default isolation, and no row is claimed twice.
func TestClaimsSucceedUnderAnyHostIsolation(t *testing.T) {
	for _, level := range []string{"serializable", "repeatable read", "read uncommitted"} {
		t.Run(level, func(t *testing.T) {
			db := dbtest.Postgres(t)
			var name string
			require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
			require.NoError(t, db.Exec("ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'").Error)
			handle, pool := openRecorded(t, db, gorm.Config{})
			var now string
			require.NoError(t, handle.Raw("SHOW default_transaction_isolation").Scan(&now).Error)
			require.Equal(t, level, now)

			var rows []hourbell.Schedule
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
				require.NotEqual(t, "ROLLBACK", statement.text, "not even once and tried again")
			}

			fired := make([]int, 4)
			for _, err := range runConcurrently(4, func(i int) error {
				for batch := range slices.Chunk(claimed[i], 10) {
					err := s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, _ hourbell.Tx) error {
						for _, c := range batch {
							ids, err := s.Advance(testContext(t), c.worker, []hourbell.Settlement{firedAdvance(c.Claim)})
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
