package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hourbell/hourbell"
)

// problem is an error as the client sees it: a problem document (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`            // stable, for programs
	Field  string `json:"field,omitempty"` // the invalid body field, parameter or header

	header http.Header
}

func (p *problem) Error() string { return p.Detail }

func newProblem(status int, code, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// badValue returns the problem of an invalid parameter, body field or header.
func badValue(field, format string, args ...any) *problem {
	p := newProblem(http.StatusBadRequest, "bad-value", "%s", field+" "+fmt.Sprintf(format, args...))
	p.Field = field
	return p
}

// retryAfter sets the Retry-After header, in seconds.
func (p *problem) retryAfter(seconds string) *problem {
	p.header = http.Header{"Retry-After": {seconds}}
	return p
}

// errorResponse returns the response for an error.
func (h *handler) errorResponse(r *http.Request, err error) *response {
	p := h.toProblem(r, err)
	if wantsPage(r) {
		return h.problemPage(r, p)
	}
	return &response{status: p.Status, body: p, contentType: "application/problem+json", header: p.header}
}

// toProblem converts an error to the problem that the client sees. A server
// error is logged. The text of an unknown error is not shown, because it may
// contain internal details.
func (h *handler) toProblem(r *http.Request, err error) *problem {
	p := knownProblem(err)
	if p == nil {
		p = newProblem(http.StatusInternalServerError, "internal", "internal error; nothing was changed, and the server's log has the cause")
	}
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		h.cfg.Logger.ErrorContext(r.Context(), "hourbell/admin: request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	}
	return p
}

// knownProblem returns the problem of an error that clients can act on, or nil.
func knownProblem(err error) *problem {
	var own *problem
	var query *hourbell.QueryError
	var definition *hourbell.DefinitionError
	switch text := strings.TrimPrefix(err.Error(), "hourbell: "); {
	case errors.As(err, &own):
		return own
	case errors.As(err, &query):
		return badValue(parameterName(query.Field), "%v", query.Err)
	case errors.Is(err, hourbell.ErrUnknownSchedule):
		return newProblem(http.StatusNotFound, "unknown-schedule", "%s", text)
	case errors.Is(err, hourbell.ErrRemoved):
		return newProblem(http.StatusConflict, "schedule-removed", "%s", text)
	case errors.Is(err, hourbell.ErrChanged):
		return newProblem(http.StatusConflict, "changed", "%s: reload it before you try again", text)
	case errors.Is(err, hourbell.ErrBusy):
		return newProblem(http.StatusConflict, "busy", "%v: try again", hourbell.ErrBusy).retryAfter("1")
	case errors.Is(err, hourbell.ErrKeyReused):
		return newProblem(http.StatusUnprocessableEntity, "key-reused", "%s: use a new Idempotency-Key for each new request", text)
	case errors.Is(err, hourbell.ErrUnknownTarget):
		return newProblem(http.StatusConflict, "unknown-target", "%s", text)
	case errors.As(err, &definition):
		return newProblem(http.StatusConflict, "unreadable-definition", "%s: this process cannot read the definition that another build stored", text)
	case errors.Is(err, hourbell.ErrNotMigrated):
		return newProblem(http.StatusServiceUnavailable, "not-migrated", "%v", hourbell.ErrNotMigrated)
	case errors.Is(err, hourbell.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, "database-unavailable", "%v: try again", hourbell.ErrUnavailable).retryAfter("5")
	}
	return nil
}

// parameterName returns the query parameter that sets a field of a hourbell
// query.
func parameterName(field string) string {
	switch field {
	case "After", "Before":
		return "cursor"
	}
	return strings.ToLower(field[:1]) + field[1:]
}
