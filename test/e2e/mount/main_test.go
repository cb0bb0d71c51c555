package mount_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

// TestMain fails if the tests leak goroutines.
func TestMain(m *testing.M) { leaktest.Main(m) }
