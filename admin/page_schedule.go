package admin

import (
	"net/url"

	"github.com/hourbell/hourbell"
)

// rowsPerPage is the number of runs, or events, on a page.
const rowsPerPage = 25

// detailView is the data of a schedule's own page.
type detailView struct {
	rowView
	Runs   runsView
	Events []eventView
	Older  string // the query of the next page of events
}

type eventView struct {
	eventJSON
	Rel              relTime
	LocalTime, Slots string
}

// schedulePage shows a schedule, its runs and its events.
func (h *handler) schedulePage(c *call) (*response, error) {
	s, err := h.readSchedule(c, recentOutcomes)
	if err != nil {
		return nil, err
	}
	v := detailView{rowView: h.newRow(c, s, detailSlots)}
	v.Switch.Back = "schedules"
	if v.Runs, err = h.runsView(c, s.ID, v.At, v.Zone); err != nil {
		return nil, err
	}
	if v.Events, v.Older, err = h.eventViews(c, v.rowView); err != nil {
		return nil, err
	}
	api := "api/schedules/" + url.PathEscape(s.ID)
	return h.render(c, "schedule", s.Name, "schedules", v, api, api+"/runs?limit=25", api+"/events?limit=25")
}

// eventViews reads a page of a schedule's events, newest first, and returns the
// query of the next page.
func (h *handler) eventViews(c *call, row rowView) ([]eventView, string, error) {
	events, next, err := readPage(c, "events", rowsPerPage, h.eventReader(c, hourbell.EventQuery{ScheduleID: row.ID}), keepAll, eventID)
	if err != nil {
		return nil, "", err
	}
	if next != "" {
		next = withParam(c.query, "events", next)
	}
	return mapSlice(events, func(e hourbell.Event) eventView {
		v := eventView{eventJSON: toEventJSON(e), Rel: relTime{e.At, row.At}, LocalTime: localTime(e.At, row.Zone, row.At)}
		switch {
		case e.SlotCount == 1:
			v.Slots = "slot " + localTime(e.SlotFrom, row.Zone, row.At)
		case e.SlotCount > 1:
			v.Slots = plural(e.SlotCount, "slot") + ", " + localTime(e.SlotFrom, row.Zone, row.At) + " to " + localTime(e.SlotTo, row.Zone, row.At)
		}
		return v
	}), next, nil
}

// withParam returns a query string with one parameter set.
func withParam(query url.Values, name, value string) string {
	changed := url.Values{name: {value}}
	for other, values := range query {
		if other != name && values[0] != "" {
			changed[other] = values
		}
	}
	return "?" + changed.Encode()
}
