package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// filters collects the conditions of a list and their values.
type filters struct {
	where  strings.Builder
	values values
}

func newFilters(limit int) *filters { return &filters{values: values{"limit": limit}} }

// text adds the condition that a column has a value. An empty value adds none.
func (f *filters) text(column, value string) {
	if value != "" {
		f.and(column + " = @" + column)
		f.values[column] = sanitizeText(value)
	}
}

// number adds a condition that compares a column with a value. The value zero
// adds none.
func (f *filters) number(column, operator string, value int64) {
	if value != 0 {
		name := fmt.Sprintf("number%d", len(f.values))
		f.and(column + " " + operator + " @" + name)
		f.values[name] = value
	}
}

func (f *filters) and(condition string) { f.where.WriteString("\n\tAND " + condition) }

// states are the conditions of the schedule states, in the order of the counts.
// The last part of OVERDUE allows the use of the index hourbell_schedules_due.
var states = []struct {
	state     hourbell.ScheduleState
	condition string
}{
	{hourbell.StateEnabled, `removed_at IS NULL AND enabled AND NOT manual`},
	{hourbell.StateDisabled, `removed_at IS NULL AND NOT enabled AND NOT manual`},
	{hourbell.StateOverdue, `removed_at IS NULL AND enabled AND next_run_at + grace < {timestamp @at}
		AND next_run_at < {timestamp @at}`},
	{hourbell.StateFailing, `removed_at IS NULL AND NOT manual AND consecutive_failures > 0`},
	{hourbell.StateManual, `removed_at IS NULL AND manual`},
	{hourbell.StateRemoved, `removed_at IS NOT NULL`},
}

// order is an order of schedules: by a key, then by id. A page starts after the
// key and the id of the last row of the previous page, which are its cursor.
type order struct {
	key     string                         // the key of a row, in SQL
	lastKey string                         // the cursor's key, which is @key, in SQL
	keyOf   func(*storage.Schedule) string // the key of a row, for a cursor
	parse   func(string) (any, error)      // converts the cursor's key to the value of @key
}

var orders = map[string]order{
	"id": {key: `''`, lastKey: `''`, keyOf: func(*storage.Schedule) string { return "" }, parse: parseText},
	"name": {
		key: `lower(name)`, lastKey: `lower(CAST(@key AS text))`,
		keyOf: func(r *storage.Schedule) string { return r.Name }, parse: parseText,
	},
	"nextRunAt": orderByTime(`COALESCE({micros next_run_at}, 9223372036854775807)`,
		func(r *storage.Schedule) int64 { return microsOr(r.NextRunAt, math.MaxInt64) }),
	"lastRunAt": orderByTime(`-COALESCE({micros last_run_at}, 0)`,
		func(r *storage.Schedule) int64 { return -microsOr(r.LastRunAt, 0) }),
}

// orderByTime returns an order by a time in microseconds since 1970.
func orderByTime(key string, keyOf func(*storage.Schedule) int64) order {
	return order{
		key: key, lastKey: `CAST(@key AS bigint)`,
		keyOf: func(r *storage.Schedule) string { return strconv.FormatInt(keyOf(r), 10) },
		parse: func(text string) (any, error) { return strconv.ParseInt(text, 10, 64) },
	}
}

func parseText(text string) (any, error) { return sanitizeText(text), nil }

func microsOr(t time.Time, zero int64) int64 {
	if t.IsZero() {
		return zero
	}
	return t.UnixMicro()
}

// columns returns the columns for ORDER BY.
func (o order) columns() string {
	if o.isByID() {
		return "id"
	}
	return o.key + ", id"
}

func (o order) isByID() bool { return o.key == orders["id"].key }

