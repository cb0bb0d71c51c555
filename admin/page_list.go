package admin

import (
	"net/url"
	"strconv"
)

// What the list of schedules shows.
const (
	listed   = 25  // schedules on a page
	drawn    = 150 // outcomes of each, at most, in the timeline
	nextFew  = 5   // slots to come
	nextMany = 10
)

// listView is the list of schedules.
type listView struct {
	Search, State, Sort string
	Filtered            bool // not all schedules are asked for
	First               bool // page
	Chips               []chip
	Counts              countsJSON
	Rows                []rowView
	Timeline            timeline
	Next                string // the query of the next page
	Back                string // that of this page
	NothingDeclared     bool
	NothingEnabled      bool
	Enqueue             control
	Refused             string // why those selected cannot be changed
}

// chip chooses a state.
type chip struct {
	Label, Query string
	Count        int
	Current      bool
}

func (h *handler) schedulesPage(c *call) (*reply, error) {
	page, err := h.find(c, listed)
	if err != nil {
		return nil, err
	}
	list, err := h.shown(c, page.Schedules, page.At, drawn)
	if err != nil {
		return nil, err
	}
	v := listView{
		Search: c.query.Get("search"), State: c.query.Get("state"), Sort: c.query.Get("sort"), First: c.query.Get("cursor") == "",
		Counts: countsJSON(page.Counts), Timeline: timelineOf(list, page.At), Back: "?" + c.query.Encode(),
	}
	v.Filtered = v.Search != "" || v.State != ""
	v.NothingDeclared = !v.Filtered && v.First && len(list) == 0
	v.NothingEnabled = v.Search == "" && v.Counts.Enabled == 0 && v.Counts.Disabled > 0
	v.Chips = v.chips()
	if page.Next != "" {
		v.Next = v.query("cursor", page.Next)
	}
	v.Rows = each(list, func(s shown) rowView {
		row := h.row(c, s, page.At, nextFew)
		row.Switch.Back = v.Back
		return row
	})
	v.Enqueue = h.control(c, Action{Verb: Enqueue}, control{ID: "enqueue-all", Label: "Enqueue all", Action: "enqueue/all", Asked: true})
	v.Refused = h.control(c, Action{Verb: View}, control{}).Refused

	poll := url.Values{"limit": {strconv.Itoa(listed)}}
	for _, name := range []string{"search", "state", "sort", "cursor"} {
		if value := c.query.Get(name); value != "" {
			poll.Set(name, value)
		}
	}
	return h.show(c, "schedules", "Schedules", "schedules", v, "api/schedules?"+poll.Encode())
}

// Sorted is what aria-sort says of a column.
func (v listView) Sorted(by string) string {
	switch {
	case v.Sort != by:
		return "none"
	case by == "lastRunAt":
		return "descending"
	}
	return "ascending"
}

// By is the query that sorts by a column.
func (v listView) By(column string) string { return v.query("sort", column) }

// Clear is the query without search and state.
func (v listView) Clear() string {
	v.Search, v.State = "", ""
	return v.query("", "")
}

// query is that of the list's first page, with one parameter changed.
func (v listView) query(name, value string) string {
	query := url.Values{"search": {v.Search}, "state": {v.State}, "sort": {v.Sort}}
	query.Set(name, value)
	for name := range query {
		if query.Get(name) == "" {
			delete(query, name)
		}
	}
	return "?" + query.Encode()
}

func (v listView) chips() []chip {
	n := v.Counts
	chips := []chip{
		{"All", "", n.All, false},
		{"Enabled", "ENABLED", n.Enabled, false},
		{"Disabled", "DISABLED", n.Disabled, false},
		{"Overdue", "OVERDUE", n.Overdue, false},
		{"Failing", "FAILING", n.Failing, false},
		{"Removed", "REMOVED", n.Removed, false},
	}
	for i, state := range chips {
		chips[i].Current, chips[i].Query = state.Query == v.State, v.query("state", state.Query)
	}
	return chips
}
