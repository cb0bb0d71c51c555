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
func TestAPoolOfOneConnectionDoesNotWaitForItself(t *testing.T) {
	eachEmpty(t, func(t *testing.T, db *dbtest.DB) {
		for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
			wipe(t, db)
			handle := db.Open(t, cfg)
			openPool(t, handle).SetMaxOpenConns(1)
			openPool(t, handle).SetMaxIdleConns(2)
			flow(t, handle)
			s := bind(t, handle, "many", nil)
			for _, err := range together(8, func(i int) error {
				if i%2 == 0 {
					return s.Transaction(soon(t), 10*time.Second, func(s hourbell.Store, _ hourbell.Tx) error { return everyAgain(t, s) })
				}
				return everyAgain(t, s)
			}) {
				require.NoError(t, err)
			}
		}
	})
}

// everyAgain is every without what only one of many can do.
func everyAgain(t testing.TB, s hourbell.Store) error {
	for _, v := range verbs {
		if err := v.call(soon(t), s); err != nil {
			return err
		}
	}
	return nil
}

// PrepareStmt: gorm prepares a statement once for all, and whoever needs it meanwhile waits. In a pool that is all in use, the one that
// prepares waits for the one that waits.
func TestPreparedStatementsDoNotDeadlockASmallPool(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		handle := db.Open(t, &gorm.Config{PrepareStmt: true})
		pool := openPool(t, handle)
		pool.SetMaxOpenConns(1)
		s, _ := bound(t, handle)
		var outside sync.WaitGroup
		require.NoError(t, s.Transaction(soon(t), 15*time.Second, func(in hourbell.Store, _ hourbell.Tx) error {
			waiting := pool.Stats().WaitCount
			outside.Go(func() { _, _ = s.Workers(soon(t)) })
			require.Eventually(t, func() bool { return pool.Stats().WaitCount > waiting }, 5*time.Second, time.Millisecond)
			return second(in.Workers(soon(t)))
		}))
		outside.Wait()
	})
}

// O6: claims do not fail under the host's default isolation, and no row is claimed twice.
func TestClaimsDoNotFailUnderTheHostsIsolation(t *testing.T) {
	for _, level := range []string{"serializable", "repeatable read", "read uncommitted"} {
		t.Run(level, func(t *testing.T) {
			db := dbtest.Postgres(t)
			var name string
			require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
			require.NoError(t, db.Exec("ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'").Error)
			handle, pool := watch(t, db, gorm.Config{})
			var now string
			require.NoError(t, handle.Raw("SHOW default_transaction_isolation").Scan(&now).Error)
			require.Equal(t, level, now)

			var rows []hourbell.Schedule
			for i := range 200 {
				rows = append(rows, dueAt(id(i), time.Now().Add(-time.Hour)))
			}
			s := bind(t, handle, "test", nil)
			insert(t, s, rows...)
			claimed := make([][]claimedBy, 4)
			sent := pool.during(func() {
				for _, err := range together(4, func(i int) (err error) {
					claimed[i], err = drain(t, s, 5, string(rune('a'+i)))
					return err
				}) {
					require.NoError(t, err)
				}
			})
			requireEachClaimedOnce(t, claimed, 200)
			for _, statement := range sent {
				require.NotEqual(t, "ROLLBACK", statement.text, "not even once and tried again")
			}

			fired := make([]int, 4)
			for _, err := range together(4, func(i int) error {
				for batch := range slices.Chunk(claimed[i], 10) {
					err := s.Transaction(soon(t), 10*time.Second, func(s hourbell.Store, _ hourbell.Tx) error {
						for _, c := range batch {
							ids, err := s.Advance(soon(t), c.worker, []hourbell.Settlement{settled(c.Claim)})
							if err != nil || len(ids) == 0 {
								return err
							}
							runs, err := s.InsertRuns(soon(t), []hourbell.JobRun{fire(c.ID, c.NextRunAt, 0)})
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