// ListSchedules implements [hourbell.Store]. One statement counts. Another one
// reads the page, with the database time of the first. A page in the order of
// ids is read by the primary key.
func (s *database) ListSchedules(ctx context.Context, q hourbell.ScheduleQuery) (page storage.SchedulePage, err error) {
	count, list, err := listStatements(q)
	if err != nil {
		return page, err
	}
	counts := make([]int, len(states))
	fields := []any{toTime(&page.At), &page.Total}
	for i := range counts {
		fields = append(fields, &counts[i])
	}
	if err := s.query(ctx, count, list.values, func(rows *sql.Rows) error { return rows.Scan(fields...) }); err != nil {
		return page, err
	}
	page.Counts = make(map[string]int, len(states))
	for i, state := range states {
		page.Counts[string(state.state)] = counts[i]
	}
	list.values["at"] = page.At
	if err := s.query(ctx, list.statement, list.values, collect(&page.Schedules, scheduleFields)); err != nil {
		return page, err
	}
	for i := range page.Schedules {
		page.Schedules[i].ReadAt = page.At
	}
	if len(page.Schedules) > q.Limit {
		page.Schedules = page.Schedules[:q.Limit]
		last := &page.Schedules[q.Limit-1]
		page.Next = encodeCursor(orders[q.Sort].keyOf(last), last.ID)
	}
	return page, nil
}

// boundStatement is a statement with the values to send.
type boundStatement struct {
	statement *statement
	values    values
}

// listStatements returns the statement that counts the schedules of a query,
// and the one that reads its page and one row more.
func listStatements(q hourbell.ScheduleQuery) (count *statement, list boundStatement, err error) {
	f := newFilters(q.Limit + 1)
	if len(q.IDs) > 0 {
		f.and("id IN {list @ids}")
		f.values["ids"] = sanitizeTexts(q.IDs)
	}
	if q.Search != "" {
		f.and(search)
		f.values["pattern"] = "%" + escapeWildcards.Replace(sanitizeText(q.Search)) + "%"
	}
	count = prepare(countSchedules(f.where.String()))
	for _, state := range states {
		if state.state == q.State {
			f.and(state.condition)
		}
	}
	o := orders[q.Sort]
	if err := f.after(q.After, o); err != nil {
		return nil, list, &hourbell.QueryError{Field: "After", Err: err}
	}
	return count, boundStatement{prepare(`
SELECT ` + scheduleColumns + ` FROM hourbell_schedules
WHERE namespace = @namespace` + f.where.String() + `
ORDER BY ` + o.columns() + ` LIMIT @limit`), f.values}, nil
}

// countSchedules returns a statement that reads the clock, and counts schedules
// in all and by state.
func countSchedules(where string) string {
	var counts strings.Builder
	for _, state := range states {
		condition := strings.ReplaceAll(state.condition, "{timestamp @at}", "{clock}")
		fmt.Fprintf(&counts, ",\n\tcount(*) FILTER (WHERE %s)", condition)
	}
	return `
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now)
SELECT {clock}, count(*)` + counts.String() + `
FROM hourbell_schedules
WHERE namespace = @namespace` + where
}

// search is the condition that a schedule contains a text. The letters A to Z
// match in either case.
const search = `lower(id || ' ' || name || ' ' || description || ' ' || target)
		LIKE lower(CAST(@pattern AS text)) ESCAPE '!'`

// escapeWildcards escapes the characters that have a meaning in LIKE. The
// escape character is not a backslash. What that means in a string depends on
// the setting standard_conforming_strings.
var escapeWildcards = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// after adds the condition of a page that starts after a cursor.
func (f *filters) after(cursor string, o order) error {
	if cursor == "" {
		return nil
	}
	key, id, ok := decodeCursor(cursor)
	if !ok {
		return errors.New("is not the Next of a page")
	}
	f.values["id"] = sanitizeText(id)
	if o.isByID() {
		f.and("id > @id")
		return nil
	}
	value, err := o.parse(key)
	if err != nil {
		return errors.New("is the Next of a page in another order")
	}
	f.values["key"] = value
	f.and("(" + o.key + ", id) > (" + o.lastKey + ", @id)")
	return nil
}

// encodeCursor returns the cursor after a row: the length of its key, the key,
// which may be any text, and the id.
func encodeCursor(key, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(len(key)) + " " + key + id))
}

func decodeCursor(cursor string) (key, id string, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", "", false
	}
	length, rest, ok := strings.Cut(string(text), " ")
	n, err := strconv.Atoi(length)
	if !ok || err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}
