// Package ncruces_test tests the store with github.com/ncruces/go-sqlite3.
package ncruces_test

import (
	"database/sql"
	"testing"

	"github.com/glebarez/sqlite"
	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/vfs/memdb"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/test/drivers"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestStore(t *testing.T) {
	drivers.Test(t, drivers.Driver{
		Open: func(t testing.TB, dsn string) gorm.Dialector {
			pool, err := sql.Open("sqlite3", dsn)
			require.NoError(t, err)
			return &sqlite.Dialector{Conn: pool}
		},
		Settings: drivers.Pragmas, SharedMemory: [2]string{"/shared", "&vfs=memdb"},
	})
}
