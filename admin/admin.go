package admin

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/hourbell/hourbell"
)

// Config says who may do what.
type Config struct {
	// Authorize is asked before each action and names who acts; that is recorded with what was changed, as "anonymous"
	// where it is empty. An error refuses the action: with status 401 where it wraps [ErrUnauthenticated], with 403
	// otherwise. Its text is shown to whoever asked. A panic goes through to the host, and nothing is done. The page also
	// asks it about what it could offer to do, with a GET request. It has no default: a host that guards the handler by
	// other means says so with [AllowAll].
	Authorize func(r *http.Request, action Action) (actor string, err error)
	// ReadOnly refuses every action that changes something. Defaults to false.
	ReadOnly bool
	// TrustedOrigins are other origins whose pages may write, such as "https://admin.example.com". A browser is otherwise
	// refused unless the page is of the same origin. A host behind a proxy that changes the Host header names its own
	// origin here. Defaults to none.
	TrustedOrigins []string
	// Logger gets errors that are no fault of the request. Defaults to slog.Default().
	Logger *slog.Logger
}

// Action is what a request asks for.
type Action struct {
	Verb Verb
	// What it is about, where it is about one.
	ScheduleID, Group, Job string
}

// Verb is a kind of action.
type Verb string

// The verbs.
const (
	Probe   Verb = "probe"   // read the health, as a load balancer does
	View    Verb = "view"    // read anything else
	Enable  Verb = "enable"  // let a schedule fire
	Disable Verb = "disable" // stop a schedule
	Run     Verb = "run"     // enqueue a schedule's jobs now
	Unlock  Verb = "unlock"  // clear a schedule's lock
	Enqueue Verb = "enqueue" // enqueue a job, a group, or all jobs
)

// Writes says whether the verb changes anything.
func (v Verb) Writes() bool { return v != Probe && v != View }

// ErrUnauthenticated is for Authorize to say that nobody is logged in.
var ErrUnauthenticated = errors.New("nobody is logged in")

// AllowAll is an Authorize that allows everybody everything, as "anonymous". It is for hosts that guard the handler
// with a middleware of their own.
func AllowAll(*http.Request, Action) (actor string, err error) { return anonymous, nil }

// handler is the API and the page of one scheduler.
type handler struct {
	scheduler *hourbell.Scheduler
	cfg       Config
	origins   *http.CrossOriginProtection
	table     []route
}

// New makes the handler. It makes no call to the database.
func New(scheduler *hourbell.Scheduler, cfg Config) (http.Handler, error) {
	if scheduler == nil {
		return nil, errors.New("hourbell/admin: the scheduler is nil: make one with hourbell.New")
	}
	if cfg.Authorize == nil {
		return nil, errors.New("hourbell/admin: Config.Authorize is missing: without it anybody could enqueue; " +
			"if the handler is behind a guard of yours, say so with admin.AllowAll")
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

const readOnly = "this page is read-only: nothing can be changed through it"

// anonymous is who acts where the host names nobody: what is done is recorded, even so.
const anonymous = "anonymous"

// authorize asks the host, and returns who acts.
func (h *handler) authorize(r *http.Request, action Action) (string, error) {
	if action.Verb.Writes() {
		if err := h.origins.Check(r); err != nil {
			return "", refuse(http.StatusForbidden, "cross-origin", "a page of another origin may not write here: %v; "+
				"if it is yours, name its origin in admin.Config.TrustedOrigins", err)
		}
	}
	actor, err := h.cfg.Authorize(r, action)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return "", refuse(http.StatusUnauthorized, "unauthenticated", "%v", err)
	case err != nil:
		return "", refuse(http.StatusForbidden, "forbidden", "%v", err)
	case action.Verb.Writes() && h.cfg.ReadOnly:
		return "", refuse(http.StatusForbidden, "read-only", "%s", readOnly)
	}
	return cmp.Or(actor, anonymous), nil
}
