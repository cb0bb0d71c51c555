package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// pages holds the templates by name, each combined with the frame.
var pages = parsePages("schedules", "schedule", "runs", "run", "enqueue", "confirm", "done", "problem")

func parsePages(names ...string) map[string]*template.Template {
	functions := template.FuncMap{
		"segment": url.PathEscape, "iso": formatISO, "plural": plural, "seconds": formatSeconds, "add": add,
		"lower": lower, "trigger": triggerText, "reason": reasonText, "event": eventText, "clip": clip,
	}
	frame := template.Must(template.New("frame.html").Funcs(functions).ParseFS(templateFiles, "templates/frame.html", "templates/parts.html"))
	parsed := make(map[string]*template.Template, len(names))
	for _, name := range names {
		parsed[name] = template.Must(template.Must(frame.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return parsed
}

// pageRoutes returns the routes of the pages and their forms. All of them work
// without JavaScript: each form that asks for confirmation is a page, which the
// script shows as a dialog.
func (h *handler) pageRoutes() []route {
	list := []string{"search", "state", "sort", "cursor"}
	return []route{
		{"GET", "", View, list, h.schedulesPage}, // the mount point without a trailing slash
		{"GET", "/", View, list, h.schedulesPage},
		{"GET", "/schedules/{id}", View, []string{"status", "trigger", "job", "cursor", "events"}, h.schedulePage},
		{"POST", "/schedules/{id}/enable", Enable, nil, h.changeAndReturn(h.scheduler.Enable)},
		{"GET", "/schedules/{id}/disable", View, nil, h.confirmChange(Disable)},
		{"POST", "/schedules/{id}/disable", Disable, nil, h.changeAndReturn(h.scheduler.Disable)},
		{"GET", "/schedules/{id}/unlock", View, nil, h.confirmChange(Unlock)},
		{"POST", "/schedules/{id}/unlock", Unlock, nil, h.changeAndReturn(h.scheduler.Unlock)},
		{"GET", "/schedules/{id}/run", View, nil, h.confirmChange(Run)},
		{"POST", "/schedules/{id}/run", Run, nil, h.showEnqueued(h.runNow)},
		// changeMany authorizes each schedule separately.
		{"GET", "/enable", View, []string{repeatableParam}, h.confirmMany(Enable)},
		{"POST", "/enable", View, nil, h.changeMany(Enable, h.scheduler.Enable)},
		{"GET", "/disable", View, []string{repeatableParam}, h.confirmMany(Disable)},
		{"POST", "/disable", View, nil, h.changeMany(Disable, h.scheduler.Disable)},
		{"GET", "/runs", View, []string{"schedule", "job", "group", "status", "trigger", "cursor"}, h.runsPage},
		{"GET", "/runs/{id}", View, nil, h.runPage},
		{"GET", "/runs/{id}/args", View, nil, h.runArgs},
		{"GET", "/enqueue", View, []string{"search"}, h.enqueuePage},
		{"GET", "/enqueue/all", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/all", Enqueue, nil, h.showEnqueued(h.enqueueAll)},
		{"GET", "/enqueue/groups/{group}", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/groups/{group}", Enqueue, nil, h.showEnqueued(h.enqueueGroup)},
		{"GET", "/enqueue/jobs/{job}", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/jobs/{job}", Enqueue, nil, h.showEnqueued(h.enqueueJob)},
		{"GET", "/static/{file}", View, []string{"v"}, h.static},
	}
}

// view is the data of a page.
type view struct {
	Root     string // relative link to the mount point, such as "../"
	Title    string
	Tab      string // the current tab of the navigation
	Actor    string
	ReadOnly bool
	At       time.Time // the database's time
	Health   *healthView
	Poll     []string // the API paths that the script polls for changes of the page
	Body     any
}

// healthView is the health section at the top of each page.
type healthView struct {
	Workers    int
	NewestTick relTime
	OldestDue  relTime
	Overdue    int
	Skew       string
	Problems   []healthProblemJSON
}

// Rel returns a time relative to the page's time.
func (v view) Rel(t timestamp) relTime { return relTime{t.Time, v.At} }

// Static returns the link to a static file.
func (v view) Static(name string) string { return v.Root + "static/" + name + "?v=" + staticVersion }

// render responds with a page. poll lists the API paths that the script polls.
func (h *handler) render(c *call, name, title, tab string, body any, poll ...string) (*response, error) {
	state, err := h.scheduler.Health(c.r.Context())
	if err != nil {
		return nil, err
	}
	return h.renderWith(c, state, name, title, tab, body, poll...)
}

// renderWith is render for a page that has read the health before.
func (h *handler) renderWith(c *call, state hourbell.Health, name, title, tab string, body any, poll ...string) (*response, error) {
	mayView := func(id string) bool { return h.canView(c, id) }
	return pageResponse(http.StatusOK, name, view{
		Root: rootLink(c.r), Title: title, Tab: tab, Actor: c.actor, ReadOnly: h.cfg.ReadOnly, At: state.At, Poll: poll, Body: body,
		Health: &healthView{
			Workers: state.Workers, NewestTick: relTime{state.NewestTick, state.At}, Overdue: state.Overdue, OldestDue: relTime{state.OldestDue, state.At},
			Skew: formatDuration(state.MaxSkew), Problems: append(processProblems(state), fleetProblems(state, mayView)...),
		},
	})
}

// problemPage renders a problem as a page.
func (h *handler) problemPage(r *http.Request, p *problem) *response {
	page, err := pageResponse(p.Status, "problem", view{Root: rootLink(r), Title: p.Title, Body: p})
	if err != nil {
		return &response{status: p.Status, body: p, contentType: "application/problem+json", header: p.header}
	}
	for name, values := range p.header {
		page.header[name] = values
	}
	return page
}

// pagePolicy allows a page to load only the handler's own files.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func pageResponse(status int, name string, v view) (*response, error) {
	var text bytes.Buffer
	if err := pages[name].Execute(&text, v); err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	return &response{
		status: status, text: text.Bytes(), contentType: "text/html; charset=utf-8",
		header: http.Header{"Content-Security-Policy": {pagePolicy}, "Referrer-Policy": {"same-origin"}},
	}, nil
}

// rootLink returns the relative link from a page to the mount point. Links are
// relative because the handler does not know the prefix under which the host,
// or a proxy, serves it.
//
// Without a trailing slash, the mount point is relative to the path above it.
// The handler does not redirect to the slash, because the host's router may
// strip it, or redirect back.
func rootLink(r *http.Request) string {
	if r.URL.Path == "" {
		requested := requestedPath(r)
		if last := requested[strings.LastIndex(requested, "/")+1:]; last != "" && last != "." && last != ".." {
			return "./" + last + "/"
		}
		return "./"
	}
	if up := strings.Count(r.URL.EscapedPath(), "/") - 1; up > 0 {
		return strings.Repeat("../", up)
	}
	return "./"
}

// wantsPage reports whether the client expects an HTML page. The API never
// responds with one.
func wantsPage(r *http.Request) bool {
	return r.URL.Path != "/api" && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func redirect(status int, location string) *response {
	return &response{status: status, contentType: "text/plain; charset=utf-8", header: http.Header{"Location": {location}}}
}

// staticVersion is a hash of the static files. It is part of their links, so
// browsers can cache them until they change.
var staticVersion = func() string {
	sum := sha256.New()
	files, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // impossible: the directory is embedded
	}
	for _, file := range files {
		text, err := staticFiles.ReadFile("static/" + file.Name())
		if err != nil {
			panic(err)
		}
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (h *handler) static(c *call) (*response, error) {
	name := c.pathParams["file"]
	text, err := staticFiles.ReadFile("static/" + path.Base(name))
	if err != nil {
		return nil, newProblem(http.StatusNotFound, "unknown-path", "there is no file %q here", name)
	}
	res := &response{status: http.StatusOK, text: text, contentType: contentTypes[path.Ext(name)]}
	if c.query.Get("v") == staticVersion {
		res.header = http.Header{"Cache-Control": {"private, max-age=31536000, immutable"}}
	}
	return res, nil
}
