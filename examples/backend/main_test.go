package main

import (
	"testing"

	"github.com/hourbell/hourbell/internal/leaktest"
)

// TestMain fails if the tests leave goroutines or database pools behind.
func TestMain(m *testing.M) { leaktest.Main(m) }
