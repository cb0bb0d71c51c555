package admin

import (
	"net/http"
	"strconv"

	"github.com/hourbell/hourbell"
)

// listRuns lists runs, newest first: those of the schedule in the path, or all.
func (h *handler) listRuns(c *call) (*response, error) {
	query := runQuery(c)
	if id := c.pathParams["id"]; id != "" {
		if _, err := h.scheduler.Schedule(c.r.Context(), id); err != nil {
			return nil, err
		}
		query.ScheduleID = id
	}
	return listPage(c, "runs", h.runReader(c, query), h.runFilter(c, query), runID, toRunJSON)
}

// runQuery returns the run query of a request's filters.
func runQuery(c *call) hourbell.RunQuery {
	return hourbell.RunQuery{
		ScheduleID: c.query.Get("schedule"), Job: c.query.Get("job"), Group: c.query.Get("group"),
		Status: hourbell.RunStatus(c.query.Get("status")), Trigger: hourbell.Trigger(c.query.Get("trigger")),
	}
}

// runReader returns the read function of a page of runs.
func (h *handler) runReader(c *call, query hourbell.RunQuery) func(before int64, limit int) ([]hourbell.JobRun, error) {
	return func(before int64, limit int) ([]hourbell.JobRun, error) {
		query.Before, query.Limit, query.OmitArgs = before, limit, true
		return h.scheduler.Runs(c.r.Context(), query)
	}
}

// runFilter returns the function that leaves out runs of schedules that the
// request may not view. The runs of one schedule were authorized with it.
func (h *handler) runFilter(c *call, query hourbell.RunQuery) func(hourbell.JobRun) bool {
	if query.ScheduleID != "" {
		return keepAll
	}
	return func(r hourbell.JobRun) bool { return h.canView(c, r.ScheduleID) }
}

func runID(r hourbell.JobRun) int64 { return r.ID }

func (h *handler) showRun(c *call) (*response, error) {
	omitArgs, err := c.boolParam("omitArgs")
	if err != nil {
		return nil, err
	}
	run, err := h.readRun(c, omitArgs)
	if err != nil {
		return nil, err
	}
	return okResponse(runWithArgsJSON{toRunJSON(run), run.Args})
}

// readRun reads the run in the path, with or without its arguments, and checks
// that the request may view its schedule.
func (h *handler) readRun(c *call, omitArgs bool) (hourbell.JobRun, error) {
	id, err := strconv.ParseInt(c.pathParams["id"], 10, 64)
	if err != nil || id < 1 {
		return hourbell.JobRun{}, badValue("id", "%q is not the id of a run", c.pathParams["id"])
	}
	runs, err := h.scheduler.Runs(c.r.Context(), hourbell.RunQuery{ID: id, OmitArgs: omitArgs})
	if err != nil {
		return hourbell.JobRun{}, err
	}
	if len(runs) == 0 {
		return hourbell.JobRun{}, newProblem(http.StatusNotFound, "unknown-run", "there is no run %d; runs are deleted after their retention", id)
	}
	if id := runs[0].ScheduleID; id != "" {
		if err := h.viewSchedule(c, id); err != nil {
			return hourbell.JobRun{}, err
		}
	}
	return runs[0], nil
}
