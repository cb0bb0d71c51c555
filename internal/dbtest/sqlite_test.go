package dbtest_test

import (
	"github.com/glebarez/sqlite"

	"github.com/hourbell/hourbell/internal/dbtest"
)

func init() { dbtest.RegisterSQLite(sqlite.Open) }
