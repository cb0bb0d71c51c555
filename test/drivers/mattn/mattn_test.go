//go:build cgo

// Package mattn_test tests the store with gorm's own SQLite driver, which needs
// a C compiler.
package mattn_test

import (
	"fmt"
	"testing"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/test/drivers"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestStore(t *testing.T) {
	drivers.Test(t, drivers.Driver{
		Open: func(_ testing.TB, dsn string) gorm.Dialector { return sqlite.Open(dsn) },
		Settings: func(journal string, busyTimeout time.Duration) string {
			return fmt.Sprintf("&_busy_timeout=%d&_journal_mode=%s", busyTimeout.Milliseconds(), journal)
		},
		SharedMemory: drivers.SharedCache,
	})
}
