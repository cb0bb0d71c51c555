package admin

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/hourbell/hourbell"
)

// The sizes of the list page.
const (
	schedulesPerPage = 25
	timelineOutcomes = 150 // outcomes per schedule
	rowSlots         = 5   // upcoming slots of a row
	detailSlots      = 10  // upcoming slots of a schedule's own page
)

// listView is the data of the list page.
type listView struct {
	Search, State, Sort string
	Filtered            bool // a search or state restricts the list
	First               bool // the first page
	Chips               []chip
	Counts              map[string]int // by state, see countsByName
	Rows                []rowView
	Timeline            timeline
	Next                string // the query of the next page; empty on the last
	Back                string // the query of this page
	NothingDeclared     bool
	NothingEnabled      bool
	Enqueue             control
	Denied              string // why the selected schedules cannot be changed
}

// chip is a link that filters the list by state.
type chip struct {
	Label, Query string
	Count        int
	Current      bool
}

func (h *handler) schedulesPage(c *call) (*response, error) {
	page, hides, err := h.querySchedules(c, schedulesPerPage, timelineOutcomes)
	if err != nil {
		return nil, err
	}
	schedules := newScheduleViews(page.Schedules)
	v := listView{
		Search: c.query.Get("search"), State: c.query.Get("state"), Sort: c.query.Get("sort"), First: c.query.Get("cursor") == "",
		Counts: countsByName(page), Timeline: newTimeline(schedules, page.At), Back: "?" + c.query.Encode(),
	}
	v.Filtered = v.Search != "" || v.State != ""
	v.NothingDeclared = !hides && !v.Filtered && v.First && len(schedules) == 0
	v.NothingEnabled = v.Search == "" && page.Counts[hourbell.StateEnabled] == 0 && page.Counts[hourbell.StateDisabled] > 0
	v.Chips = v.chips(page)
	if page.Next != "" {
		v.Next = v.query("cursor", page.Next)
	}
	v.Rows = mapSlice(schedules, func(s scheduleView) rowView {
		row := h.newRow(c, s, rowSlots)
		row.Switch.Back = v.Back
		return row
	})
	v.Enqueue = h.enqueueAllControl(c)
	v.Denied = h.authorizeControl(c, Action{Verb: View}, control{}).Denied

	poll := url.Values{"limit": {strconv.Itoa(schedulesPerPage)}}
	for _, name := range []string{"search", "state", "sort", "cursor"} {
		if value := c.query.Get(name); value != "" {
			poll.Set(name, value)
		}
	}
	return h.render(c, "schedules", "Schedules", "schedules", v, "api/schedules?"+poll.Encode())
}

// AriaSort returns the aria-sort attribute of a column.
func (v listView) AriaSort(column string) string {
	switch {
	case v.Sort != column:
		return "none"
	case column == "lastRunAt":
		return "descending"
	}
	return "ascending"
}

// SortQuery returns the query that sorts by a column.
func (v listView) SortQuery(column string) string { return v.query("sort", column) }

// ClearQuery returns the query without search and state.
func (v listView) ClearQuery() string {
	v.Search, v.State = "", ""
	return v.query("", "")
}

// query returns the query of the first page with one parameter changed.
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

func (v listView) chips(page hourbell.SchedulePage) []chip {
	chips := []chip{{"All", v.query("state", ""), page.Total, v.State == ""}}
	for _, state := range []hourbell.ScheduleState{
		hourbell.StateEnabled, hourbell.StateDisabled, hourbell.StateOverdue, hourbell.StateFailing, hourbell.StateManual, hourbell.StateRemoved,
	} {
		name := string(state)
		chips = append(chips, chip{capitalize(strings.ToLower(name)), v.query("state", name), page.Counts[state], v.State == name})
	}
	return chips
}
