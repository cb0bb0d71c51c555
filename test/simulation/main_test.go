// Package simulation compares the simulation's model of the database with the
// real stores. The simulation is valid only if the model behaves as they do.
package simulation

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
