package admin

import (
	"errors"
	"net/http"

	"github.com/hourbell/hourbell"
)

func (h *handler) runNow(c *call) (*reply, error) {
	return enqueued(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return h.scheduler.RunNow(c.r.Context(), c.parameters["id"], options)
	})
}

func (h *handler) enqueueAll(c *call) (*reply, error) {
	return enqueued(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return h.scheduler.EnqueueAll(c.r.Context(), options)
	})
}

func (h *handler) enqueueGroup(c *call) (*reply, error) {
	return enqueued(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		runs, err := h.scheduler.EnqueueGroup(c.r.Context(), c.parameters["group"], options)
		return runs, unknown(err, hourbell.ErrUnknownGroup, "unknown-group")
	})
}

func (h *handler) enqueueJob(c *call) (*reply, error) {
	return enqueued(c, func(options hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		runs, err := h.scheduler.EnqueueJob(c.r.Context(), c.parameters["job"], options)
		return runs, unknown(err, hourbell.ErrUnknownJob, "unknown-job")
	})
}

// unknown says that what the path names is not there.
func unknown(err, state error, code string) error {
	if errors.Is(err, state) {
		return refuse(http.StatusNotFound, code, "%v: /api/jobs lists what this process declares", state)
	}
	return err
}

// enqueued answers a request to enqueue with its runs: 201, or 200 where an earlier request with the same key had
// enqueued them.
func enqueued(c *call, enqueue func(hourbell.EnqueueOptions) ([]hourbell.JobRun, error)) (*reply, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	if by.Seen != "" && c.parameters["id"] == "" {
		return nil, wrong("seen", "is no field here; it is about a schedule")
	}
	runs, err := enqueue(hourbell.EnqueueOptions{By: by, Key: key})
	if err != nil {
		return nil, err
	}
	status := http.StatusCreated
	repeated := len(runs) > 0 && runs[0].Repeated
	if repeated {
		status = http.StatusOK
	}
	return &reply{status: status, body: enqueuedJSON{repeated, each(runs, runOf)}}, nil
}

type enqueuedJSON struct {
	Repeated bool      `json:"repeated"`
	Runs     []runJSON `json:"runs"`
}

func (h *handler) listJobs(*call) (*reply, error) {
	type jobJSON struct {
		Name        string `json:"name"`
		Group       string `json:"group"`
		Description string `json:"description"`
		Args        any    `json:"args"`
	}
	return ok(struct {
		Jobs []jobJSON `json:"jobs"`
	}{each(h.scheduler.Jobs(), func(j hourbell.Job) jobJSON { return jobJSON(j) })})
}
