package pooler_test

import _ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// TestMain fails if the tests leave a goroutine, pool or transaction behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
