package store_test

import (
	"testing"

	_ "github.com/hourbell/hourbell/test/sqlite"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// Nothing runs on behind the tests.
func TestMain(m *testing.M) { leaktest.Main(m) }
