package pooler_test

import _ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// Nothing runs on behind the tests.
func TestMain(m *testing.M) { leaktest.Main(m) }
