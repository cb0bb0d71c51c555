package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is an operation: what it is called by, and what answers it.
type route struct {
	method string
	path   string // a segment in braces is a parameter
	verb   Verb
	query  []string // the parameters that its query may have
	answer func(*call) (*reply, error)
}

// routes are all there are. The OpenAPI document describes the same.
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
		{"GET", "/api/runs/{id}", View, nil, h.showRun},
		{"GET", "/api/jobs", View, nil, h.listJobs},
		{"POST", "/api/enqueue/all", Enqueue, nil, h.enqueueAll},
		{"POST", "/api/enqueue/groups/{group}", Enqueue, nil, h.enqueueGroup},
		{"POST", "/api/enqueue/jobs/{job}", Enqueue, nil, h.enqueueJob},
		{"GET", "/api/workers", View, nil, h.listWorkers},
		{"GET", "/api/health", Probe, []string{"fleet"}, h.health},
		{"GET", "/api/openapi.json", View, nil, h.openAPI},
	}
}

// ServeHTTP implements [http.Handler]. Paths are compared as they were sent, segment by segment, so that an escaped
// slash in an id is part of the id.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply, err := h.serve(w, r)
	if err != nil {
		reply = h.problem(r, err)
	}
	reply.write(w, r)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) (*reply, error) {
	found, parameters, err := h.match(r)
	if err != nil {
		return nil, err
	}
	c := &call{w: w, r: r, parameters: parameters}
	page := !strings.HasPrefix(found.path, "/api/")
	action := Action{Verb: found.verb, Group: parameters["group"], Job: parameters["job"]}
	if strings.Contains(found.path, "/schedules/{id}") {
		action.ScheduleID = parameters["id"]
	}
	if c.actor, err = h.authorize(r, action); err != nil {
		return nil, err
	}
	if c.query, err = parseQuery(r, found.query); err != nil {
		return nil, err
	}
	if r.Method == http.MethodPost {
		if c.form, err = c.readForm(page); err != nil {
			return nil, err
		}
	}
	return found.answer(c)
}

// match looks up the route of a request, and the parameters in its path.
func (h *handler) match(r *http.Request) (route, map[string]string, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, candidate := range h.table {
		parameters, ok, err := match(candidate.path, r.URL.EscapedPath())
		switch {
		case err != nil:
			return route{}, nil, refuse(http.StatusBadRequest, "bad-path", "the path %q is not escaped as a URL's: %v", r.URL.EscapedPath(), err)
		case ok && candidate.method == method:
			return candidate, parameters, nil
		case ok:
			allowed = append(allowed, candidate.method)
		}
	}
	if allowed != nil {
		if slices.Contains(allowed, http.MethodGet) {
			allowed = append(allowed, http.MethodHead)
		}
		p := refuse(http.StatusMethodNotAllowed, "method-not-allowed", "%s is not possible here; %s is", r.Method, strings.Join(allowed, " or "))
		p.header = http.Header{"Allow": {strings.Join(allowed, ", ")}}
		return route{}, nil, p
	}
	return route{}, nil, refuse(http.StatusNotFound, "unknown-path", "there is nothing at %q; /api/openapi.json lists what there is. "+
		"If the path begins with the prefix under which the handler is mounted, wrap the handler in http.StripPrefix", r.URL.EscapedPath())
}

// match compares a path as it was sent with a route's. A parameter is never empty.
func match(pattern, escaped string) (map[string]string, bool, error) {
	want, got := strings.Split(pattern, "/"), strings.Split(escaped, "/")
	if len(want) != len(got) {
		return nil, false, nil
	}
	parameters := map[string]string{}
	for i := range want {
		value, err := url.PathUnescape(got[i])
		if err != nil {
			return nil, false, err
		}
		name, isParameter := strings.CutPrefix(want[i], "{")
		switch {
		case isParameter && value != "":
			parameters[strings.TrimSuffix(name, "}")] = value
		case isParameter || value != want[i]:
			return nil, false, nil
		}
	}
	return parameters, true, nil
}
