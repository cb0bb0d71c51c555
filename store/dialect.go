package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
)

// dialect is one of the two databases.
type dialect struct {
	name string
	// expand writes out what a statement's template leaves open.
	expand map[string]func(argument string) string
	// encode turns a Go value into one that the driver takes.
	encode func(any) any
}

// The clock, in each dialect. SQLite's has milliseconds.
const (
	postgresNow = "COALESCE(CAST(@now AS timestamptz), clock_timestamp())"
	sqliteNow   = "COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)"
)

var postgres = &dialect{
	name: "postgres",
	expand: map[string]func(string) string{
		"now":       func(string) string { return postgresNow },
		"instant":   func(string) string { return "(SELECT now FROM clock)" },
		"span":      func(x string) string { return "(CAST(" + x + " AS bigint) * interval '1 microsecond')" },
		"time":      func(x string) string { return "CAST(" + x + " AS timestamptz)" },
		"micros":    func(x string) string { return "CAST(EXTRACT(EPOCH FROM " + x + ") * 1000000 AS bigint)" },
		"json":      func(x string) string { return "CAST(" + x + " AS jsonb)" },
		"list":      func(x string) string { return "(SELECT unnest(CAST(" + x + " AS text[])))" },
		"skip":      func(string) string { return "FOR UPDATE SKIP LOCKED" },
		"among":     func(x string) string { return "= ANY (ARRAY(" + x + "))" }, // looks each up by its key; IN may join, and read the whole table
		"own":       func(x string) string { return "s." + x },                   // c has columns of the same name
		"lines":     func(x string) string { return "string_agg(" + x + ", chr(10))" },
		"isolation": func(string) string { return "current_setting('default_transaction_isolation')" },
		"batch":     postgresBatch,
		"locked":    postgresLocked,
		"row":       func(string) string { return "s.ctid = c.at" },
	},
	encode: func(value any) any {
		if t, ok := value.(time.Time); ok {
			return timePointer(t)
		}
		return value
	},
}

var sqlite = &dialect{
	name: "sqlite",
	expand: map[string]func(string) string{
		"now":       func(string) string { return sqliteNow },
		"instant":   func(string) string { return sqliteNow }, // the same throughout a statement, and half the price of looking it up
		"span":      func(x string) string { return x },
		"time":      func(x string) string { return x },
		"micros":    func(x string) string { return x },
		"json":      func(x string) string { return "json(" + x + ")" }, // refuses what is none
		"list":      func(x string) string { return "(SELECT value FROM json_each(" + x + "))" },
		"skip":      func(string) string { return "" },
		"among":     func(x string) string { return "IN (" + x + ")" },
		"own":       func(x string) string { return x }, // RETURNING knows no other table
		"lines":     func(x string) string { return "group_concat(" + x + ", char(10))" },
		"isolation": func(string) string { return "''" }, // there is one level only
		"batch":     sqliteBatch,
		"locked":    sqliteBatch, // there is one writer at a time
		"row":       func(string) string { return "s.namespace = @namespace AND s.id = c.id" },
	},
	encode: func(value any) any {
		switch value := value.(type) {
		case time.Time:
			return microseconds(value)
		case []string:
			text, _ := json.Marshal(append([]string{}, value...)) // strings always marshal; none are [], not null
			return string(text)
		}
		return value
	},
}

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
		return nil, fmt.Errorf("the store works on postgres and sqlite, not on %s", name)
	}
}

// postgresBatch hands the rows of a batch over as one array a column. An argument lists "name:type" pairs.
func postgresBatch(columns string) string {
	var arrays, names []string
	for column := range strings.FieldsSeq(columns) {
		name, kind, _ := strings.Cut(column, ":")
		arrays = append(arrays, "CAST(@c_"+name+" AS "+kind+"[])")
		names = append(names, name)
	}
	return "WITH c AS MATERIALIZED (SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ") AS c(" + strings.Join(names, ", ") + ")),\n" +
		"clock AS MATERIALIZED (SELECT " + postgresNow + " AS now)"
}

// postgresLocked is a batch over schedules that locks their rows first, in the order of their ids so that two of them
// cannot deadlock, and then reads the clock: no wait for a lock comes between the clock and what it judges. Each row is
// looked up by its key, whatever the planner knows of the table: LATERAL with a LIMIT is never turned into a join. The
// statement finds it again where it was locked; what had to be waited for has changed, and is not found.
func postgresLocked(columns string) string {
	batch, _, _ := strings.Cut(postgresBatch(columns), ",\nclock AS")
	return strings.Replace(batch, "WITH c AS", "WITH given AS", 1) + ",\nc AS MATERIALIZED (SELECT s.at, c.* FROM (SELECT * FROM given ORDER BY id) c\n" +
		"\tCROSS JOIN LATERAL (SELECT s.ctid AS at FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.id = c.id LIMIT 1 FOR UPDATE) s),\n" +
		"clock AS MATERIALIZED (SELECT " + postgresNow + " AS now, count(*) FROM c)"
}

// sqliteBatch hands the rows of a batch over as one JSON array of arrays.
func sqliteBatch(columns string) string {
	var fields []string
	for column := range strings.FieldsSeq(columns) {
		name, _, _ := strings.Cut(column, ":")
		fields = append(fields, fmt.Sprintf("value ->> %d AS %s", len(fields), name))
	}
	return "WITH c AS MATERIALIZED (SELECT " + strings.Join(fields, ", ") + " FROM json_each(@c)),\n" +
		"clock AS MATERIALIZED (SELECT " + sqliteNow + " AS now)"
}

// microseconds is an instant as SQLite has it; nil for none.
func microseconds(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// timePointer is an instant as Postgres has it; nil for none.
func timePointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = whole(t)
	return &t
}

// whole is an instant as Postgres can keep it: what is below a microsecond is cut off, not rounded up.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
