package store

import (
	"database/sql"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// statement is SQL that is written once, as a template, and expanded for both
// databases.
//
// In a template, {name argument} stands for what the dialects write
// differently: see dialect.expand. @name stands for a value. The store itself
// sets @namespace and, for Config.Now, @now.
//
// {now} reads the clock at each use. {batch …} and {locked_batch …} begin a
// statement over a batch. They define two relations. c has one row for each row
// of the batch, and clock.now is the database time. {clock} is the same time,
// in a form that an index condition can use.
//
// The directory testdata has the expanded text of the important statements.
type statement struct{ postgres, sqlite form }

// form is a statement in one dialect: its text and the names of its values.
type form struct {
	text  string
	names []string
}

// values are the values of a statement by name. The value "batch" is a batch.
type values map[string]any

var (
	tokens = regexp.MustCompile(`\{(\w+) ?([^}]*)\}`)
	names  = regexp.MustCompile(`@\w+`)
)

// prepare expands a template for both dialects. It panics if the template has
// an unknown token.
func prepare(template string) *statement {
	return &statement{postgres: expand(postgres, template), sqlite: expand(sqlite, template)}
}

// expand expands a template for one dialect. Postgres numbers the values in the
// order of their first use.
func expand(d *dialect, template string) form {
	text := tokens.ReplaceAllStringFunc(strings.TrimSpace(template), func(token string) string {
		parts := tokens.FindStringSubmatch(token)
		return d.expand[parts[1]](parts[2])
	})
	f := form{}
	position := map[string]int{}
	f.text = names.ReplaceAllStringFunc(text, func(name string) string {
		if position[name] == 0 {
			f.names = append(f.names, name[1:])
			position[name] = len(f.names)
		}
		if d == sqlite {
			return name
		}
		return "$" + strconv.Itoa(position[name])
	})
	return f
}

// bind returns a statement's text, and its values in the form that the
// dialect's driver takes. The value c is a whole batch as JSON. A value c_name
// is the column "name" of the batch.
func (st *statement) bind(d *dialect, v values, namespace string, clock func() time.Time) (string, []any) {
	f := st.postgres
	if d == sqlite {
		f = st.sqlite
	}
	args := make([]any, len(f.names))
	for i, name := range f.names {
		value, given := v[name]
		switch {
		case name == "namespace":
			value = namespace
		case name == "now" && clock != nil:
			value = clock()
		case name == "c":
			value = v["batch"].(batch).json()
		case !given && strings.HasPrefix(name, "c_"):
			value = v["batch"].(batch).column(name[2:])
		}
		if args[i] = d.encode(value); d == sqlite {
			args[i] = sql.Named(name, args[i])
		}
	}
	return f.text, args
}

// batch holds the rows of a statement by column.
type batch []column

// column holds one value of each row. Postgres gets values; SQLite gets JSON of
// what at returns.
type column struct {
	name   string
	values any             // []string, []int64, []bool, []time.Time or []*time.Time
	at     func(i int) any // the value of row i
	count  int
}

// col returns a column with one value of each row. Texts are sanitized.
func col[Row any, Value string | int64 | bool](name string, rows []Row, get func(*Row) Value) column {
	list := make([]Value, len(rows))
	for i := range rows {
		list[i] = get(&rows[i])
	}
	if texts, ok := any(list).([]string); ok {
		for i, text := range texts {
			texts[i] = sanitizeText(text)
		}
	}
	return column{name, list, func(i int) any { return list[i] }, len(rows)}
}

// timeCol returns a column of times. The zero time is NULL.
func timeCol[Row any](name string, rows []Row, get func(*Row) time.Time) column {
	list := make([]time.Time, len(rows))
	hasZero := false
	for i := range rows {
		list[i] = toMicros(get(&rows[i]))
		hasZero = hasZero || list[i].IsZero()
	}
	at := func(i int) any { return sqliteTime(list[i]) }
	if !hasZero {
		return column{name, list, at, len(rows)}
	}
	pointers := make([]*time.Time, len(rows))
	for i, t := range list {
		if !t.IsZero() {
			pointers[i] = &list[i]
		}
	}
	return column{name, pointers, at, len(rows)}
}

// column returns the values of a column.
func (b batch) column(name string) any {
	for _, c := range b {
		if c.name == name {
			return c.values
		}
	}
	panic("store: the batch has no column " + name)
}

// json returns the batch as a JSON array with one array for each row.
func (b batch) json() string {
	rows := make([][]any, b[0].count)
	for i := range rows {
		rows[i] = make([]any, len(b))
		for j, c := range b {
			rows[i][j] = c.at(i)
		}
	}
	text, _ := json.Marshal(rows) // marshaling strings, numbers and booleans cannot fail
	return string(text)
}

// sanitizeText replaces what Postgres cannot store in a text, such as the
// message of any error.
func sanitizeText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return text
}

// sanitizeTexts returns a copy of a list with each text sanitized.
func sanitizeTexts(list []string) []string {
	sanitized := make([]string, len(list))
	for i, text := range list {
		sanitized[i] = sanitizeText(text)
	}
	return sanitized
}
