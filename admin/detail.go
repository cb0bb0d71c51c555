package admin

import (
	"net/url"
	"strconv"
	"strings"
	"time"

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

// runsView is a list of runs, and the filters that chose it.
type runsView struct {
	Schedule, Job, Group, Status, Trigger string
	OfSchedule                            bool // the list is that of a schedule's page
	Filtered                              bool
	Runs                                  []runView
	Next                                  string // the query of the next page
	First                                 bool
	Statuses, Triggers                    []string
}

type runView struct {
	runJSON
	Queued, Started, Finished moment
	SlotFace                  string
	Late, Took                string
	Args                      string
}

// runsPage shows all runs.
func (h *handler) runsPage(c *call) (*reply, error) {
	v, err := h.runs(c, "", time.UTC)
	if err != nil {
		return nil, err
	}
	poll := url.Values{"limit": {strconv.Itoa(pageOfRuns)}}
	for name, values := range c.query {
		if values[0] != "" {
			poll[name] = values
		}
	}
	return h.show(c, "runs", "Runs", "runs", v, "api/runs?"+poll.Encode())
}

// runs are those that the query asks for: of one schedule, or of any. Their slots are shown in a zone.
func (h *handler) runs(c *call, schedule string, zone *time.Location) (runsView, error) {
	v := runsView{
		Schedule: c.query.Get("schedule"), Job: strings.TrimSpace(c.query.Get("job")), Group: c.query.Get("group"), Status: c.query.Get("status"),
		Trigger: c.query.Get("trigger"), OfSchedule: schedule != "", First: c.query.Get("cursor") == "",
		Statuses: []string{"QUEUED", "RUNNING", "SUCCEEDED", "FAILED"}, Triggers: []string{"CRON", "MANUAL", "API"},
	}
	v.Filtered = v.Schedule+v.Job+v.Group+v.Status+v.Trigger != ""
	if schedule == "" {
		schedule = v.Schedule
	}
	before, err := c.cursor("cursor")
	if err != nil {
		return v, err
	}
	runs, err := h.scheduler.Runs(c.r.Context(), hourbell.RunQuery{
		ScheduleID: schedule, Job: v.Job, Group: v.Group, Status: v.Status, Trigger: v.Trigger, Before: before, Limit: pageOfRuns + 1,
	})
	if err != nil {
		return v, err
	}
	at, err := h.scheduler.Now(c.r.Context())
	if err != nil {
		return v, err
	}
	runs, next := cut(runs, pageOfRuns, func(r hourbell.JobRun) int64 { return r.ID })
	if next != "" {
		v.Next = with(c.query, "cursor", next)
	}
	v.Runs = each(runs, func(r hourbell.JobRun) runView { return runViewOf(r, at, zone) })
	return v, nil
}

// runList is a list of runs on a page.
type runList struct {
	Root string
	Of   runsView
}

// List is a list of runs on this page.
func (v view) List(runs runsView) runList { return runList{v.Root, runs} }
