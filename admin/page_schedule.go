package admin

import (
	"net/url"

	"github.com/hourbell/hourbell"
)

// pageOfRuns is how many runs, or events, are shown together.
const pageOfRuns = 25

// detailView is one schedule.
type detailView struct {
	rowView
	Runs   runsView
	Events []eventView
	Older  string // the query of the events before these
}

type eventView struct {
	eventJSON
	Moment      moment
	Face, Slots string
}

// schedulePage shows a schedule, its runs and its events.
func (h *handler) schedulePage(c *call) (*reply, error) {
	s, at, err := h.one(c, recent)
	if err != nil {
		return nil, err
	}
	v := detailView{rowView: h.row(c, s, at, nextMany)}
	v.Switch.Back = "schedules"
	if v.Runs, err = h.runs(c, s.ID, v.Zone); err != nil {
		return nil, err
	}
	if v.Events, v.Older, err = h.events(c, v.rowView); err != nil {
		return nil, err
	}
	api := "api/schedules/" + url.PathEscape(s.ID)
	return h.show(c, "schedule", s.Name, "schedules", v, api, api+"/runs?limit=25", api+"/events?limit=25")
}

// events are what happened to a schedule, newest first.
func (h *handler) events(c *call, row rowView) ([]eventView, string, error) {
	before, err := c.cursor("events")
	if err != nil {
		return nil, "", err
	}
	events, err := h.scheduler.Events(c.r.Context(), hourbell.EventQuery{ScheduleID: row.ID, Before: before, Limit: pageOfRuns + 1})
	if err != nil {
		return nil, "", err
	}
	events, next := cut(events, pageOfRuns, func(e hourbell.Event) int64 { return e.ID })
	if next != "" {
		next = with(c.query, "events", next)
	}
	return each(events, func(e hourbell.Event) eventView {
		v := eventView{eventJSON: eventOf(e), Moment: moment{e.At, row.From}, Face: clockFace(e.At, row.Zone, row.From)}
		switch {
		case e.SlotCount == 1:
			v.Slots = "slot " + clockFace(e.SlotFrom, row.Zone, row.From)
		case e.SlotCount > 1:
			v.Slots = plural(e.SlotCount, "slot") + ", " + clockFace(e.SlotFrom, row.Zone, row.From) + " to " + clockFace(e.SlotTo, row.Zone, row.From)
		}
		return v
	}), next, nil
}

// with is a query with one parameter changed.
func with(query url.Values, name, value string) string {
	changed := url.Values{name: {value}}
	for other, values := range query {
		if other != name && values[0] != "" {
			changed[other] = values
		}
	}
	return "?" + changed.Encode()
}
