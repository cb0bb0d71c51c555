package zoneinfo

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
