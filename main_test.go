package hourbell_test

import (
	"database/sql"
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// hostPools are the database pools of the examples. TestMain closes them, so
// that the examples do not have to show it.
var hostPools []*sql.DB

// TestMain fails if the tests leave goroutines or database pools behind.
func TestMain(m *testing.M) {
	leaktest.Main(m, func() {
		for _, pool := range hostPools {
			_ = pool.Close()
		}
	})
}
