package admin

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hourbell/hourbell"
)

// formFields are the fields that only the page's forms send.
type formFields struct {
	idempotencyKey string   // makes a double click enqueue once
	back           string   // where to go after the change
	ids            []string // the selected schedules
}

// formField is a hidden field of a form.
type formField struct{ Name, Value string }

// formField returns the host's form field, which has no name if there is none.
func (h *handler) formField(r *http.Request) formField {
	if h.cfg.FormField == nil {
		return formField{}
	}
	name, value := h.cfg.FormField(r)
	return formField{name, value}
}

// decodeForm decodes the body of a page's form.
func decodeForm(text, hostField string, into *requestBody) error {
	fields, err := url.ParseQuery(text)
	if err != nil {
		return newProblem(http.StatusBadRequest, "bad-body", "invalid form: %v", err)
	}
	return checkForm(fields, hostField, into)
}

// checkForm checks the fields of a page's form and decodes them.
func checkForm(fields url.Values, hostField string, into *requestBody) error {
	allowed := []string{"note", "ifMatch", "idempotencyKey", "back", repeatableParam}
	if hostField != "" {
		allowed = append(allowed, hostField)
	}
	if err := checkValues(fields, "field", allowed); err != nil {
		return err
	}
	*into = requestBody{
		Note: strings.TrimSpace(fields.Get("note")), IfMatch: fields.Get("ifMatch"),
		form: formFields{idempotencyKey: fields.Get("idempotencyKey"), back: fields.Get("back"), ids: fields[repeatableParam]},
	}
	return nil
}

// confirmation is the data of a page that asks for confirmation.
type confirmation struct {
	Title, Text             string
	Button                  string
	Action                  string // relative to the page itself
	Back                    string
	IfMatch, IdempotencyKey string
	IDs                     []string
	Items                   []item // the jobs or schedules that the action concerns
	Denied                  string // why the user may not do this; empty if they may
	HostField               formField
}

// item is an entry of the list on a confirmation or result page.
type item struct{ Name, Href, Text, Error string }

// confirmChange returns the handler of the page that asks for confirmation
// before a schedule is disabled, unlocked or run.
func (h *handler) confirmChange(verb Verb) func(*call) (*response, error) {
	return func(c *call) (*response, error) {
		s, err := h.readSchedule(c, 0)
		if err != nil {
			return nil, err
		}
		row := h.newRow(c, s, 0)
		form := confirmation{Action: string(verb), Back: rootLink(c.r) + "schedules/" + url.PathEscape(s.ID), HostField: h.formField(c.r)}
		switch verb {
		case Disable:
			form.Title, form.Button, form.IfMatch, form.Denied = "Disable "+s.Name+"?", "Disable", s.ETag, row.Switch.Denied
			form.Text = "It does not fire until it is enabled again. Enqueued runs are not affected."
			if s.Manual {
				form.Text = "Only what is shown changes: a manual schedule never comes due, and “Run now” still works."
			}
			if !s.Enabled {
				form.Text = "It is disabled already. " + form.Text
			}
		case Unlock:
			form.Title, form.Button, form.Denied = "Unlock "+s.Name+"?", "Unlock", row.Unlock.Denied
			form.Text = "It is not locked."
			if s.Lock != nil {
				form.IfMatch = s.Lock.Holder
				form.Text = "Worker " + s.Lock.Holder + " holds the lock. Once unlocked, that worker cannot fire the slot, and any other worker can."
			}
		case Run:
			form.Title, form.Button, form.IdempotencyKey, form.Denied = "Run "+s.Name+" now?", "Run now", rand.Text(), row.Run.Denied
			form.Text = plural(len(s.Target.Jobs), "job") + " will be enqueued."
			switch {
			case !s.NextRunAt.IsZero():
				form.Text += " The next scheduled run remains " + row.LocalTime(s.NextRunAt) + "."
			case !s.Manual && !s.Enabled:
				form.Text += " The schedule stays disabled."
			}
			form.Items = mapSlice(s.Target.Jobs, func(name string) item { return item{Name: name} })
			if s.Problem != "" && form.Denied == "" {
				form.Denied = s.Problem
			}
		}
		return h.render(c, "confirm", form.Title, "schedules", form)
	}
}

// confirmEnqueue shows the page that asks for confirmation before all jobs, a
// group or one job are enqueued.
func (h *handler) confirmEnqueue(c *call) (*response, error) {
	group, job := c.pathParams["group"], c.pathParams["job"]
	form := confirmation{Button: "Enqueue", IdempotencyKey: rand.Text(), Back: rootLink(c.r) + "enqueue", HostField: h.formField(c.r)}
	for _, j := range h.scheduler.Jobs() {
		if (group == "" || j.Group == group) && (job == "" || j.Name == job) {
			form.Items = append(form.Items, item{Name: j.Name, Text: j.Description})
		}
	}
	action := Action{Verb: Enqueue, Group: group, Job: job}
	switch {
	case len(form.Items) == 0 && (group != "" || job != ""):
		return nil, newProblem(http.StatusNotFound, "unknown-job", "this process declares no job or group %q", group+job)
	case group != "":
		form.Title, form.Action = "Enqueue group "+group+"?", url.PathEscape(group)
	case job != "":
		form.Title, form.Action = "Enqueue "+job+"?", url.PathEscape(job)
	default:
		form.Title, form.Action = "Enqueue all jobs?", "all"
	}
	form.Denied = h.authorizeControl(c, action, control{}).Denied
	form.Text = plural(len(form.Items), "job") + " will be enqueued, once each. Schedules are not affected."
	return h.render(c, "confirm", form.Title, "enqueue", form)
}

