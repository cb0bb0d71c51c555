package store_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// O2: Operators' writes never hang: a lock wait ends with ErrBusy.
func TestLockTimeoutReturnsErrBusy(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	insertSchedules(t, s, dueSchedule("a"))
	held := claimOne(t, s, "w1")
	locked := readSchedule(t, s, "a")
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_schedules FOR UPDATE").Error)
		for name, call := range map[string]func(s hourbell.Store) error{
			"update": func(s hourbell.Store) error {
				return errOf(s.UpdateSchedules(testContext(t), []storage.ScheduleUpdate{{Schedule: locked, ReadHash: "h1"}}))
			},
			"unlock": func(s hourbell.Store) error { return errOf(s.Unlock(testContext(t), "a")) },
			"advance": func(s hourbell.Store) error {
				return errOf(s.Advance(testContext(t), "w1", []storage.Advance{firedAdvance(held)}))
			},
		} {
			err := s.Transaction(testContext(t), 200*time.Millisecond, func(s hourbell.Store, _ *gorm.DB) error { return call(s) })
			require.ErrorIs(t, err, hourbell.ErrBusy, name)
			require.NotErrorIs(t, err, hourbell.ErrUnavailable, name)
		}
		return nil
	}))
	require.Equal(t, locked, readSchedule(t, s, "a"))
}

// O1, O2: A statement that exceeds its deadline in the server or in the client
// returns ErrUnavailable.
func TestDeadlineReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	err := s.Transaction(testContext(t), 50*time.Millisecond, func(_ hourbell.Store, tx *gorm.DB) error {
		return tx.Exec("SELECT pg_sleep(10)").Error
	})
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.ErrorContains(t, err, "57014")

	insertSchedules(t, s, dueSchedule("a"))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("LOCK TABLE hourbell_schedules").Error)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for _, call := range []func() error{
			func() error { return errOf(s.Schedules(ctx)) }, // waits until the deadline; the other calls start after it
			func() error { return errOf(s.Claim(ctx, claimRequest("w1"))) },
			func() error { return errOf(s.Unlock(ctx, "a")) },
		} {
			err := call()
			require.ErrorIs(t, err, hourbell.ErrUnavailable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		return nil
	}))
	require.NoError(t, callAll(t.Context(), s))
}

// O2: The server ends an idle transaction. The next call in it fails, and
// nothing is written.
func TestIdleTransactionReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	err := s.Transaction(testContext(t), time.Second, func(in hourbell.Store, _ *gorm.DB) error {
		insertSchedules(t, in, dueSchedule("a"))
		require.Eventually(t, func() bool {
			var n int
			err := db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'").Scan(&n).Error
			return err == nil && n == 0
		}, 30*time.Second, 5*time.Millisecond)
		return errOf(in.InsertSchedules(t.Context(), newUpdates(dueSchedule("b"))))
	})
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.NoError(t, callAll(t.Context(), s))
	require.Empty(t, claimAll(t, s, "w1").Claims)
}

// O1: The store recovers when the server ends a connection.
func TestTerminatedBackendReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	err := s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, tx *gorm.DB) error {
		var pid int
		require.NoError(t, tx.Raw("SELECT pg_backend_pid()").Scan(&pid).Error)
		require.NoError(t, db.Exec("SELECT pg_terminate_backend(?)", pid).Error)
		return errOf(s.Schedules(t.Context()))
	})
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.NoError(t, callAll(t.Context(), s), "the next call uses another connection")
}

// O1, E4: A commit on a connection that the driver has closed fails with an
// error of the driver. It means that the database is unavailable, not that a
// schedule failed.
func TestCommitOnClosedConnReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	err := s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, tx *gorm.DB) error {
		var pid int
		require.NoError(t, tx.Raw("SELECT pg_backend_pid()").Scan(&pid).Error)
		require.NoError(t, db.Exec("SELECT pg_terminate_backend(?)", pid).Error)
		require.Error(t, errOf(s.Schedules(t.Context())))
		return nil
	})
	require.ErrorContains(t, err, "conn closed")
	require.ErrorIs(t, err, hourbell.ErrUnavailable)
	require.NoError(t, callAll(t.Context(), s))
}

func TestClosedPoolReturnsErrUnavailable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
			handle := db.Open(t, cfg)
			s, _ := newStore(t, handle)
			require.NoError(t, callAll(t.Context(), s))
			require.NoError(t, poolOf(t, handle).Close())
			for _, op := range operations {
				require.ErrorIs(t, op.call(t.Context(), s), hourbell.ErrUnavailable, op.name)
			}
			err := s.Transaction(t.Context(), deadAfter, func(hourbell.Store, *gorm.DB) error { return nil })
			require.ErrorIs(t, err, hourbell.ErrUnavailable)
		}
	})
}

func TestRefusedConnectionReturnsErrUnavailable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	db, err := gorm.Open(postgres.Open("postgres://user@"+address+"/db?sslmode=disable"), &gorm.Config{DisableAutomaticPing: true, Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { _ = poolOf(t, db).Close() })
	s, _ := newStore(t, db)
	for _, op := range operations {
		require.ErrorIs(t, op.call(testContext(t), s), hourbell.ErrUnavailable, op.name)
	}
}

func TestReadOnlyDatabaseReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	standby := &dbtest.DB{DSN: db.DSN + "&default_transaction_read_only=on", Dialect: "postgres"}
	s, _ := newStore(t, standby.Open(t, nil))
	require.ErrorIs(t, errOf(s.Claim(t.Context(), claimRequest("w1"))), hourbell.ErrUnavailable)
	require.NoError(t, s.CheckMigrated(t.Context()))
}
