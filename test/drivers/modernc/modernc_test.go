// Package modernc_test tests the store with modernc.org/sqlite.
package modernc_test

import (
	"testing"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	_ "modernc.org/sqlite"

	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/test/drivers"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestStore(t *testing.T) {
	drivers.Test(t, drivers.Driver{
		Open: func(_ testing.TB, dsn string) gorm.Dialector {
			return sqlite.New(sqlite.Config{DriverName: "sqlite", DSN: dsn})
		},
		Settings: drivers.Pragmas, SharedMemory: drivers.SharedCache,
	})
}
