package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one operation of the handler.
type route struct {
	method string
	path   string // a segment in braces is a parameter
	verb   Verb
	query  []string // the query parameters that it accepts
	handle func(*call) (*response, error)
}

// routes returns the routes of the API. The OpenAPI document describes the
// same operations.
func (h *handler) routes() []route {
	paged := func(filters ...string) []string { return append(filters, "limit", "cursor") }
	return []route{
		{"GET", "/api/schedules", View, paged("search", "state", "sort"), h.listSchedules},
		{"GET", "/api/schedules/{id}", View, nil, h.showSchedule},
		{"POST", "/api/schedules/{id}/enable", Enable, nil, h.enable},
		{"POST", "/api/schedules/{id}/disable", Disable, nil, h.disable},
		{"POST", "/api/schedules/{id}/run", Run, nil, h.runNow},
		{"POST", "/api/schedules/{id}/unlock", Unlock, nil, h.unlock},
		{"GET", "/api/schedules/{id}/runs", View, paged("job", "group", "status", "trigger"), h.listRuns},
		{"GET", "/api/schedules/{id}/events", View, paged("kind"), h.listEvents},
		{"GET", "/api/schedules/{id}/upcoming", View, []string{"n"}, h.upcoming},
		{"GET", "/api/preview", View, []string{"cron", "timeZone", "n"}, h.preview},
		{"GET", "/api/runs", View, paged("schedule", "job", "group", "status", "trigger"), h.listRuns},
		{"GET", "/api/runs/{id}", View, []string{"omitArgs"}, h.showRun},
		{"GET", "/api/jobs", View, nil, h.listJobs},
		{"POST", "/api/enqueue/all", Enqueue, nil, h.enqueueAll},
		{"POST", "/api/enqueue/groups/{group}", Enqueue, nil, h.enqueueGroup},
		{"POST", "/api/enqueue/jobs/{job}", Enqueue, nil, h.enqueueJob},
		{"GET", "/api/workers", View, paged(), h.listWorkers},
		{"GET", "/api/health", Probe, []string{"fleet", "live"}, h.health},
		{"GET", "/api/openapi.json", View, nil, h.openAPI},
	}
}

// ServeHTTP implements [http.Handler]. It compares paths segment by segment
// before it unescapes them, so an escaped slash in an id is part of the id.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	res, err := h.serve(w, r)
	if err != nil {
		res = h.errorResponse(r, err)
	}
	res.write(w, r)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) (*response, error) {
	found, pathParams, err := h.match(r)
	if err != nil {
		return nil, err
	}
	c := &call{w: w, r: r, pathParams: pathParams}
	isPage := !strings.HasPrefix(found.path, "/api/")
	action := Action{Verb: found.verb, Group: pathParams["group"], Job: pathParams["job"]}
	if strings.Contains(found.path, "/schedules/{id}") {
		action.ScheduleID = pathParams["id"]
	} else if slices.Contains(found.query, "schedule") {
		action.ScheduleID = r.URL.Query().Get("schedule") // parseQuery refuses a second one
	}
	if c.actor, err = h.authorize(r, action); err != nil {
		return nil, err
	}
	if c.query, err = parseQuery(r, found.query); err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost {
		if c.body, err = c.readBody(isPage, h.formField(r).Name); err != nil {
			return nil, err
		}
	}
	return found.handle(c)
}

// match finds the route of a request and returns it with its path parameters.
func (h *handler) match(r *http.Request) (route, map[string]string, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, candidate := range h.table {
		pathParams, ok, err := matchPath(candidate.path, r.URL.EscapedPath())
		switch {
		case err != nil:
			return route{}, nil, newProblem(http.StatusBadRequest, "bad-path", "the path %q is not a valid URL path: %v", r.URL.EscapedPath(), err)
		case ok && candidate.method == method:
			return candidate, pathParams, nil
		case ok:
			allowed = append(allowed, candidate.method)
		}
	}
	if allowed != nil {
		if slices.Contains(allowed, http.MethodGet) {
			allowed = append(allowed, http.MethodHead)
		}
		p := newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "method %s is not allowed here; use %s", r.Method, strings.Join(allowed, " or "))
		p.header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
		return route{}, nil, p
	}
	return route{}, nil, newProblem(http.StatusNotFound, "unknown-path", "unknown path %q; /api/openapi.json lists the paths of the API. %s", r.URL.EscapedPath(), prefixHint(r))
}

// prefixHint returns what to do if the path of a request is unknown because the
// host strips the wrong prefix.
func prefixHint(r *http.Request) string {
	received, requested := r.URL.EscapedPath(), requestedPath(r)
	prefix, isSuffix := strings.CutSuffix(requested, received)
	switch {
	case received != "" && received[0] != '/':
		return "The path does not begin with a slash: the prefix that http.StripPrefix gets must not end in one"
	case isSuffix && prefix != "":
		return fmt.Sprintf("The host stripped %q from the path. If the handler is mounted elsewhere, pass the path at which it is mounted to http.StripPrefix, without a slash at the end", prefix)
	}
	return "The host stripped nothing from the path. If the handler is mounted under a prefix, wrap it in http.StripPrefix with that prefix, without a slash at the end"
}

// requestedPath returns the escaped path that the client has requested, before
// the host stripped a prefix; empty if it is unknown.
func requestedPath(r *http.Request) string {
	uri, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	return uri.EscapedPath()
}

// matchPath compares an escaped path with the path of a route and returns the
// path parameters. A parameter is never empty.
func matchPath(pattern, escaped string) (map[string]string, bool, error) {
	want, got := strings.Split(pattern, "/"), strings.Split(escaped, "/")
	if len(want) != len(got) {
		return nil, false, nil
	}
	pathParams := map[string]string{}
	for i := range want {
		value, err := url.PathUnescape(got[i])
		if err != nil {
			return nil, false, err
		}
		name, isParameter := strings.CutPrefix(want[i], "{")
		switch {
		case isParameter && value != "":
			pathParams[strings.TrimSuffix(name, "}")] = value
		case isParameter || value != want[i]:
			return nil, false, nil
		}
	}
	return pathParams, true, nil
}
