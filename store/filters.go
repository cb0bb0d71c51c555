package store

import "strings"

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

// before wants rows with a smaller id; zero is no condition.
func (f *filters) before(id int64) {
	if id != 0 {
		f.where.WriteString(" AND id < @before")
		f.values["before"] = id
	}
}
