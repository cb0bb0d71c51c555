package dbtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// countSchedules fails if the database is not migrated.
func countSchedules(db *gorm.DB) (n int64, err error) {
	return n, db.Table("hourbell_schedules").Count(&n).Error
}

func TestDatabasesAreSeparate(t *testing.T) {
	first, second := dbtest.Postgres(t), dbtest.Postgres(t)
	require.NotEqual(t, first.DSN, second.DSN)
	require.NoError(t, first.Exec("CREATE TABLE separate (n int)").Error)
	require.Error(t, second.Exec("SELECT n FROM separate").Error)
}

func TestDatabasesAreMigratedOrEmpty(t *testing.T) {
	n, err := countSchedules(dbtest.Postgres(t).DB)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = countSchedules(dbtest.EmptyPostgres(t).DB)
	require.Error(t, err)
}

// The core module requires no SQLite driver, so Each runs on Postgres alone
// here. Package test/sqlite tests it with a driver.
func TestEachSkipsSQLiteWithoutDriver(t *testing.T) {
	var dialects []string
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.Equal(t, db.Name(), db.Dialect)
		dialects = append(dialects, db.Dialect)
	})
	require.NotContains(t, dialects, "sqlite")
}

func TestOpenReturnsAnotherPool(t *testing.T) {
	db := dbtest.Postgres(t)
	require.NoError(t, db.Exec("CREATE TABLE pools (n int)").Error)
	replica := db.Open(t, &gorm.Config{PrepareStmt: true})
	require.NoError(t, replica.Exec("INSERT INTO pools VALUES (7)").Error)
	var n int
	require.NoError(t, db.Raw("SELECT n FROM pools").Scan(&n).Error)
	require.Equal(t, 7, n)

	replicaPool, err := replica.DB()
	require.NoError(t, err)
	require.NotSame(t, db.SQL(), replicaPool)
	require.IsType(t, &gorm.PreparedStmtDB{}, replica.ConnPool)
}

func TestDatabaseIsDroppedAfterTest(t *testing.T) {
	observer := dbtest.EmptyPostgres(t)
	count := func(name string) (n int) {
		require.NoError(t, observer.Raw("SELECT count(*) FROM pg_database WHERE datname = ?", name).Scan(&n).Error)
		return n
	}
	var name string
	var tx *gorm.DB
	t.Run("user", func(t *testing.T) {
		db := dbtest.Postgres(t)
		require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
		require.Equal(t, 1, count(name))
		// An open transaction does not keep the database.
		tx = db.Open(t, nil).Begin()
		require.NoError(t, tx.Exec("SELECT 1").Error)
	})
	require.Zero(t, count(name))
	tx.Rollback() // ends the goroutine that waits for the end of the transaction
}

func TestParallelTestsCreateDatabases(t *testing.T) {
	for range 8 {
		t.Run("parallel", func(t *testing.T) {
			t.Parallel()
			_, err := countSchedules(dbtest.Postgres(t).DB)
			require.NoError(t, err)
		})
	}
}

func TestDSNAcceptsMoreParameters(t *testing.T) {
	db := *dbtest.EmptyPostgres(t)
	db.DSN += "&default_transaction_isolation=serializable"
	var level string
	require.NoError(t, db.Open(t, nil).Raw("SHOW transaction_isolation").Scan(&level).Error)
	require.Equal(t, "serializable", level)
}
