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
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// pages are the templates, each with the frame around it.
var pages = parsePages("schedules", "schedule", "runs", "run", "enqueue", "confirm", "done", "problem")

func parsePages(names ...string) map[string]*template.Template {
	functions := template.FuncMap{
		"segment": url.PathEscape, "iso": iso, "word": word, "event": eventWords, "plural": plural, "seconds": seconds, "millis": millis, "add": add,
	}
	frame := template.Must(template.New("frame.html").Funcs(functions).ParseFS(templateFiles, "templates/frame.html", "templates/parts.html"))
	parsed := make(map[string]*template.Template, len(names))
	for _, name := range names {
		parsed[name] = template.Must(template.Must(frame.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return parsed
}

// pageRoutes are the pages, and what their forms call. Each of them works without a script: the forms that ask before
// they do something are pages of their own, which the script shows as dialogs.
func (h *handler) pageRoutes() []route {
	list := []string{"search", "state", "sort", "cursor"}
	return []route{
		{"GET", "", View, list, h.withSlash},
		{"GET", "/", View, list, h.schedulesPage},
		{"GET", "/schedules/{id}", View, []string{"status", "trigger", "job", "cursor", "events"}, h.schedulePage},
		{"POST", "/schedules/{id}/enable", Enable, nil, h.enableAndReturn},
		{"GET", "/schedules/{id}/disable", View, nil, h.confirmChange(Disable)},
		{"POST", "/schedules/{id}/disable", Disable, nil, h.disableAndReturn},
		{"GET", "/schedules/{id}/unlock", View, nil, h.confirmChange(Unlock)},
		{"POST", "/schedules/{id}/unlock", Unlock, nil, h.unlockAndReturn},
		{"GET", "/schedules/{id}/run", View, nil, h.confirmChange(Run)},
		{"POST", "/schedules/{id}/run", Run, nil, h.done(h.runNow)},
		{"GET", "/enable", View, []string{several}, h.confirmMany(Enable)},
		{"POST", "/enable", View, nil, h.changeMany(Enable)}, // asks for the right to each
		{"GET", "/disable", View, []string{several}, h.confirmMany(Disable)},
		{"POST", "/disable", View, nil, h.changeMany(Disable)},
		{"GET", "/runs", View, []string{"schedule", "job", "group", "status", "trigger", "cursor"}, h.runsPage},
		{"GET", "/runs/{id}", View, nil, h.runPage},
		{"GET", "/enqueue", View, []string{"search"}, h.enqueuePage},
		{"GET", "/enqueue/all", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/all", Enqueue, nil, h.done(h.enqueueAll)},
		{"GET", "/enqueue/groups/{group}", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/groups/{group}", Enqueue, nil, h.done(h.enqueueGroup)},
		{"GET", "/enqueue/jobs/{job}", View, nil, h.confirmEnqueue},
		{"POST", "/enqueue/jobs/{job}", Enqueue, nil, h.done(h.enqueueJob)},
		{"GET", "/static/{file}", View, []string{"v"}, h.static},
	}
}

// view is what a page is made of.
type view struct {
	Root     string // from the page to where the handler is mounted, such as "../"
	Title    string
	Tab      string // of the navigation
	Actor    string
	ReadOnly bool
	At       time.Time // by the database's clock
	Health   *healthView
	Poll     []string // what the script asks of the API to learn that the page has changed
	Body     any
}

// healthView is the strip on top of each page.
type healthView struct {
	Workers    int
	NewestTick moment
	OldestDue  moment
	Overdue    int
	Skew       string
	Problems   []healthNote
}

// Now is t, as it is seen from when the page was made.
func (v view) Now(t instant) moment { return moment{t.Time, v.At} }

// Static is where a file of the page's is.
func (v view) Static(name string) string { return v.Root + "static/" + name + "?v=" + staticVersion }

// show renders a page of content.
func (h *handler) show(c *call, name, title, tab string, content any, poll ...string) (*reply, error) {
	state, err := h.scheduler.Health(c.r.Context())
	if err != nil {
		return nil, err
	}
	return render(http.StatusOK, name, view{
		Root: rootOf(c.r), Title: title, Tab: tab, Actor: c.actor, ReadOnly: h.cfg.ReadOnly, At: state.At, Poll: poll, Body: content,
		Health: &healthView{
			Workers: state.Workers, NewestTick: moment{state.NewestTick, state.At}, Overdue: state.Overdue, OldestDue: moment{state.OldestDue, state.At},
			Skew: span(state.MaxSkew), Problems: problemsOf(state, nil),
		},
	})
}

// showProblem renders an error for a person.
func (h *handler) showProblem(r *http.Request, p *problem) *reply {
	page, err := render(p.Status, "problem", view{Root: rootOf(r), Title: p.Title, Body: p})
	if err != nil {
		return &reply{status: p.Status, body: p, contentType: "application/problem+json", header: p.header}
	}
	for name, values := range p.header {
		page.header[name] = values
	}
	return page
}

// pagePolicy lets a page load what lies beside it, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func render(status int, name string, v view) (*reply, error) {
	var text bytes.Buffer
	if err := pages[name].Execute(&text, v); err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	return &reply{
		status: status, text: text.Bytes(), contentType: "text/html; charset=utf-8",
		header: http.Header{"Content-Security-Policy": {pagePolicy}, "Referrer-Policy": {"same-origin"}},
	}, nil
}

// rootOf is the way from a page to where the handler is mounted. Links are relative, so that they hold under any prefix,
// also one that a proxy adds.
func rootOf(r *http.Request) string {
	if up := strings.Count(r.URL.EscapedPath(), "/") - 1; up > 0 {
		return strings.Repeat("../", up)
	}
	return "./"
}

// wantsPage says whether an answer is for a person: of the API nobody expects pages.
func wantsPage(r *http.Request) bool {
	return r.URL.Path != "/api" && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// redirect goes on elsewhere.
func redirect(status int, location string) *reply {
	return &reply{status: status, contentType: "text/plain; charset=utf-8", header: http.Header{"Location": {location}}}
}

// withSlash sends whoever asks for the mount point itself to the page, whose links are relative to a path that ends in
// a slash.
func (h *handler) withSlash(c *call) (*reply, error) {
	asked, query, hasQuery := strings.Cut(c.r.RequestURI, "?")
	location := "./" + path.Base(asked) + "/"
	if hasQuery {
		location += "?" + query
	}
	return redirect(http.StatusTemporaryRedirect, location), nil
}

// staticVersion changes with what is in the static files, which browsers keep until it does.
var staticVersion = func() string {
	sum := sha256.New()
	files, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // it is embedded
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

func (h *handler) static(c *call) (*reply, error) {
	name := c.parameters["file"]
	text, err := staticFiles.ReadFile("static/" + path.Base(name))
	if err != nil {
		return nil, refuse(http.StatusNotFound, "unknown-path", "there is no file %q here", name)
	}
	a := &reply{status: http.StatusOK, text: text, contentType: contentTypes[path.Ext(name)]}
	if c.query.Get("v") == staticVersion {
		a.header = http.Header{"Cache-Control": {"private, max-age=31536000, immutable"}}
	}
	return a, nil
}
