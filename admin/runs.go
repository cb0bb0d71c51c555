package admin

import (
	"net/http"
	"strconv"

	"github.com/hourbell/hourbell"
)

// listRuns lists runs, newest first: all of them, or those of the schedule that the path names.
func (h *handler) listRuns(c *call) (*reply, error) {
	limit, err := c.page()
	if err != nil {
		return nil, err
	}
	before, err := c.before()
	if err != nil {
		return nil, err
	}
	schedule, err := h.scheduleOf(c)
	if err != nil {
		return nil, err
	}
	if schedule == "" {
		schedule = c.query.Get("schedule")
	}
	runs, err := h.scheduler.Runs(c.r.Context(), hourbell.RunQuery{
		ScheduleID: schedule, Job: c.query.Get("job"), Group: c.query.Get("group"), Status: c.query.Get("status"), Trigger: c.query.Get("trigger"),
		Before: before, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	runs, next := cut(runs, limit, func(r hourbell.JobRun) int64 { return r.ID })
	return ok(struct {
		Runs []runJSON `json:"runs"`
		Next string    `json:"next"`
	}{each(runs, runOf), next})
}

func (h *handler) listEvents(c *call) (*reply, error) {
	limit, err := c.page()
	if err != nil {
		return nil, err
	}
	before, err := c.before()
	if err != nil {
		return nil, err
	}
	schedule, err := h.scheduleOf(c)
	if err != nil {
		return nil, err
	}
	events, err := h.scheduler.Events(c.r.Context(), hourbell.EventQuery{
		ScheduleID: schedule, Kind: c.query.Get("kind"), Before: before, Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	events, next := cut(events, limit, func(e hourbell.Event) int64 { return e.ID })
	return ok(struct {
		Events []eventJSON `json:"events"`
		Next   string      `json:"next"`
	}{each(events, eventOf), next})
}

// scheduleOf is the schedule that the path names, which must be stored; "" where the path names none.
func (h *handler) scheduleOf(c *call) (string, error) {
	id := c.parameters["id"]
	if id == "" {
		return "", nil
	}
	_, err := h.scheduler.Schedule(c.r.Context(), id)
	return id, err
}

// cut cuts a list that was read with one row too many to its page, and says where the next goes on.
func cut[Row any](list []Row, limit int, id func(Row) int64) ([]Row, string) {
	if len(list) <= limit {
		return list, ""
	}
	return list[:limit], strconv.FormatInt(id(list[limit-1]), 10)
}

func (h *handler) showRun(c *call) (*reply, error) {
	run, err := h.run(c)
	if err != nil {
		return nil, err
	}
	return ok(runWithArgsJSON{runOf(run), run.Args})
}

// run is the run that the path names.
func (h *handler) run(c *call) (hourbell.JobRun, error) {
	id, err := strconv.ParseInt(c.parameters["id"], 10, 64)
	if err != nil || id < 1 {
		return hourbell.JobRun{}, wrong("id", "%q is not the number of a run", c.parameters["id"])
	}
	runs, err := h.scheduler.Runs(c.r.Context(), hourbell.RunQuery{ID: id})
	if err != nil {
		return hourbell.JobRun{}, err
	}
	if len(runs) == 0 {
		return hourbell.JobRun{}, refuse(http.StatusNotFound, "unknown-run", "there is no run %d; runs are deleted when they have outlived their retention", id)
	}
	return runs[0], nil
}
