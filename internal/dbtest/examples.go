package dbtest

import (
	"fmt"
	"slices"
	"testing"

	"gorm.io/gorm"
)

// Examples opens Postgres databases for the examples of a package, which have
// no testing.T. TestMain calls Close after the tests.
type Examples struct{ t exampleT }

// Available reports whether there is a Postgres server. Without one, TestMain
// skips the examples.
func (*Examples) Available() bool {
	_, err := findServer()
	return err == nil
}

// Open returns a migrated database.
func (e *Examples) Open() *gorm.DB { return Postgres(&e.t).DB }

// Close drops the databases that Open has returned.
func (e *Examples) Close() {
	for _, cleanup := range slices.Backward(e.t.cleanups) {
		cleanup()
	}
}

// exampleT is a testing.TB that ends the program when a test would fail.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper() {}

func (t *exampleT) Cleanup(cleanup func()) { t.cleanups = append(t.cleanups, cleanup) }

func (*exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (*exampleT) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
