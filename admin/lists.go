package admin

// listPage responds with one page of a list that is ordered newest first. The
// response has the rows under name, and the cursor of the next page. See
// readPage for read, keep and id.
func listPage[Row, Item any](
	c *call, name string, read func(before int64, limit int) ([]Row, error), keep func(Row) bool, id func(Row) int64, toJSON func(Row) Item,
) (*response, error) {
	limit, err := c.pageSize()
	if err != nil {
		return nil, err
	}
	rows, next, err := readPage(c, "cursor", limit, read, keep, id)
	if err != nil {
		return nil, err
	}
	return okResponse(map[string]any{name: mapSlice(rows, toJSON), "next": next})
}

// The reads of a page of which rows are left out.
const (
	maxReads = 10
	readSize = 1000 // the rows of a read, after the first
)

// readPage reads one page of a list that is ordered newest first, and returns
// the cursor of the next page, or "" at the end. read returns up to limit rows
// whose ids are below before; 0 means from the newest. The page has the rows
// for which keep returns true. It may be short, or empty, before the end if
// keep leaves out most rows.
func readPage[Row any](
	c *call, cursorName string, limit int, read func(before int64, limit int) ([]Row, error), keep func(Row) bool, id func(Row) int64,
) (rows []Row, next string, err error) {
	before, err := c.cursor(cursorName)
	if err != nil {
		return nil, "", err
	}
	size := limit + 1 // one more shows whether there is a next page
	for range maxReads {
		batch, err := read(before, size)
		if err != nil {
			return nil, "", err
		}
		for _, row := range batch {
			if !keep(row) {
				continue
			}
			if len(rows) == limit {
				return rows, formatID(id(rows[limit-1])), nil
			}
			rows = append(rows, row)
		}
		if len(batch) < size {
			return rows, "", nil
		}
		before, size = id(batch[len(batch)-1]), readSize
	}
	return rows, formatID(before), nil
}

func keepAll[Row any](Row) bool { return true }
