package compression_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// TestMain fails if the tests leak goroutines.
func TestMain(m *testing.M) { leaktest.Main(m) }
