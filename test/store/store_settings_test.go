package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// exerciseStore calls the operations of a store twice, so that prepared
// statements are reused.
func exerciseStore(t *testing.T, handle *gorm.DB) {
	t.Helper()
	require.NoError(t, store.Migrate(testContext(t), handle))
	s, c := newStore(t, handle)
	require.NoError(t, s.CheckMigrated(testContext(t)))
	for i := range 2 {
		a, b := numberedID(2*i), numberedID(2*i+1)
		insertSchedules(t, s, scheduleDueAt(a, c.Now()), scheduleDueAt(b, c.Now()))
		sendHeartbeat(t, s, "w1")
		result := claimAll(t, s, "w1")
		require.Len(t, result.Claims, 2)
		require.NoError(t, s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, tx *gorm.DB) error {
			require.True(t, advanceOne(t, s, "w1", result.Claims[0]))
			insertRuns(t, s, cronRun(a, c.Now(), 0), cronRun(a, c.Now(), 1))
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: a, Kind: hourbell.EventEnabled, SlotFrom: c.Now()}}))
			return tx.Exec("SELECT count(*) FROM hourbell_job_runs WHERE namespace = ?", "test").Error
		}))
		require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: result.Claims[1], Error: "e", Backoff: time.Second}})))
		c.Advance(time.Second)
		held := claimOne(t, s, "w1")
		require.NoError(t, s.Release(t.Context(), "w1", []storage.Claim{held}))
		claimOne(t, s, "w1")
		holder, err := s.Unlock(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, "w1", holder)
		off := storage.ScheduleUpdate{Schedule: readSchedule(t, s, b), ReadHash: "h1", Settles: true}
		off.Enabled, off.NextRunAt = false, time.Time{}
		require.True(t, updateOne(t, s, off))
		run := takeRun(t, s, "h")
		require.NoError(t, errOf(s.ExtendRun(t.Context(), run, time.Minute)))
		done, err := s.FinishRun(t.Context(), run, hourbell.RunSucceeded, "")
		require.NoError(t, err)
		require.True(t, done)
		require.NoError(t, handle.Transaction(func(tx *gorm.DB) error {
			inTx := s.WithTx(tx)
			return inTx.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
				runs, err := s.RunsByIdempotencyKey(t.Context(), a)
				require.Empty(t, runs)
				return err
			})
		}))
		require.Equal(t, 1, readHealth(t, s).Workers)
		require.NoError(t, s.StopWorker(t.Context(), "w1"))
		require.NoError(t, handle.Exec("DELETE FROM hourbell_workers").Error)
		purgeRows(t, s, retention, 10)
		require.Len(t, listRuns(t, s, hourbell.RunQuery{}), 2*(i+1))
		c.Advance(time.Minute)
	}
}

func TestStoreWorksWithHostGormSettings(t *testing.T) {
	settings := map[string]func() *gorm.Config{
		"defaults":                 func() *gorm.Config { return nil },
		"PrepareStmt":              func() *gorm.Config { return &gorm.Config{PrepareStmt: true} },
		"PrepareStmtMaxSize":       func() *gorm.Config { return &gorm.Config{PrepareStmt: true, PrepareStmtMaxSize: 1} },
		"SkipDefaultTransaction":   func() *gorm.Config { return &gorm.Config{SkipDefaultTransaction: true} },
		"DisableNestedTransaction": func() *gorm.Config { return &gorm.Config{DisableNestedTransaction: true} },
		"TranslateError":           func() *gorm.Config { return &gorm.Config{TranslateError: true} },
		"NamingStrategy": func() *gorm.Config {
			return &gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: "host_", SingularTable: true, NoLowerCase: true}}
		},
		"other": func() *gorm.Config {
			return &gorm.Config{
				AllowGlobalUpdate: true, QueryFields: true, FullSaveAssociations: true, CreateBatchSize: 3, PropagateUnscoped: true,
				DefaultTransactionTimeout: time.Minute, DefaultContextTimeout: time.Minute, NowFunc: func() time.Time { return noon.AddDate(-9, 0, 0) },
			}
		},
	}
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		for name, cfg := range settings {
			t.Run(name, func(t *testing.T) {
				dropTables(t, db)
				exerciseStore(t, db.Open(t, cfg()))
			})
		}
	})
}

// dropTables drops all tables of the store.
func dropTables(t testing.TB, db *dbtest.DB) {
	t.Helper()
	for table := range tableColumns {
		require.NoError(t, db.Exec("DROP TABLE IF EXISTS "+table).Error)
	}
}

func TestStoreWorksInEveryPgxQueryMode(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			dropTables(t, db)
			exerciseStore(t, (&dbtest.DB{DSN: db.DSN + "&default_query_exec_mode=" + mode, Dialect: "postgres"}).Open(t, nil))
		})
	}
	t.Run("PreferSimpleProtocol", func(t *testing.T) {
		dropTables(t, db)
		handle, err := gorm.Open(postgres.New(postgres.Config{DSN: db.DSN, PreferSimpleProtocol: true}), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		t.Cleanup(func() { _ = poolOf(t, handle).Close() })
		exerciseStore(t, handle)
	})
}

