package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hourbell/hourbell"
)

// problem is an error as it is answered, a problem document of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`            // for programs: it does not change
	Field  string `json:"field,omitempty"` // the field of the body, or the parameter, at fault

	header http.Header
}

func (p *problem) Error() string { return p.Detail }

// refuse makes a problem.
func refuse(status int, code, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// wrong is a bad value of a parameter or a field.
func wrong(field, format string, args ...any) *problem {
	p := refuse(http.StatusBadRequest, "bad-value", "%s", field+" "+fmt.Sprintf(format, args...))
	p.Field = field
	return p
}

// retry asks to try again after some seconds.
func (p *problem) retry(seconds string) *problem {
	p.header = http.Header{"Retry-After": {seconds}}
	return p
}

// problem turns an error into the answer that says it. What is no fault of the request is logged, and its text, which
// may hold what is nobody's business, is not shown.
func (h *handler) problem(r *http.Request, err error) *reply {
	p := h.told(r, err)
	if wantsPage(r) {
		return h.showProblem(r, p)
	}
	return &reply{status: p.Status, body: p, contentType: "application/problem+json", header: p.header}
}

// told is what of an error the person is told.
func (h *handler) told(r *http.Request, err error) *problem {
	p := problemOf(err)
	if p == nil {
		p = refuse(http.StatusInternalServerError, "internal", "something went wrong here, and nothing was changed; the server's log says what")
	}
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		h.cfg.Logger.ErrorContext(r.Context(), "hourbell/admin: request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	}
	return p
}

func problemOf(err error) *problem {
	var own *problem
	var query *hourbell.QueryError
	var definition *hourbell.DefinitionError
	switch text := strings.TrimPrefix(err.Error(), "hourbell: "); {
	case errors.As(err, &own):
		return own
	case errors.As(err, &query):
		return wrong(parameterOf(query.Field), "%v", query.Err)
	case errors.Is(err, hourbell.ErrUnknownSchedule):
		return refuse(http.StatusNotFound, "unknown-schedule", "%s", text)
	case errors.Is(err, hourbell.ErrChanged):
		return refuse(http.StatusConflict, "changed", "%s: read it again, and decide again", text)
	case errors.Is(err, hourbell.ErrBusy):
		return refuse(http.StatusConflict, "busy", "%v: try again", hourbell.ErrBusy).retry("1")
	case errors.Is(err, hourbell.ErrKeyReused):
		return refuse(http.StatusUnprocessableEntity, "key-reused", "%s: use a new Idempotency-Key for each request that is not a repetition", text)
	case errors.Is(err, hourbell.ErrUnknownJob), errors.Is(err, hourbell.ErrUnknownGroup):
		return refuse(http.StatusConflict, "unknown-target", "%s: this process does not declare what the schedule targets; another build does", text)
	case errors.As(err, &definition):
		return refuse(http.StatusConflict, "unreadable-definition", "%s: this process cannot read what another build declares", text)
	case errors.Is(err, hourbell.ErrNotMigrated):
		return refuse(http.StatusServiceUnavailable, "not-migrated", "%v", hourbell.ErrNotMigrated)
	case errors.Is(err, hourbell.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(http.StatusServiceUnavailable, "database-unavailable", "%v: try again", hourbell.ErrUnavailable).retry("5")
	}
	return nil
}

// parameterOf is the name that a field of a query has here.
func parameterOf(field string) string {
	switch field {
	case "After", "Before":
		return "cursor"
	}
	return strings.ToLower(field[:1]) + field[1:]
}
