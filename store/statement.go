package store

import (
	"database/sql"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// statement is SQL written once for both databases.
//
// In its template {name argument} stands for what the dialects write differently (see dialect.expand), @name for a
// value. @namespace and {now} are filled in by the store. {batch …} and {locked …} begin a statement over the rows
// of a batch: the relation c has a row for each, and clock.now is the instant of the statement. {instant} is the same
// instant, in a condition on each row: an index can be searched for it.
type statement struct{ postgres, sqlite form }

// form is a statement in one dialect: its text, and the names of the values in it.
type form struct {
	text  string
	names []string
}

// values are the values of a statement by name.
type values map[string]any

var (
	tokens = regexp.MustCompile(`\{(\w+) ?([^}]*)\}`)
	names  = regexp.MustCompile(`@\w+`)
)

// prepare writes a template out for both dialects. A template that cannot be written out is a bug, found at start-up.
func prepare(template string) *statement {
	return &statement{postgres: expand(postgres, template), sqlite: expand(sqlite, template)}
}

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

// bind gives a statement its values, as the driver of the dialect takes them.
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

// batch is the rows of a statement, by column, in the order of the template.
type batch []column

type column struct {
	name   string
	values any // []string, []int64, []bool, []time.Time or []*time.Time
	at     func(i int) any
	count  int
}

// col makes a column of a batch from rows.
func col[Row any, Value string | int64 | bool](name string, rows []Row, get func(*Row) Value) column {
	list := make([]Value, len(rows))
	for i := range rows {
		list[i] = get(&rows[i])
	}
	if texts, ok := any(list).([]string); ok {
		for i, text := range texts {
			texts[i] = clean(text)
		}
	}
	return column{name, list, func(i int) any { return list[i] }, len(rows)}
}

// times makes a column of instants, in which a zero instant is NULL.
func times[Row any](name string, rows []Row, get func(*Row) time.Time) column {
	list := make([]time.Time, len(rows))
	none := false
	for i := range rows {
		list[i] = whole(get(&rows[i]))
		none = none || list[i].IsZero()
	}
	at := func(i int) any { return microseconds(list[i]) }
	if !none {
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

// column is the values of one column.
func (b batch) column(name string) any {
	for _, c := range b {
		if c.name == name {
			return c.values
		}
	}
	panic("store: a batch lacks the column " + name)
}

// json is the batch as a JSON array of arrays.
func (b batch) json() string {
	rows := make([][]any, b[0].count)
	for i := range rows {
		rows[i] = make([]any, len(b))
		for j, c := range b {
			rows[i][j] = c.at(i)
		}
	}
	text, _ := json.Marshal(rows) // strings, numbers and booleans always marshal
	return string(text)
}

// clean takes out of a text what Postgres does not store: it may be an error's, of whatever origin.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return text
}
