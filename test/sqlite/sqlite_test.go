package sqlite_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/dbtest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

// countSchedules fails if the database is not migrated.
func countSchedules(db *gorm.DB) (n int64, err error) {
	return n, db.Table("hourbell_schedules").Count(&n).Error
}

func TestDatabasesAreSeparate(t *testing.T) {
	first, second := dbtest.SQLite(t), dbtest.SQLite(t)
	require.NotEqual(t, first.DSN, second.DSN)
	require.NoError(t, first.Exec("CREATE TABLE separate (n int)").Error)
	require.Error(t, second.Exec("SELECT n FROM separate").Error)
}

func TestDatabasesAreMigratedOrEmpty(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		n, err := countSchedules(db.DB)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Equal(t, db.Name(), db.Dialect)
	})
	_, err := countSchedules(dbtest.EmptySQLite(t).DB)
	require.Error(t, err)
}

func TestEachRunsOnBothDatabases(t *testing.T) {
	t.Setenv("HOURBELL_ONLY_POSTGRES", "")
	var dialects []string
	dbtest.Each(t, func(_ *testing.T, db *dbtest.DB) { dialects = append(dialects, db.Dialect) })
	require.Contains(t, dialects, "sqlite")
	require.Subset(t, []string{"sqlite", "postgres"}, dialects)
}

func TestEachSkipsSQLiteIfAsked(t *testing.T) {
	t.Setenv("HOURBELL_ONLY_POSTGRES", "1")
	var dialects []string
	dbtest.Each(t, func(_ *testing.T, db *dbtest.DB) { dialects = append(dialects, db.Dialect) })
	require.NotContains(t, dialects, "sqlite")
}

func TestOpenReturnsAnotherPool(t *testing.T) {
	db := dbtest.SQLite(t)
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

func TestTransactionTakesWriteLockAtBegin(t *testing.T) {
	db := dbtest.EmptySQLite(t)
	require.NoError(t, db.Exec("CREATE TABLE counter (n int)").Error)
	require.NoError(t, db.Exec("INSERT INTO counter VALUES (0)").Error)
	const writers, increments = 4, 25
	results := make(chan error, writers*increments)
	for range writers {
		go func() {
			for range increments {
				results <- db.Transaction(func(tx *gorm.DB) error {
					var n int
					if err := tx.Raw("SELECT n FROM counter").Scan(&n).Error; err != nil {
						return err
					}
					return tx.Exec("UPDATE counter SET n = ?", n+1).Error
				})
			}
		}()
	}
	for range writers * increments {
		require.NoError(t, <-results)
	}
	var n int
	require.NoError(t, db.Raw("SELECT n FROM counter").Scan(&n).Error)
	require.Equal(t, writers*increments, n)
}
