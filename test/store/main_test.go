package store_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

// TestMain fails the package if a test leaves a goroutine running.
func TestMain(m *testing.M) { leaktest.Main(m) }
