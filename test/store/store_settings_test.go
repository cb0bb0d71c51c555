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
	"github.com/hourbell/hourbell/store"
)

// flow takes a store through all that the core asks of it, twice, so that prepared statements are used again.
func exerciseStore(t *testing.T, handle *gorm.DB) {
	t.Helper()
	require.NoError(t, store.Migrate(testContext(t), handle))
	s, c := newStore(t, handle)
	require.NoError(t, s.Ready(testContext(t)))
	for i := range 2 {
		a, b := numberedID(2*i), numberedID(2*i+1)
		insertSchedules(t, s, scheduleDueAt(a, c.Now()), scheduleDueAt(b, c.Now()))
		sendHeartbeat(t, s, "w1")
		claims := claimAll(t, s, "w1")
		require.Len(t, claims.Rows, 2)
		require.NoError(t, s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, tx hourbell.Tx) error {
			require.True(t, advanceOne(t, s, "w1", claims.Rows[0]))
			insertRuns(t, s, cronRun(a, c.Now(), 0), cronRun(a, c.Now(), 1))
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: a, Kind: "ENABLED", SlotFrom: c.Now()}}))
			return tx.Exec("SELECT count(*) FROM hourbell_job_runs WHERE namespace = ?", "test").Error
		}))
		require.NoError(t, errOf(s.Hold(t.Context(), "w1", []hourbell.Failure{{Claim: claims.Rows[1], Error: "e", For: time.Second}})))
		c.Advance(time.Second)
		held := claimOne(t, s, "w1")
		require.NoError(t, s.GiveBack(t.Context(), "w1", []hourbell.Claim{held}))
		claimOne(t, s, "w1")
		holder, err := s.Unlock(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, "w1", holder)
		off := hourbell.Revision{Schedule: readSchedule(t, s, b), ReadHash: "h1", Settles: true}
		off.Enabled, off.NextRunAt = false, time.Time{}
		require.True(t, updateOne(t, s, off))
		run := takeRun(t, s, "h")
		require.NoError(t, errOf(s.ExtendRun(t.Context(), run, time.Minute)))
		done, err := s.FinishRun(t.Context(), run, "SUCCEEDED", "")
		require.NoError(t, err)
		require.True(t, done)
		require.NoError(t, handle.Transaction(func(tx *gorm.DB) error {
			within := s.Within(tx)
			return within.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ hourbell.Tx) error {
				runs, err := s.RunsByKey(t.Context(), a)
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

// Hosts have settings of their own.
func TestStoreWorksWithHostGormSettings(t *testing.T) {
	settings := map[string]func() *gorm.Config{
		"gorm's own":               func() *gorm.Config { return nil },
		"PrepareStmt":              func() *gorm.Config { return &gorm.Config{PrepareStmt: true} },
		"PrepareStmt, few":         func() *gorm.Config { return &gorm.Config{PrepareStmt: true, PrepareStmtMaxSize: 1} },
		"SkipDefaultTransaction":   func() *gorm.Config { return &gorm.Config{SkipDefaultTransaction: true} },
		"DisableNestedTransaction": func() *gorm.Config { return &gorm.Config{DisableNestedTransaction: true} },
		"TranslateError":           func() *gorm.Config { return &gorm.Config{TranslateError: true} },
		"NamingStrategy": func() *gorm.Config {
			return &gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: "host_", SingularTable: true, NoLowerCase: true}}
		},
		"the rest": func() *gorm.Config {
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

// wipe takes all tables away.
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

// On SQLite too a host may leave everything at its default: no time to wait for others, no write-ahead log, transactions
// that become writers late. Then some calls are busy, and none is wrong.
func TestSQLiteWorksWithDefaultSettings(t *testing.T) {
	db := &dbtest.DB{DSN: filepath.Join(t.TempDir(), "host.db"), Dialect: "sqlite"}
	exerciseStore(t, db.Open(t, nil))
	var fired atomic.Int32
	for _, err := range runConcurrently(4, func(i int) error {
		s, _ := newStore(t, db.Open(t, nil))
		for n := range 10 {
			name := fmt.Sprint(i, "-", n)
			for err := hourbell.ErrBusy; err != nil; {
				err = s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ hourbell.Tx) error {
					if err := errOf(s.Schedules(t.Context())); err != nil { // a reader that becomes a writer
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
	require.Len(t, listRuns(t, s, hourbell.RunQuery{Trigger: "CRON", Status: "QUEUED"}), int(fired.Load())+2, "and the two that the flow left")
}

// A host that logs its SQL reads its own.
func TestGormDoesNotLogStoreSQL(t *testing.T) {
	eachEmptyDatabase(t, func(t *testing.T, db *dbtest.DB) {
		var lines bytes.Buffer
		handle := db.Open(t, &gorm.Config{Logger: logger.New(log.New(&lines, "", 0), logger.Config{LogLevel: logger.Info, SlowThreshold: time.Nanosecond})})
		exerciseStore(t, handle)
		for line := range strings.Lines(lines.String()) {
			require.NotContains(t, line, "ERROR")
			if strings.Contains(line, "hourbell_") {
				require.True(t, strings.Contains(line, "count(*)") || strings.Contains(line, "DELETE FROM hourbell_workers"), "not the host's: %s", line)
			}
		}
		require.NotEmpty(t, lines.String())
	})
}

// Section 4: a Postgres host isolates with search_path.
func TestSearchPathSelectsSchema(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	stores := map[string]hourbell.Store{}
	for _, name := range []string{"one", "two"} {
		require.NoError(t, db.Exec("CREATE SCHEMA "+name).Error)
		handle := (&dbtest.DB{DSN: db.DSN + "&search_path=" + name, Dialect: "postgres"}).Open(t, nil)
		s, _ := newStore(t, handle)
		require.ErrorIs(t, s.Ready(t.Context()), hourbell.ErrNotMigrated, "the other schema's tables are not its own")
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
