// Package sqlite registers the SQLite driver with dbtest. Tests that run on
// both databases import it for that effect:
//
//	import _ "github.com/hourbell/hourbell/test/sqlite"
//
// It is not part of dbtest because the core module does not require a SQLite
// driver.
package sqlite

import (
	"github.com/glebarez/sqlite"

	"github.com/hourbell/hourbell/internal/dbtest"
)

func init() { dbtest.RegisterSQLite(sqlite.Open) }
