// Package sqlite registers a SQLite driver with package dbtest. Tests that run
// on both databases import it for this effect:
//
//	import _ "github.com/hourbell/hourbell/test/sqlite"
//
// The driver is registered here because the core module does not require one.
package sqlite

import (
	"github.com/glebarez/sqlite"

	"github.com/hourbell/hourbell/internal/dbtest"
)

func init() { dbtest.RegisterSQLite(sqlite.Open) }
