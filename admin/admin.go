package admin

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/hourbell/hourbell"
)

// Config configures the handler.
type Config struct {
	// Authorize decides whether a request may perform an action and returns
	// the actor, which is recorded with each change. An empty actor is
	// recorded as "anonymous". Required: a host that protects the handler by
	// other means sets [AllowAll].
	//
	// An error refuses the action, with status 401 if it wraps
	// [ErrUnauthenticated] and 403 otherwise. The client sees the error's text.
	// A panic propagates to the host and nothing is done.
	//
	// To decide which controls to offer, the page also calls Authorize for
	// actions that the request does not perform. Lists call it once for each
	// schedule of their rows, with the verb View, and leave out what it
	// refuses. Once it has refused to show a schedule, lists of schedules read
	// all of them and call it for each, so that their totals count only what is
	// shown.
	Authorize func(r *http.Request, action Action) (actor string, err error)
	// ReadOnly refuses every action that changes something. Defaults to false.
	ReadOnly bool
	// TrustedOrigins lists other origins whose pages may write, such as
	// "https://admin.example.com". Otherwise the handler refuses writes that a
	// browser sends from another origin. A host behind a proxy that changes the
	// Host header lists its own origin here. Defaults to none.
	TrustedOrigins []string
	// FormField returns the name and value of a hidden field that each form of
	// the page then has, such as the token of the host's CSRF middleware. The
	// page's script sends the field too. The name must not be a field of the
	// page: note, ifMatch, idempotencyKey, back or id. Defaults to none.
	FormField func(r *http.Request) (name, value string)
	// Logger receives server errors. Defaults to slog.Default().
	Logger *slog.Logger
}

// Action is an action that a request wants to perform.
type Action struct {
	Verb Verb
	// The schedule, group or job that the action concerns; empty if it
	// concerns none.
	ScheduleID, Group, Job string
}

// Verb is a kind of action.
type Verb string

// The verbs.
const (
	Probe   Verb = "probe"   // read the health, as a load balancer does
	View    Verb = "view"    // read anything else
	Enable  Verb = "enable"  // enable a schedule
	Disable Verb = "disable" // disable a schedule
	Run     Verb = "run"     // enqueue a schedule's jobs now
	Unlock  Verb = "unlock"  // clear a schedule's lock
	Enqueue Verb = "enqueue" // enqueue a job, a group, or all jobs
)

// Writes reports whether the verb changes anything.
func (v Verb) Writes() bool { return v != Probe && v != View }

// ErrUnauthenticated is the error that Authorize returns if the request has no
// authenticated user.
var ErrUnauthenticated = errors.New("not logged in")

// AllowAll is an Authorize that allows every action, as "anonymous". It is for
// hosts that protect the handler with their own middleware.
func AllowAll(*http.Request, Action) (actor string, err error) { return anonymous, nil }

// handler serves the API and the page of one scheduler.
type handler struct {
	scheduler *hourbell.Scheduler
	cfg       Config
	origins   *http.CrossOriginProtection
	table     []route
	restricts atomic.Bool // Authorize has refused to show a schedule of a list
}

// New returns the handler. It does not access the database.
func New(scheduler *hourbell.Scheduler, cfg Config) (http.Handler, error) {
	if scheduler == nil {
		return nil, errors.New("hourbell/admin: the scheduler is nil: create one with hourbell.New")
	}
	if cfg.Authorize == nil {
		return nil, errors.New("hourbell/admin: Config.Authorize is missing: without it anyone could enqueue jobs; " +
			"set admin.AllowAll if your own middleware protects the handler")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	h := &handler{scheduler: scheduler, cfg: cfg, origins: http.NewCrossOriginProtection()}
	for _, origin := range cfg.TrustedOrigins {
		if err := h.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("hourbell/admin: Config.TrustedOrigins: %w", err)
		}
	}
	h.table = append(h.routes(), h.pageRoutes()...)
	return h, nil
}

const readOnly = "this handler is read-only"

// anonymous is the actor that is recorded if Authorize returns none. Every
// write leaves an event with an actor.
const anonymous = "anonymous"

// authorize checks that the request may perform the action and returns the
// actor.
func (h *handler) authorize(r *http.Request, action Action) (string, error) {
	if action.Verb.Writes() {
		if err := h.origins.Check(r); err != nil {
			return "", newProblem(http.StatusForbidden, "cross-origin", "a page of another origin may not write: %v; "+
				"if the origin is yours, add it to admin.Config.TrustedOrigins", err)
		}
	}
	actor, err := h.cfg.Authorize(r, action)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return "", newProblem(http.StatusUnauthorized, "unauthenticated", "%v", err)
	case err != nil:
		return "", newProblem(http.StatusForbidden, "forbidden", "%v", err)
	case action.Verb.Writes() && h.cfg.ReadOnly:
		return "", newProblem(http.StatusForbidden, "read-only", "%s", readOnly)
	}
	return cmp.Or(actor, anonymous), nil
}

// viewSchedule checks that the request may view a schedule. It calls Authorize
// once per schedule and request.
func (h *handler) viewSchedule(c *call, id string) error {
	err, known := c.views[id]
	if !known {
		_, err = h.authorize(c.r, Action{Verb: View, ScheduleID: id})
		if c.views == nil {
			c.views = map[string]error{}
		}
		c.views[id] = err
	}
	return err
}

// canView reports whether the request may view a row that belongs to a
// schedule, or to none if the id is empty.
func (h *handler) canView(c *call, scheduleID string) bool {
	return scheduleID == "" || h.viewSchedule(c, scheduleID) == nil
}
