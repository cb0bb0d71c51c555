package admin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hourbell/hourbell"
)

func (h *handler) runNow(c *call) (*response, error) {
	return enqueue(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		runs, err := h.scheduler.RunNow(c.r.Context(), c.pathParams["id"], options)
		if errors.Is(err, hourbell.ErrUnknownTarget) {
			err = newProblem(http.StatusConflict, "declared-elsewhere", "%s; send the request to a process of the build that declares the schedule",
				strings.TrimPrefix(err.Error(), "hourbell: "))
		}
		return runs, err
	})
}

func (h *handler) enqueueAll(c *call) (*response, error) {
	return enqueue(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return h.scheduler.EnqueueAll(c.r.Context(), options)
	})
}

func (h *handler) enqueueGroup(c *call) (*response, error) {
	return enqueue(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		runs, err := h.scheduler.EnqueueGroup(c.r.Context(), c.pathParams["group"], options)
		return runs, notFound(err, "unknown-group", "unknown group")
	})
}

func (h *handler) enqueueJob(c *call) (*response, error) {
	return enqueue(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		runs, err := h.scheduler.EnqueueJob(c.r.Context(), c.pathParams["job"], options)
		return runs, notFound(err, "unknown-job", "unknown job")
	})
}

// notFound converts the error of an unknown group or job in the path to a 404.
func notFound(err error, code, text string) error {
	if errors.Is(err, hourbell.ErrUnknownTarget) {
		return newProblem(http.StatusNotFound, code, "%s: /api/jobs lists what this process declares", text)
	}
	return err
}

// enqueue responds to a request to enqueue with its runs. The status is 201, or
// 200 if an earlier request with the same key enqueued them.
func enqueue(c *call, enqueueRuns func(hourbell.EnqueueOptions) ([]hourbell.JobRun, error)) (*response, error) {
	key, err := c.idempotencyKey()
	if err != nil {
		return nil, err
	}
	options, err := c.changeOptions()
	if err != nil {
		return nil, err
	}
	if options.IfMatch != "" && c.pathParams["id"] == "" {
		return nil, badValue("ifMatch", "is an unknown field here; only requests for a schedule accept it")
	}
	runs, err := enqueueRuns(hourbell.EnqueueOptions{Actor: options.Actor, Note: options.Note, IfMatch: options.IfMatch, IdempotencyKey: key})
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	duplicate := len(runs) > 0 && runs[0].Duplicate
	if duplicate {
		status = http.StatusOK
	}
	return &response{status: status, body: enqueuedJSON{duplicate, mapSlice(runs, toRunJSON)}}, nil
}

type enqueuedJSON struct {
	Duplicate bool      `json:"duplicate"`
	Runs      []runJSON `json:"runs"`
}

func (h *handler) listJobs(*call) (*response, error) {
	type jobJSON struct {
		Name        string `json:"name"`
		Group       string `json:"group"`
		Description string `json:"description"`
		Args        any    `json:"args"`
	}
	return okResponse(struct {
		Jobs []jobJSON `json:"jobs"`
	}{mapSlice(h.scheduler.Jobs(), func(j hourbell.Job) jobJSON { return jobJSON(j) })})
}
