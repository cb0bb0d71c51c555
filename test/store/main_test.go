package store_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

// Nothing runs on behind the tests.
func TestMain(m *testing.M) { leaktest.Main(m) }