// confirmMany returns the handler of the page that asks for confirmation before
// several schedules are enabled or disabled.
func (h *handler) confirmMany(verb Verb) func(*call) (*response, error) {
	return func(c *call) (*response, error) {
		ids, err := selectedIDs(c.query[repeatableParam])
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if err := h.viewSchedule(c, id); err != nil {
				return nil, err
			}
		}
		form := confirmation{
			Title: capitalize(string(verb)) + " " + plural(len(ids), "schedule") + "?", Button: capitalize(string(verb)), Action: string(verb), Back: rootLink(c.r), IDs: ids,
			Text: "They fire from their next slots on. Missed slots do not fire.", HostField: h.formField(c.r),
		}
		if verb == Disable {
			form.Text = "They do not fire until they are enabled again. Enqueued runs are not affected."
		}
		schedules, err := h.readByID(c.r.Context(), ids, 0)
		if err != nil {
			return nil, err
		}
		form.Items = mapSlice(schedules, func(s hourbell.Schedule) item {
			denied := cmp.Or(removedText(s), h.authorizeControl(c, Action{Verb: verb, ScheduleID: s.ID}, control{}).Denied)
			text := s.ID
			if s.Manual {
				text += ", manual: only what is shown changes"
			}
			return item{Name: s.Name, Text: text, Error: denied}
		})
		if !slices.ContainsFunc(form.Items, func(i item) bool { return i.Error == "" }) {
			form.Denied = form.Items[0].Error
		}
		return h.render(c, "confirm", form.Title, "schedules", form)
	}
}

// selectedIDs returns the ids of the selected schedules, sorted and without
// duplicates. A list shows at most one page of them.
func selectedIDs(ids []string) ([]string, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	switch {
	case len(ids) == 0:
		return nil, badValue(repeatableParam, "is missing: select schedules in the list first")
	case len(ids) > maxPage:
		return nil, badValue(repeatableParam, "is given %d times; at most %d schedules can be changed together", len(ids), maxPage)
	}
	return ids, nil
}

// actionResult is the data of the page that shows what an action did.
type actionResult struct {
	Title, Text string
	Items       []item
	Back        string
}

// changeMany returns the handler that enables or disables several schedules,
// each in its own transaction. The page shows the result of each.
func (h *handler) changeMany(verb Verb, apply changeFunc) func(*call) (*response, error) {
	return func(c *call) (*response, error) {
		ids, err := selectedIDs(c.body.form.ids)
		if err != nil {
			return nil, err
		}
		result := actionResult{Back: rootLink(c.r)}
		changed := 0
		for _, id := range ids {
			line := item{Name: id, Href: rootLink(c.r) + "schedules/" + url.PathEscape(id), Text: string(verb) + "d"}
			actor, err := h.authorize(c.r, Action{Verb: verb, ScheduleID: id})
			if err == nil {
				c.actor = actor
				var options hourbell.ChangeOptions
				if options, err = c.changeOptions(); err != nil {
					return nil, err // an invalid note, which concerns every schedule
				}
				err = apply(c.r.Context(), id, options)
			}
			if err != nil {
				line.Text, line.Error = "", h.toProblem(c.r, err).Detail
			} else {
				changed++
			}
			result.Items = append(result.Items, line)
		}
		result.Title = plural(changed, "schedule") + " " + string(verb) + "d"
		if changed < len(ids) {
			result.Title += ", " + plural(len(ids)-changed, "schedule") + " not"
		}
		return h.render(c, "done", result.Title, "schedules", result)
	}
}

// showEnqueued returns the handler that enqueues runs and shows them. A
// duplicate request shows the same runs.
func (h *handler) showEnqueued(enqueue func(*call) (*response, error)) func(*call) (*response, error) {
	return func(c *call) (*response, error) {
		res, err := enqueue(c)
		if err != nil {
			return nil, err
		}
		enqueued := res.body.(enqueuedJSON)
		tab, back := "enqueue", rootLink(c.r)+"enqueue"
		if id := c.pathParams["id"]; id != "" {
			tab, back = "schedules", rootLink(c.r)+"schedules/"+url.PathEscape(id)
		}
		result := actionResult{Title: plural(len(enqueued.Runs), "run") + " enqueued", Back: back}
		if enqueued.Duplicate {
			result.Text = "This request was sent before and enqueued these runs then. Nothing was enqueued twice."
		}
		result.Items = mapSlice(enqueued.Runs, func(r runJSON) item {
			return item{Name: r.Job, Href: rootLink(c.r) + "runs/" + formatID(r.ID), Text: "run " + formatID(r.ID) + ", " + lower(r.Status)}
		})
		return h.render(c, "done", result.Title, tab, result)
	}
}

// changeAndReturn returns the handler that changes the schedule in the path and
// redirects to the page that has the form: the schedule's own page, or the list
// with its query.
func (h *handler) changeAndReturn(apply changeFunc) func(*call) (*response, error) {
	return func(c *call) (*response, error) {
		if err := h.change(c, apply); err != nil {
			return nil, err
		}
		location := rootLink(c.r) + "schedules/" + url.PathEscape(c.pathParams["id"])
		if query, isList := strings.CutPrefix(c.body.form.back, "?"); isList {
			values, err := url.ParseQuery(query)
			if err != nil {
				values = nil
			}
			location = rootLink(c.r) + "?" + values.Encode()
		}
		return redirect(http.StatusSeeOther, location), nil
	}
}
