package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// O6: A deadlock (40P01) is retried.
func TestDeadlockIsRetried(t *testing.T) {
	db := dbtest.Postgres(t)
	var name string
	require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
	require.NoError(t, db.Exec("ALTER DATABASE "+name+" SET deadlock_timeout = '20ms'").Error)
	s, _ := newStore(t, db.Open(t, nil))
	insertSchedules(t, s, dueSchedule("a"), dueSchedule("b"))
	claimAll(t, s, "w1")

	var bothLocked sync.WaitGroup // both transactions hold their first row
	bothLocked.Add(2)
	var tries atomic.Int32
	for _, err := range runConcurrently(2, func(i int) error {
		order := []string{"a", "b"}
		if i == 1 {
			order = []string{"b", "a"}
		}
		first := true
		return s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, _ *gorm.DB) error {
			tries.Add(1)
			for n, id := range order {
				if _, err := s.Unlock(testContext(t), id); err != nil {
					return err
				}
				if n == 0 && first {
					first = false
					bothLocked.Done()
					bothLocked.Wait()
				}
			}
			return nil
		})
	}) {
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, tries.Load(), int32(3), "the server ended one transaction at least")
	require.Empty(t, readSchedule(t, s, "a").LockedBy)
	require.Empty(t, readSchedule(t, s, "b").LockedBy)
}

// raiseSQLState makes the Postgres server fail a statement with an SQLSTATE.
func raiseSQLState(tx *gorm.DB, code string) error {
	return tx.Exec("DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '" + code + "'; END $$").Error
}

// O6: Serialization failures (40001) and deadlocks (40P01) are retried, other
// errors are not.
func TestOnlyConcurrencyErrorsAreRetried(t *testing.T) {
	db := dbtest.Postgres(t)
	for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true, TranslateError: true}} {
		s, _ := newStore(t, db.Open(t, cfg))
		for code, want := range map[string]int{"40001": 3, "40P01": 3, "23505": 1, "57014": 1, "55P03": 1} {
			tries := 0
			err := s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, tx *gorm.DB) error {
				require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventKind(code)}}))
				if tries++; tries < 3 {
					return raiseSQLState(tx, code)
				}
				return nil
			})
			require.Equal(t, want, tries, code)
			require.Equal(t, want == 3, err == nil, code)
			events, err := s.Events(t.Context(), hourbell.EventQuery{Kind: hourbell.EventKind(code), Limit: 100})
			require.NoError(t, err)
			require.Len(t, events, want/3, "a failed attempt writes nothing")
			require.NoError(t, db.Exec("DELETE FROM hourbell_events").Error)
		}
	}
}

func TestRetriesAreLimited(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	tries := 0
	err := s.Transaction(testContext(t), 10*time.Second, func(_ hourbell.Store, tx *gorm.DB) error {
		tries++
		return raiseSQLState(tx, "40001")
	})
	require.ErrorIs(t, err, hourbell.ErrBusy)
	require.Greater(t, tries, 5)
	require.Less(t, tries, 50)
}

// E3: In a host transaction the host decides whether to retry.
func TestHostTransactionIsNotRetried(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		tries := 0
		err := s.WithTx(tx).Transaction(t.Context(), time.Second, func(_ hourbell.Store, tx *gorm.DB) error {
			tries++
			return raiseSQLState(tx, "40001")
		})
		require.ErrorIs(t, err, hourbell.ErrBusy)
		require.ErrorContains(t, err, "40001")
		require.Equal(t, 1, tries)
		return nil
	}))
}

// openWithoutBusyTimeout opens a SQLite database that does not wait for locks.
func openWithoutBusyTimeout(t testing.TB, db *dbtest.DB) (*gorm.DB, *recorder) {
	t.Helper()
	dsn := strings.Replace(db.DSN, "busy_timeout(30000)", "busy_timeout(0)", 1)
	require.NotEqual(t, db.DSN, dsn)
	return openRecorded(t, &dbtest.DB{DSN: dsn, Dialect: "sqlite"}, gorm.Config{})
}

// busyOperations are writes in their own statement and in a transaction.
var busyOperations = map[string]func(t testing.TB, s hourbell.Store) error{
	"statement": func(t testing.TB, s hourbell.Store) error {
		return s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}})
	},
	"transaction": func(t testing.TB, s hourbell.Store) error {
		return s.Transaction(t.Context(), time.Second, func(s hourbell.Store, _ *gorm.DB) error {
			return s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled}})
		})
	},
}

func TestBusySQLiteIsRetriedThenErrBusy(t *testing.T) {
	for name, call := range busyOperations {
		t.Run(name, func(t *testing.T) {
			db := dbtest.SQLite(t)
			handle, pool := openWithoutBusyTimeout(t, db)
			s, _ := newStore(t, handle)
			other := db.Begin()
			require.NoError(t, other.Exec("UPDATE hourbell_migrations SET version = version").Error)
			require.ErrorIs(t, call(t, s), hourbell.ErrBusy)

			tries := 0
			pool.onStatement = func(string) error {
				if tries++; tries == 3 {
					return other.Rollback().Error
				}
				return nil
			}
			require.NoError(t, call(t, s))
			require.GreaterOrEqual(t, tries, 3)
			events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
			require.NoError(t, err)
			require.Len(t, events, 1)
		})
	}
}

func TestConcurrentSQLiteWritersSucceed(t *testing.T) {
	db := dbtest.SQLite(t)
	handle, _ := openWithoutBusyTimeout(t, db)
	s, _ := newStore(t, handle)
	for _, err := range runConcurrently(4, func(i int) error {
		for n := range 10 {
			if _, err := s.InsertSchedules(testContext(t), newUpdates(dueSchedule(fmt.Sprint(i, " ", n)))); err != nil {
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
}

// In SQLite's default journal mode a reader can block the commit of a statement
// after its rows were returned.
func TestBlockedSQLiteCommitReturnsRowsOnce(t *testing.T) {
	db := dbtest.SQLite(t)
	require.NoError(t, db.Exec("PRAGMA journal_mode = DELETE").Error)
	require.NoError(t, poolOf(t, db.DB).Close())
	dsn := strings.Replace(db.DSN, "journal_mode(WAL)", "journal_mode(DELETE)", 1)
	dsn = strings.Replace(dsn, "busy_timeout(30000)", "busy_timeout(0)", 1)
	db = &dbtest.DB{DSN: dsn, Dialect: "sqlite"}
	reader := poolOf(t, db.Open(t, nil))
	handle, pool := openRecorded(t, db, gorm.Config{})
	s, _ := newStore(t, handle)
	insertSchedules(t, s, dueSchedule("a"))

	rows, err := reader.QueryContext(t.Context(), "SELECT id FROM hourbell_schedules")
	require.NoError(t, err)
	require.True(t, rows.Next())
	updates := 0
	pool.onStatement = func(statement string) error {
		if strings.Contains(statement, "UPDATE") {
			if updates++; updates == 3 {
				return rows.Close()
			}
		}
		return nil
	}
	result, err := s.Claim(testContext(t), claimRequest("w1"))
	require.NoError(t, rows.Close())
	if err != nil {
		require.ErrorIs(t, err, hourbell.ErrBusy)
		result = claimAll(t, s, "w1")
	}
	require.Len(t, result.Claims, 1)
	require.EqualValues(t, 1, readSchedule(t, s, "a").Version)
}