// A SQLite host may use the default settings: no busy timeout, no write-ahead
// log and deferred transactions. Calls may then return ErrBusy but write
// nothing wrong.
func TestSQLiteWorksWithDefaultSettings(t *testing.T) {
	db := &dbtest.DB{DSN: filepath.Join(t.TempDir(), "host.db"), Dialect: "sqlite"}
	exerciseStore(t, db.Open(t, nil))
	var fired atomic.Int32
	for _, err := range runConcurrently(4, func(i int) error {
		s, _ := newStore(t, db.Open(t, nil))
		for n := range 10 {
			name := fmt.Sprint(i, "-", n)
			for err := hourbell.ErrBusy; err != nil; {
				err = s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
					if err := errOf(s.Schedules(t.Context())); err != nil { // the read lock must become a write lock
						return err
					}
					return errOf(s.InsertRuns(t.Context(), []hourbell.JobRun{cronRun(name, noon, 0)}))
				})
				if err != nil && !errors.Is(err, hourbell.ErrBusy) {
					return err
				}
			}
			fired.Add(1)
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	s, _ := newStore(t, db.Open(t, nil))
	require.Len(t, listRuns(t, s, hourbell.RunQuery{Trigger: hourbell.TriggerCron, Status: hourbell.RunQueued}), int(fired.Load())+2, "plus the two runs that exerciseStore left")
}

// A host that logs SQL with gorm sees only its own statements.
func TestGormDoesNotLogStoreSQL(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		var lines bytes.Buffer
		handle := db.Open(t, &gorm.Config{Logger: logger.New(log.New(&lines, "", 0), logger.Config{LogLevel: logger.Info, SlowThreshold: time.Nanosecond})})
		exerciseStore(t, handle)
		for line := range strings.Lines(lines.String()) {
			require.NotContains(t, line, "ERROR")
			if strings.Contains(line, "hourbell_") {
				require.True(t, strings.Contains(line, "count(*)") || strings.Contains(line, "DELETE FROM hourbell_workers"), "this is not a statement of the host: %s", line)
			}
		}
		require.NotEmpty(t, lines.String())
	})
}

// A Postgres host isolates its tables with search_path.
func TestSearchPathSelectsSchema(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	stores := map[string]hourbell.Store{}
	for _, name := range []string{"one", "two"} {
		require.NoError(t, db.Exec("CREATE SCHEMA "+name).Error)
		handle := (&dbtest.DB{DSN: db.DSN + "&search_path=" + name, Dialect: "postgres"}).Open(t, nil)
		s, _ := newStore(t, handle)
		require.ErrorIs(t, s.CheckMigrated(t.Context()), hourbell.ErrNotMigrated, "the tables of the other schema do not count")
		exerciseStore(t, handle)
		stores[name] = s
		var schemas []string
		require.NoError(t, db.Raw("SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'hourbell%' ORDER BY 1").Scan(&schemas).Error)
		require.Equal(t, []string{"one", "two"}[:len(stores)], schemas)
	}
	insertSchedules(t, stores["one"], dueSchedule("only in one"))
	rows, err := stores["two"].Schedules(t.Context(), "only in one")
	require.NoError(t, err)
	require.Empty(t, rows)
}

// E3: A pool of one connection is enough, even for concurrent callers.
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
					return s.Transaction(testContext(t), 10*time.Second, func(s hourbell.Store, _ *gorm.DB) error { return callUntilError(t, s) })
				}
				return callUntilError(t, s)
			}) {
				require.NoError(t, err)
			}
		}
	})
}

// With PrepareStmt, gorm prepares each statement once while other callers wait
// for it. In a full pool that is a deadlock: the first caller waits for a
// connection, and the one that has the connection waits for the statement. The
// store must not use that cache.
func TestPrepareStmtDoesNotDeadlockSmallPool(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		handle := db.Open(t, &gorm.Config{PrepareStmt: true})
		pool := poolOf(t, handle)
		pool.SetMaxOpenConns(1)
		s, _ := newStore(t, handle)
		var concurrent sync.WaitGroup
		require.NoError(t, s.Transaction(testContext(t), 15*time.Second, func(in hourbell.Store, _ *gorm.DB) error {
			waiting := pool.Stats().WaitCount
			concurrent.Go(func() { _, _ = s.Workers(testContext(t), deadAfter) })
			require.Eventually(t, func() bool { return pool.Stats().WaitCount > waiting }, 5*time.Second, time.Millisecond)
			return errOf(in.Workers(testContext(t), deadAfter))
		}))
		concurrent.Wait()
	})
}
