// Package contract_test tests the rules of docs/guarantees.md through the
// public API, with one file for each section of that page. Tests run on SQLite
// and on Postgres. Other files hold what the tests share.
package contract_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

// TestMain fails if the tests leave goroutines or database pools behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
