package admin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// runsView is a list of runs and its filters.
type runsView struct {
	Schedule, Job, Group string
	Status               hourbell.RunStatus
	Trigger              hourbell.Trigger
	OfSchedule           bool // the list is on a schedule's page
	Filtered             bool
	Runs                 []runView
	Next                 string // the query of the next page
	First                bool
	Statuses             []hourbell.RunStatus // the choices of the filter
	Triggers             []hourbell.Trigger
}

type runView struct {
	runJSON
	Queued, Started, Finished relTime
	SlotText                  string
	Lateness, Duration        string
	Args                      string // the beginning of the arguments
	ArgsSize                  string // the size of the arguments if Args has only their beginning
}

// runsPage shows the runs of all schedules.
func (h *handler) runsPage(c *call) (*response, error) {
	state, err := h.scheduler.Health(c.r.Context())
	if err != nil {
		return nil, err
	}
	v, err := h.runsView(c, "", state.At, time.UTC)
	if err != nil {
		return nil, err
	}
	poll := url.Values{"limit": {strconv.Itoa(rowsPerPage)}}
	for name, values := range c.query {
		if values[0] != "" {
			poll[name] = values
		}
	}
	return h.renderWith(c, state, "runs", "Runs", "runs", v, "api/runs?"+poll.Encode())
}

// runsView reads the runs that the query selects: of the schedule with an id,
// or of all if the id is empty. Times are shown relative to at, and slots in
// the zone.
func (h *handler) runsView(c *call, scheduleID string, at time.Time, zone *time.Location) (runsView, error) {
	query := runQuery(c)
	query.Job = strings.TrimSpace(query.Job)
	v := runsView{
		Schedule: query.ScheduleID, Job: query.Job, Group: query.Group, Status: query.Status, Trigger: query.Trigger,
		OfSchedule: scheduleID != "", First: c.query.Get("cursor") == "",
		Statuses: []hourbell.RunStatus{hourbell.RunQueued, hourbell.RunRunning, hourbell.RunSucceeded, hourbell.RunFailed},
		Triggers: []hourbell.Trigger{hourbell.TriggerCron, hourbell.TriggerManual, hourbell.TriggerAPI},
		Filtered: query != hourbell.RunQuery{},
	}
	if scheduleID != "" {
		query.ScheduleID = scheduleID
	}
	runs, next, err := readPage(c, "cursor", rowsPerPage, h.runReader(c, query), h.runFilter(c, query), runID)
	if err != nil {
		return v, err
	}
	if next != "" {
		v.Next = withParam(c.query, "cursor", next)
	}
	v.Runs = mapSlice(runs, func(r hourbell.JobRun) runView { return newRunView(r, at, zone) })
	return v, nil
}

// runTable is the data of the runs template.
type runTable struct {
	Root string
	runsView
}

// RunTable returns the data of the runs template on this page.
func (v view) RunTable(runs runsView) runTable { return runTable{v.Root, runs} }

// runPage shows one run.
func (h *handler) runPage(c *call) (*response, error) {
	run, err := h.readRun(c, false)
	if err != nil {
		return nil, err
	}
	state, err := h.scheduler.Health(c.r.Context())
	if err != nil {
		return nil, err
	}
	v := newRunView(run, state.At, time.UTC)
	var isWhole bool
	if v.Args, isWhole = argsText(run.Args); !isWhole {
		v.ArgsSize = formatSize(len(run.Args))
	}
	return h.renderWith(c, state, "run", "Run "+formatID(run.ID)+": "+run.Job, "runs", v, "api/runs/"+formatID(run.ID)+"?omitArgs=1")
}

// runArgs responds with the arguments of a run as a file.
func (h *handler) runArgs(c *call) (*response, error) {
	run, err := h.readRun(c, false)
	if err != nil {
		return nil, err
	}
	text := []byte("null")
	if len(run.Args) > 0 {
		text = run.Args
	}
	name := "run-" + formatID(run.ID) + "-args.json"
	return &response{status: http.StatusOK, text: text, header: http.Header{"Content-Disposition": {`attachment; filename="` + name + `"`}}}, nil
}

func newRunView(r hourbell.JobRun, at time.Time, zone *time.Location) runView {
	v := runView{
		runJSON: toRunJSON(r), Queued: relTime{r.QueuedAt, at}, Started: relTime{r.StartedAt, at}, Finished: relTime{r.FinishedAt, at},
		Lateness: latenessText(lateness(r.ScheduledFor, r.QueuedAt)),
	}
	if !r.ScheduledFor.IsZero() {
		v.SlotText = localTime(r.ScheduledFor, zone, at)
	}
	if !r.StartedAt.IsZero() && !r.FinishedAt.IsZero() {
		v.Duration = formatDuration(r.FinishedAt.Sub(r.StartedAt))
	}
	return v
}

func formatID(id int64) string { return strconv.FormatInt(id, 10) }
