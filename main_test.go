package hourbell_test

import (
	"database/sql"
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// hostPools are those of the examples, which are not the place to show how a host closes its database.
var hostPools []*sql.DB

// Nothing runs on behind the tests.
func TestMain(m *testing.M) {
	leaktest.Main(m, func() {
		for _, pool := range hostPools {
			_ = pool.Close()
		}
	})
}
