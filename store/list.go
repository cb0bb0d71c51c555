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
)

// present are the schedules that code still declares.
const present = `removed_at IS NULL`

// The states of a schedule, as conditions. An overdue one is due too: the index of what is due is searched for that.
var states = map[string]string{
	"ENABLED":  present + ` AND enabled`,
	"DISABLED": present + ` AND NOT enabled`,
	"OVERDUE":  present + ` AND enabled AND next_run_at + grace < {time @at} AND next_run_at < {time @at}`,
	"FAILING":  present + ` AND failures > 0`,
	"REMOVED":  `removed_at IS NOT NULL`,
}

// An order of schedules is by a key and then by id. A page goes on behind the key and the id of its last row.
type order struct {
	key    string // of a row, in SQL
	behind string // of the last row, in SQL
	of     func(hourbell.Schedule) string
	read   func(string) (any, error)
}

var orders = map[string]order{
	"id":        {key: `''`, behind: `''`, of: func(hourbell.Schedule) string { return "" }, read: anyText},
	"name":      {key: `lower(name)`, behind: `lower(CAST(@key AS text))`, of: func(r hourbell.Schedule) string { return r.Name }, read: anyText},
	"nextRunAt": instants(`COALESCE({micros next_run_at}, 9223372036854775807)`, func(r hourbell.Schedule) int64 { return number(r.NextRunAt, math.MaxInt64) }),
	"lastRunAt": instants(`-COALESCE({micros last_run_at}, 0)`, func(r hourbell.Schedule) int64 { return -number(r.LastRunAt, 0) }),
}

func instants(key string, of func(hourbell.Schedule) int64) order {
	return order{
		key: key, behind: `CAST(@key AS bigint)`,
		of:   func(r hourbell.Schedule) string { return strconv.FormatInt(of(r), 10) },
		read: func(text string) (any, error) { return strconv.ParseInt(text, 10, 64) },
	}
}

func anyText(text string) (any, error) { return text, nil }

func number(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixMicro()
}

// ListSchedules implements [hourbell.Store]: one statement counts, another reads the page by the counts' clock. In the
// order of ids it walks the primary key.
func (s *Store) ListSchedules(ctx context.Context, q hourbell.ScheduleQuery) (page hourbell.SchedulePage, err error) {
	by := orders[q.Sort]
	f := newFilters(q.Limit + 1)
	if q.Search != "" {
		f.and(search)
		f.values["pattern"] = "%" + wildcards.Replace(clean(q.Search)) + "%"
	}
	c := &page.Counts
	if err := s.query(ctx, prepare(counts(f.where.String())), f.values, func(rows *sql.Rows) error {
		return rows.Scan(toTime(&page.At), &c.All, &c.Enabled, &c.Disabled, &c.Overdue, &c.Failing, &c.Removed)
	}); err != nil {
		return page, err
	}
	f.values["at"] = page.At
	if q.State != "" {
		f.and(states[q.State])
	}
	if err := f.after(q.After, by); err != nil {
		return page, &hourbell.QueryError{Field: "After", Err: err}
	}
	st := prepare(`SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE namespace = @namespace` + f.where.String() +
		` ORDER BY ` + by.sorted() + ` LIMIT @limit`)
	if err := s.query(ctx, st, f.values, collect(&page.Schedules, scheduleFields)); err != nil {
		return page, err
	}
	if len(page.Schedules) > q.Limit {
		page.Schedules = page.Schedules[:q.Limit]
		last := page.Schedules[q.Limit-1]
		page.Next = cursor(by.of(last), last.ID)
	}
	return page, nil
}

// cursor names the last row of a page: how long its key is, the key, which may be any text, and the id.
func cursor(key, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(len(key)) + " " + key + id))
}

func uncursor(cursor string) (key, id string, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	count, rest, ok := strings.Cut(string(text), " ")
	n, wrong := strconv.Atoi(count)
	if err != nil || !ok || wrong != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// search looks for a text, letters A to Z in either case.
const search = `lower(id || ' ' || name || ' ' || description || ' ' || target) LIKE lower(CAST(@pattern AS text)) ESCAPE '\'`

// wildcards are those of a pattern, which mean themselves in a text that is looked for.
var wildcards = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// counts counts the schedules in question by state, and reads the clock.
func counts(where string) string {
	var list strings.Builder
	for _, state := range []string{"ENABLED", "DISABLED", "OVERDUE", "FAILING", "REMOVED"} {
		fmt.Fprintf(&list, ", count(*) FILTER (WHERE %s)", strings.ReplaceAll(states[state], "{time @at}", "{instant}"))
	}
	return `
WITH clock AS MATERIALIZED (SELECT {now} AS now)
SELECT {instant}, count(*)` + list.String() + ` FROM hourbell_schedules WHERE namespace = @namespace` + where
}

// sorted is what a page is sorted by.
func (o order) sorted() string {
	if o.key == orders["id"].key {
		return "id"
	}
	return o.key + ", id"
}

// after goes on behind the last row of a page.
func (f *filters) after(cursor string, by order) error {
	if cursor == "" {
		return nil
	}
	key, id, ok := uncursor(cursor)
	if !ok {
		return errors.New("is not the Next of a page")
	}
	f.values["id"] = clean(id)
	if by.sorted() == "id" {
		f.and("id > @id")
		return nil
	}
	value, err := by.read(key)
	if err != nil {
		return errors.New("is the Next of a page in another order")
	}
	if key, ok := value.(string); ok {
		value = clean(key)
	}
	f.values["key"] = value
	f.and("(" + by.key + ", id) > (" + by.behind + ", @id)")
	return nil
}
