package admin

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// listWorkers lists the workers, the latest start first.
func (h *handler) listWorkers(c *call) (*response, error) {
	limit, err := c.pageSize()
	if err != nil {
		return nil, err
	}
	after, err := c.workerCursor()
	if err != nil {
		return nil, err
	}
	workers, err := h.scheduler.Workers(c.r.Context())
	if err != nil {
		return nil, err
	}
	slices.SortFunc(workers, compareWorkers)
	if after != nil {
		workers = slices.DeleteFunc(workers, func(w hourbell.Worker) bool { return compareWorkers(w, *after) <= 0 })
	}
	next := ""
	if len(workers) > limit {
		workers = workers[:limit]
		last := workers[limit-1]
		next = strconv.FormatInt(last.StartedAt.UnixMicro(), 10) + "." + last.ID
	}
	return okResponse(struct {
		Workers []workerJSON `json:"workers"`
		Next    string       `json:"next"`
	}{mapSlice(workers, toWorkerJSON), next})
}

// compareWorkers orders workers by their starts, the latest first, and then by
// id.
func compareWorkers(a, b hourbell.Worker) int {
	return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.ID, b.ID))
}

// workerCursor returns the last worker of the previous page, with its start and
// id only, or nil for the first page.
func (c *call) workerCursor() (*hourbell.Worker, error) {
	cursor := c.query.Get("cursor")
	if cursor == "" {
		return nil, nil
	}
	start, id, _ := strings.Cut(cursor, ".")
	micros, err := strconv.ParseInt(start, 10, 64)
	if err != nil || id == "" {
		return nil, badValue("cursor", "%q is not a cursor that a page returned as next", cursor)
	}
	return &hourbell.Worker{StartedAt: time.UnixMicro(micros), ID: id}, nil
}
