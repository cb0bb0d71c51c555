package pooler_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// Nothing runs on behind the tests.
func TestMain(m *testing.M) { leaktest.Main(m) }
