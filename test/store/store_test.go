package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

var errHost = errors.New("host error")

// E3: A rolled back transaction enqueues nothing.
func TestRollbackWritesNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		held := claimOne(t, s, "w1")
		locked := readSchedule(t, s, "a")
		err := s.Transaction(t.Context(), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
			require.True(t, advanceOne(t, s, "w1", held))
			insertRuns(t, s, cronRun("a", noon, 0))
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventSkipped}}))
			insertSchedules(t, s, dueSchedule("b"))
			return errHost
		})
		require.ErrorIs(t, err, errHost)
		require.Equal(t, locked, readSchedule(t, s, "a"))
		require.Equal(t, "0 runs, 0 events, 1 schedules, 0 workers", countRows(t, s))
	})
}

func TestPanicRollsBackAndPropagates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		require.PanicsWithError(t, errHost.Error(), func() {
			_ = s.Transaction(t.Context(), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
				insertSchedules(t, s, dueSchedule("a"))
				panic(errHost)
			})
		})
		insertSchedules(t, s, dueSchedule("a"))
	})
}

// E4: What the Enqueuer writes through tx is part of the transaction of the
// fire.
func TestHostWritesJoinTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		require.NoError(t, db.Exec("CREATE TABLE host_jobs (n int)").Error)
		count := func() (n int) {
			require.NoError(t, db.Raw("SELECT count(*) FROM host_jobs").Scan(&n).Error)
			return n
		}
		for i, end := range []error{errHost, nil} {
			err := s.Transaction(t.Context(), deadAfter, func(s hourbell.Store, tx *gorm.DB) error {
				insertSchedules(t, s, dueSchedule(numberedID(i)))
				require.NoError(t, tx.Exec("INSERT INTO host_jobs VALUES (1)").Error)
				return end
			})
			require.ErrorIs(t, err, end)
			require.Equal(t, i, count())
		}
	})
}

// E3: Calls join the transaction of the host and commit or roll back with it.
func TestWithTxFollowsHostTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		for i, end := range []error{errHost, nil} {
			err := db.Transaction(func(tx *gorm.DB) error {
				inTx := s.WithTx(tx)
				require.NoError(t, inTx.Transaction(t.Context(), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
					insertRuns(t, s, cronRun("a", noon, 0))
					return nil
				}))
				require.Len(t, listRuns(t, inTx, hourbell.RunQuery{}), 1)
				return end
			})
			require.ErrorIs(t, err, end)
			require.Len(t, listRuns(t, s, hourbell.RunQuery{}), i)
		}
	})
}

// E3: A failed call rolls back its own writes. The transaction of the host
// stays usable and keeps its writes.
func TestFailureWithTxRollsBackOnlyItsWrites(t *testing.T) {
	failures := map[string]func(ctx context.Context, cancel func(), s hourbell.Store) error{
		"error of the caller": func(context.Context, func(), hourbell.Store) error { return errHost },
		"error of a statement": func(ctx context.Context, _ func(), s hourbell.Store) error {
			return errOf(s.InsertRuns(ctx, []hourbell.JobRun{{Trigger: "NO SUCH"}}))
		},
		"canceled context": func(ctx context.Context, cancel func(), _ hourbell.Store) error { cancel(); return ctx.Err() },
		"error of a nested transaction": func(ctx context.Context, _ func(), s hourbell.Store) error {
			return s.Transaction(ctx, deadAfter, func(hourbell.Store, *gorm.DB) error { return errHost })
		},
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.NoError(t, db.Exec("CREATE TABLE host_rows (n int)").Error)
		for name, fail := range failures {
			for _, cfg := range []*gorm.Config{{}, {PrepareStmt: true}} {
				t.Run(name, func(t *testing.T) {
					require.NoError(t, db.Exec("DELETE FROM host_rows").Error)
					require.NoError(t, db.Exec("DELETE FROM hourbell_job_runs").Error)
					handle := db.Open(t, cfg)
					s, _ := newStore(t, handle)
					require.NoError(t, handle.Transaction(func(tx *gorm.DB) error {
						require.NoError(t, tx.Exec("INSERT INTO host_rows VALUES (1)").Error)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						err := s.WithTx(tx).Transaction(ctx, deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
							insertRuns(t, s, cronRun("a", noon, 0))
							return fail(ctx, cancel, s)
						})
						require.Error(t, err)
						require.NoError(t, tx.Exec("INSERT INTO host_rows VALUES (2)").Error)
						return nil
					}))
					var n int
					require.NoError(t, db.Raw("SELECT count(*) FROM host_rows").Scan(&n).Error)
					require.Equal(t, 2, n)
					require.Empty(t, listRuns(t, s, hourbell.RunQuery{}))
				})
			}
		}
	})
}

// O2: The limits of a transaction are set in the server too, and only for that
// transaction.
func TestServerLimitsTransaction(t *testing.T) {
	db := dbtest.Postgres(t)
	db.SQL().SetMaxOpenConns(1) // so that the next statement uses the same session
	s, _ := newStore(t, db.DB)
	show := func(tx *gorm.DB, name string) (value string) {
		require.NoError(t, tx.Raw("SHOW "+name).Scan(&value).Error)
		return value
	}
	limits := []string{"idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"}
	before := map[string]string{}
	for _, name := range limits {
		before[name] = show(db.DB, name)
	}
	require.NoError(t, s.Transaction(t.Context(), 1500*time.Millisecond, func(_ hourbell.Store, tx *gorm.DB) error {
		require.Equal(t, "1500ms", show(tx, limits[0]))
		require.Equal(t, "1500ms", show(tx, limits[1]))
		require.Equal(t, "750ms", show(tx, limits[2]), "a lock wait must end before the other limits")
		return nil
	}))
	for _, name := range limits {
		require.Equal(t, before[name], show(db.DB, name), name)
	}

	// A host transaction keeps the limits of the host.
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		return s.WithTx(tx).Transaction(t.Context(), time.Second, func(_ hourbell.Store, tx *gorm.DB) error {
			for _, name := range limits {
				require.Equal(t, before[name], show(tx, name), name)
			}
			return nil
		})
	}))
}

// O2: The server ends the transaction of a process that stopped before the
// commit of its claim, so the row becomes free.
func TestServerEndsUncommittedClaim(t *testing.T) {
	db := dbtest.Postgres(t)
	handle, pool := openRecorded(t, db, gorm.Config{})
	insertSchedules(t, bindStore(t, db.DB, "test", nil), scheduleDueAt("a", time.Now().Add(-time.Minute)))
	paused, resumed := make(chan struct{}), make(chan struct{})
	pool.onStatement = func(statement string) error {
		if statement == "COMMIT" {
			close(paused)
			<-resumed
		}
		return nil
	}
	failed := make(chan error, 1)
	go func() {
		// A stopped process does not notice its deadline.
		ctx := silentDeadline{t.Context(), time.Now().Add(300 * time.Millisecond)}
		failed <- errOf(bindStore(t, handle, "test", nil).Claim(ctx, claimRequest("w1")))
	}()
	<-paused
	require.Eventually(t, func() bool {
		result, err := bindStore(t, db.DB, "test", nil).Claim(t.Context(), claimRequest("w2"))
		return err == nil && len(result.Claims) == 1
	}, 10*time.Second, 10*time.Millisecond)
	close(resumed)
	require.ErrorIs(t, <-failed, hourbell.ErrUnavailable)
}

// silentDeadline is a context that returns a deadline but does not end at it.
type silentDeadline struct {
	context.Context
	deadline time.Time
}

func (c silentDeadline) Deadline() (time.Time, bool) { return c.deadline, true }
