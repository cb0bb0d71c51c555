package admin

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

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

// runPage shows one run.
func (h *handler) runPage(c *call) (*reply, error) {
	run, err := h.run(c)
	if err != nil {
		return nil, err
	}
	at, err := h.scheduler.Now(c.r.Context())
	if err != nil {
		return nil, err
	}
	v := runViewOf(run, at, time.UTC)
	v.Args = argsWords(run.Args)
	return h.show(c, "run", "Run "+number(run.ID)+": "+run.Job, "runs", v, "api/runs/"+number(run.ID))
}

func runViewOf(r hourbell.JobRun, at time.Time, zone *time.Location) runView {
	v := runView{
		runJSON: runOf(r), Queued: moment{r.QueuedAt, at}, Started: moment{r.StartedAt, at}, Finished: moment{r.FinishedAt, at},
		Late: lateWords(lateness(r.ScheduledFor, r.QueuedAt)),
	}
	if !r.ScheduledFor.IsZero() {
		v.SlotFace = clockFace(r.ScheduledFor, zone, at)
	}
	if !r.StartedAt.IsZero() && !r.FinishedAt.IsZero() {
		v.Took = span(r.FinishedAt.Sub(r.StartedAt))
	}
	return v
}

func number(id int64) string { return strconv.FormatInt(id, 10) }
