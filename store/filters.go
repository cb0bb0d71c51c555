package store

import (
	"fmt"
	"strings"
)

// filters collects the conditions of a page, and their values.
type filters struct {
	where  strings.Builder
	values values
}

func newFilters(limit int) *filters { return &filters{values: values{"limit": limit}} }

// text wants a column to have a value; an empty one is no condition.
func (f *filters) text(column, value string) {
	if value != "" {
		f.where.WriteString(" AND " + column + " = @" + column)
		f.values[column] = clean(value)
	}
}

// number compares a column with a value; zero is no condition.
func (f *filters) number(column, operator string, value int64) {
	if value != 0 {
		name := fmt.Sprintf("number%d", len(f.values))
		f.where.WriteString(" AND " + column + " " + operator + " @" + name)
		f.values[name] = value
	}
}

// and adds a condition as it stands.
func (f *filters) and(condition string) { f.where.WriteString(" AND " + condition) }
