package dbtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// migrated counts the rows of a table that the migrations make.
func migrated(db *gorm.DB) (n int64, err error) {
	return n, db.Table("hourbell_schedules").Count(&n).Error
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	makers := map[string]func(testing.TB) *dbtest.DB{
		"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres,
	}
	for name, fresh := range makers {
		t.Run(name, func(t *testing.T) {
			one, other := fresh(t), fresh(t)
			require.NotEqual(t, one.DSN, other.DSN)
			require.NoError(t, one.Exec("CREATE TABLE mine (n int)").Error)
			require.Error(t, other.Exec("SELECT n FROM mine").Error)
		})
	}
}

func TestMigratedAndEmpty(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		_, err := migrated(db.DB)
		require.NoError(t, err)
		require.Equal(t, db.Name(), db.Dialect)
	})
	t.Run("empty sqlite", func(t *testing.T) {
		_, err := migrated(dbtest.EmptySQLite(t).DB)
		require.Error(t, err)
	})
	t.Run("empty postgres", func(t *testing.T) {
		_, err := migrated(dbtest.EmptyPostgres(t).DB)
		require.Error(t, err)
	})
}

func TestEachRunsBothKinds(t *testing.T) {
	t.Setenv("HOURBELL_ONLY_POSTGRES", "")
	var kinds []string
	dbtest.Each(t, func(_ *testing.T, db *dbtest.DB) { kinds = append(kinds, db.Dialect) })
	require.Contains(t, kinds, "sqlite")
	require.Subset(t, []string{"sqlite", "postgres"}, kinds)

	t.Setenv("HOURBELL_ONLY_POSTGRES", "1")
	kinds = nil
	dbtest.Each(t, func(_ *testing.T, db *dbtest.DB) { kinds = append(kinds, db.Dialect) })
	require.NotContains(t, kinds, "sqlite")
}

func TestOpenIsAnotherPoolOnTheSameDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.NoError(t, db.Exec("CREATE TABLE shared (n int)").Error)
		replica := db.Open(t, &gorm.Config{PrepareStmt: true})
		require.NoError(t, replica.Exec("INSERT INTO shared VALUES (7)").Error)
		var n int
		require.NoError(t, db.Raw("SELECT n FROM shared").Scan(&n).Error)
		require.Equal(t, 7, n)

		theirs, err := replica.DB()
		require.NoError(t, err)
		require.NotSame(t, db.SQL(), theirs)
		require.IsType(t, &gorm.PreparedStmtDB{}, replica.ConnPool)
	})
}

func TestADatabaseIsGoneAfterItsTest(t *testing.T) {
	watcher := dbtest.EmptyPostgres(t)
	exists := func(name string) (n int) {
		require.NoError(t, watcher.Raw("SELECT count(*) FROM pg_database WHERE datname = ?", name).Scan(&n).Error)
		return n
	}
	var name string
	var tx *gorm.DB
	t.Run("user", func(t *testing.T) {
		db := dbtest.Postgres(t)
		require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
		require.Equal(t, 1, exists(name))
		// A session that is still in a transaction does not keep it.
		tx = db.Open(t, nil).Begin()
		require.NoError(t, tx.Exec("SELECT 1").Error)
	})
	require.Zero(t, exists(name))
	tx.Rollback() // there is nothing to roll back; it ends what waits for that
}

func TestDatabasesOfManyTestsAtOnce(t *testing.T) {
	for range 8 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			_, err := migrated(dbtest.Postgres(t).DB)
			require.NoError(t, err)
		})
	}
}

func TestDSNTakesMoreParameters(t *testing.T) {
	db := *dbtest.EmptyPostgres(t)
	db.DSN += "&default_transaction_isolation=serializable"
	var level string
	require.NoError(t, db.Open(t, nil).Raw("SHOW transaction_isolation").Scan(&level).Error)
	require.Equal(t, "serializable", level)
}

func TestSQLiteTransactionsTakeTheWriteLockAtOnce(t *testing.T) {
	db := dbtest.EmptySQLite(t)
	require.NoError(t, db.Exec("CREATE TABLE counter (n int)").Error)
	require.NoError(t, db.Exec("INSERT INTO counter VALUES (0)").Error)
	const writers, each = 4, 25
	failures := make(chan error, writers*each)
	for range writers {
		go func() {
			for range each {
				failures <- db.Transaction(func(tx *gorm.DB) error {
					var n int
					if err := tx.Raw("SELECT n FROM counter").Scan(&n).Error; err != nil {
						return err
					}
					return tx.Exec("UPDATE counter SET n = ?", n+1).Error
				})
			}
		}()
	}
	for range writers * each {
		require.NoError(t, <-failures)
	}
	var n int
	require.NoError(t, db.Raw("SELECT n FROM counter").Scan(&n).Error)
	require.Equal(t, writers*each, n)
}
