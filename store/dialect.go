package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// dialect is how SQL is written for one of the two databases.
type dialect struct {
	name string // as gorm names the driver
	// expand expands the tokens of a statement's template by name.
	expand map[string]func(argument string) string
	// encode converts a Go value to one that the driver takes.
	encode func(any) any
}

// The database clock, unless @now replaces it. The resolution of SQLite's clock
// is a millisecond.
const (
	postgresNow = "COALESCE(CAST(@now AS timestamptz), clock_timestamp())"
	sqliteNow   = "COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)"
)

var postgres = &dialect{
	name: "postgres",
	expand: map[string]func(string) string{
		"now":         func(string) string { return postgresNow },
		"clock":       func(string) string { return "(SELECT now FROM clock)" },
		"interval":    func(x string) string { return "(CAST(" + x + " AS bigint) * interval '1 microsecond')" },
		"timestamp":   func(x string) string { return "CAST(" + x + " AS timestamptz)" },
		"bigint":      func(x string) string { return "CAST(CAST(" + x + " AS text) AS bigint)" },
		"micros":      func(x string) string { return "CAST(EXTRACT(EPOCH FROM " + x + ") * 1000000 AS bigint)" },
		"json":        func(x string) string { return "CAST(" + x + " AS jsonb)" },
		"list":        func(x string) string { return "(SELECT unnest(CAST(" + x + " AS text[])))" },
		"skip_locked": func(string) string { return "FOR UPDATE SKIP LOCKED" },
		// = ANY looks up each row by its key. IN may become a join, which reads
		// the whole table.
		"in": func(x string) string { return "= ANY (ARRAY(" + x + "))" },
		"in_bigints": func(x string) string {
			return "= ANY (ARRAY(SELECT CAST(unnest(CAST(" + x + " AS text[])) AS bigint)))"
		},
		"returned":     func(x string) string { return "s." + x },                           // c has columns with the same names
		"digests":      func(x string) string { return "CAST(bit_xor(" + x + ") AS text)" }, // a single number
		"only_sqlite":  func(string) string { return "" },
		"isolation":    func(string) string { return "current_setting('default_transaction_isolation')" },
		"batch":        postgresBatch,
		"locked_batch": postgresLockedBatch,
		"batch_row":    func(string) string { return "s.ctid = c.row_ctid" },
	},
	encode: func(value any) any {
		if t, ok := value.(time.Time); ok {
			return postgresTime(t)
		}
		return value
	},
}

var sqlite = &dialect{
	name: "sqlite",
	expand: map[string]func(string) string{
		"now":          func(string) string { return sqliteNow },
		"clock":        func(string) string { return sqliteNow }, // constant within a statement, and faster than a subquery
		"interval":     func(x string) string { return x },
		"timestamp":    func(x string) string { return x },
		"bigint":       func(x string) string { return "CAST(" + x + " AS integer)" },
		"micros":       func(x string) string { return x },
		"json":         func(x string) string { return "json(" + x + ")" }, // fails if it is not JSON
		"list":         func(x string) string { return "(SELECT value FROM json_each(" + x + "))" },
		"skip_locked":  func(string) string { return "" },
		"in":           func(x string) string { return "IN (" + x + ")" },
		"in_bigints":   func(x string) string { return "IN (SELECT CAST(value AS integer) FROM json_each(" + x + "))" },
		"returned":     func(x string) string { return x }, // RETURNING sees no other table
		"digests":      func(x string) string { return "group_concat(" + x + ", ',')" },
		"only_sqlite":  func(x string) string { return x },
		"isolation":    func(string) string { return "''" }, // there is only one level
		"batch":        sqliteBatch,
		"locked_batch": sqliteBatch, // there is one writer at a time
		"batch_row":    func(string) string { return "s.namespace = @namespace AND s.id = c.id" },
	},
	encode: func(value any) any {
		switch value := value.(type) {
		case time.Time:
			return sqliteTime(value)
		case []string:
			text, _ := json.Marshal(append([]string{}, value...)) // marshaling strings cannot fail; nil becomes []
			return string(text)
		}
		return value
	},
}

// dialectOf returns the dialect of a gorm handle, or an error if there is none.
func dialectOf(db *gorm.DB) (*dialect, error) {
	if db == nil || db.Dialector == nil {
		return nil, errors.New("the store has no database: its *gorm.DB is nil")
	}
	switch name := db.Name(); name {
	case postgres.name:
		return postgres, nil
	case sqlite.name:
		return sqlite, nil
	default:
		return nil, fmt.Errorf("the store supports postgres and sqlite, not %s", name)
	}
}

// postgresBatch passes the rows of a batch as one array for each column.
// columns lists "name:type" pairs.
func postgresBatch(columns string) string {
	return "WITH\n-- the rows of the batch\nc AS MATERIALIZED (" + postgresRows(columns) + "),\n" + postgresClock
}

// postgresLockedBatch is a batch over schedules that locks their rows in id
// order, so that two batches cannot deadlock. It reads the clock afterwards, so
// that no wait for a lock lies between the clock and its use. LATERAL with a
// LIMIT looks up each row by its key, whatever statistics the planner has.
//
// The statement finds the rows by their ctid, the place of a row version. A row
// that has changed during the wait has another one, and is not written.
func postgresLockedBatch(columns string) string {
	return "WITH\n-- the rows of the batch\ngiven AS MATERIALIZED (" + postgresRows(columns) + "),\n" +
		"-- the same, each locked, with the place of its row\n" +
		"c AS MATERIALIZED (SELECT s.row_ctid, c.* FROM (SELECT * FROM given ORDER BY id) c\n" +
		"\tCROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s\n\t\tWHERE s.namespace = @namespace AND s.id = c.id LIMIT 1 FOR UPDATE) s),\n" +
		"-- the database time after all locks\n" +
		"clock AS MATERIALIZED (SELECT " + postgresNow + " AS now, count(*) FROM c)"
}

// postgresClock reads the database clock once for a statement.
const postgresClock = "-- the database time\nclock AS MATERIALIZED (SELECT " + postgresNow + " AS now)"

// postgresRows returns the rows of a batch, one array for each column.
func postgresRows(columns string) string {
	var arrays, names []string
	for column := range strings.FieldsSeq(columns) {
		name, kind, _ := strings.Cut(column, ":")
		if kind == "" {
			continue // only SQLite has it
		}
		arrays = append(arrays, "\n\tCAST(@c_"+name+" AS "+kind+"[])")
		names = append(names, name)
	}
	return "SELECT * FROM unnest(" + strings.Join(arrays, ",") + ") AS c(" + strings.Join(names, ", ") + ")"
}

// sqliteBatch passes the rows of a batch as one JSON array of arrays.
func sqliteBatch(columns string) string {
	var fields []string
	for column := range strings.FieldsSeq(columns) {
		name, _, _ := strings.Cut(column, ":")
		fields = append(fields, fmt.Sprintf("\n\tvalue ->> %d AS %s", len(fields), name))
	}
	return "WITH\n-- the rows of the batch\nc AS MATERIALIZED (SELECT " + strings.Join(fields, ",") + " FROM json_each(@c)),\n" +
		"-- the database time\nclock AS MATERIALIZED (SELECT " + sqliteNow + " AS now)"
}

// sqliteTime returns a time as SQLite stores it; nil for the zero time.
func sqliteTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// postgresTime returns a time as Postgres stores it; nil for the zero time.
func postgresTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = toMicros(t)
	return &t
}

// toMicros truncates a time to the microseconds that Postgres stores. Postgres
// itself would round it.
func toMicros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
