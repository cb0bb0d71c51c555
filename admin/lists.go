package admin

import (
	"strconv"
)

// listPage responds with one page of a list that is ordered newest first. The
// response has the rows under name, and the cursor of the next page. See
// readPage for read and id.
func listPage[Row, Item any](
	c *call, name string, read func(before int64, limit int) ([]Row, error), id func(Row) int64, toJSON func(Row) Item,
) (*response, error) {
	limit, err := c.pageSize()
	if err != nil {
		return nil, err
	}
	rows, next, err := readPage(c, "cursor", limit, read, id)
	if err != nil {
		return nil, err
	}
	return okResponse(map[string]any{name: mapSlice(rows, toJSON), "next": next})
}

// readPage reads one page of a list that is ordered newest first, and returns
// the cursor of the next page, or "" at the end. read returns up to limit rows
// whose ids are below before; 0 means from the newest.
func readPage[Row any](
	c *call, cursorName string, limit int, read func(before int64, limit int) ([]Row, error), id func(Row) int64,
) (rows []Row, next string, err error) {
	before, err := c.cursor(cursorName)
	if err != nil {
		return nil, "", err
	}
	rows, err = read(before, limit+1) // one more shows whether there is a next page
	if err != nil {
		return nil, "", err
	}
	rows, next = trimToLimit(rows, limit, id)
	return rows, next, nil
}

// trimToLimit trims rows to the limit. If it removes any, it returns the cursor
// of the next page too.
func trimToLimit[Row any](rows []Row, limit int, id func(Row) int64) ([]Row, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], strconv.FormatInt(id(rows[limit-1]), 10)
}
