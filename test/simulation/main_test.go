// Package simulation compares the simulation's model of the database with the
// real stores. A simulated history is worth as much as the model is accurate.
package simulation

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
	_ "github.com/hourbell/hourbell/test/sqlite"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
