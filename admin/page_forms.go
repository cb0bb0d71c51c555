package admin

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hourbell/hourbell"
)

// pageForm is what a page's form sends besides.
type pageForm struct {
	key  string   // of the request to enqueue: a double click sends the same again
	back string   // where to go afterwards
	ids  []string // of the schedules selected
}

// decodePage reads what a page's form sends.
func decodePage(body string, into *form) error {
	sent, err := url.ParseQuery(body)
	if err != nil {
		return refuse(http.StatusBadRequest, "bad-body", "the body cannot be read: %v", err)
	}
	if err := known(sent, "field", []string{"note", "seen", "key", "back", several}); err != nil {
		return err
	}
	*into = form{
		Note: strings.TrimSpace(sent.Get("note")), Seen: sent.Get("seen"),
		page: pageForm{key: sent.Get("key"), back: sent.Get("back"), ids: sent[several]},
	}
	return nil
}

// confirmation is a form that asks before something is done.
type confirmation struct {
	Title, Text string
	Button      string
	Action      string // relative to the page itself
	Back        string
	Seen, Key   string
	IDs         []string
	Items       []item // what it concerns
	Refused     string
}

// item is a line of a list of things that will be, or were, done.
type item struct{ Name, Href, Text, Wrong string }

// confirmChange makes the page that asks before a schedule is disabled, unlocked or run.
func (h *handler) confirmChange(verb Verb) func(*call) (*reply, error) {
	return func(c *call) (*reply, error) {
		s, at, err := h.one(c, 1)
		if err != nil {
			return nil, err
		}
		row := h.row(c, s, at, 0)
		f := confirmation{Action: string(verb), Back: rootOf(c.r) + "schedules/" + url.PathEscape(s.ID), Refused: row.Switch.Refused}
		switch verb {
		case Disable:
			f.Title, f.Button, f.Seen = "Disable "+s.Name+"?", "Disable", s.Fingerprint
			f.Text = "It does not fire again before somebody enables it. What is enqueued already goes on."
			if !s.Enabled {
				f.Text = "It is disabled already. " + f.Text
			}
		case Unlock:
			f.Title, f.Button, f.Refused = "Unlock "+s.Name+"?", "Unlock", row.Release.Refused
			f.Text = "It is not locked."
			if s.Lock != nil {
				f.Seen = s.Lock.Holder
				f.Text = "Worker " + s.Lock.Holder + " holds it. After this that worker cannot fire the slot, and any other may, at once."
			}
		case Run:
			f.Title, f.Button, f.Key, f.Refused = "Run "+s.Name+" now?", "Run now", rand.Text(), row.Run.Refused
			f.Text = plural(len(s.Target.Jobs), "job") + " will be enqueued. It is disabled, and stays so."
			if s.Enabled && !s.NextRunAt.IsZero() {
				f.Text = plural(len(s.Target.Jobs), "job") + " will be enqueued. The next scheduled run, " + row.Face(s.NextRunAt) + ", does not move."
			}
			f.Items = each(s.Target.Jobs, func(name string) item { return item{Name: name} })
			if s.Problem != "" && f.Refused == "" {
				f.Refused = s.Problem
			}
		}
		return h.show(c, "confirm", f.Title, "schedules", f)
	}
}

// confirmEnqueue asks before it enqueues all jobs, a group, or one job.
func (h *handler) confirmEnqueue(c *call) (*reply, error) {
	group, job := c.parameters["group"], c.parameters["job"]
	f := confirmation{Button: "Enqueue", Key: rand.Text(), Back: rootOf(c.r) + "enqueue"}
	for _, j := range h.scheduler.Jobs() {
		if (group == "" || j.Group == group) && (job == "" || j.Name == job) {
			f.Items = append(f.Items, item{Name: j.Name, Text: j.Description})
		}
	}
	action := Action{Verb: Enqueue, Group: group, Job: job}
	switch {
	case len(f.Items) == 0 && (group != "" || job != ""):
		return nil, refuse(http.StatusNotFound, "unknown-job", "this process declares no job or group %q", group+job)
	case group != "":
		f.Title, f.Action = "Enqueue group "+group+"?", url.PathEscape(group)
	case job != "":
		f.Title, f.Action = "Enqueue "+job+"?", url.PathEscape(job)
	default:
		f.Title, f.Action = "Enqueue all jobs?", "all"
	}
	f.Refused = h.control(c, action, control{}).Refused
	f.Text = plural(len(f.Items), "job") + " will be enqueued, once each. No schedule moves."
	return h.show(c, "confirm", f.Title, "enqueue", f)
}

// confirmMany asks before several schedules are enabled or disabled.
func (h *handler) confirmMany(verb Verb) func(*call) (*reply, error) {
	return func(c *call) (*reply, error) {
		ids, err := chosen(c.query[several])
		if err != nil {
			return nil, err
		}
		f := confirmation{
			Title: capital(verb) + " " + plural(len(ids), "schedule") + "?", Button: capital(verb), Action: string(verb), Back: rootOf(c.r), IDs: ids,
			Text: "They fire from their next slots on; what was missed before is not made up for.",
		}
		if verb == Disable {
			f.Text = "They do not fire again before somebody enables them. What is enqueued already goes on."
		}
		for _, id := range ids {
			row, err := h.scheduler.Schedule(c.r.Context(), id)
			if err != nil {
				return nil, err
			}
			f.Items = append(f.Items, item{
				Name: row.Name, Text: row.ID, Wrong: h.control(c, Action{Verb: verb, ScheduleID: id}, control{}).Refused,
			})
		}
		return h.show(c, "confirm", f.Title, "schedules", f)
	}
}

// chosen are the schedules selected in a list, which is never longer than a page.
func chosen(ids []string) ([]string, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	switch {
	case len(ids) == 0:
		return nil, wrong(several, "is missing: select schedules in the list first")
	case len(ids) > maxPage:
		return nil, wrong(several, "is given %d times; at most %d schedules are changed together", len(ids), maxPage)
	}
	return ids, nil
}

// outcome is what came of something that a person asked for.
type outcome struct {
	Title, Text string
	Items       []item
	Back        string
}

// changeMany enables or disables several schedules, each in a transaction of its own, and says what came of each.
func (h *handler) changeMany(verb Verb) func(*call) (*reply, error) {
	change := h.scheduler.Enable
	if verb == Disable {
		change = h.scheduler.Disable
	}
	return func(c *call) (*reply, error) {
		ids, err := chosen(c.form.page.ids)
		if err != nil {
			return nil, err
		}
		done := outcome{Back: rootOf(c.r)}
		changed := 0
		for _, id := range ids {
			line := item{Name: id, Href: rootOf(c.r) + "schedules/" + url.PathEscape(id), Text: string(verb) + "d"}
			actor, err := h.authorize(c.r, Action{Verb: verb, ScheduleID: id})
			if err == nil {
				c.actor = actor
				var by hourbell.By
				if by, err = c.by(); err != nil {
					return nil, err // the note: it would be wrong for all of them
				}
				err = change(c.r.Context(), id, by)
			}
			if err != nil {
				line.Text, line.Wrong = "", h.told(c.r, err).Detail
			} else {
				changed++
			}
			done.Items = append(done.Items, line)
		}
		done.Title = plural(changed, "schedule") + " " + string(verb) + "d"
		if changed < len(ids) {
			done.Title += ", " + plural(len(ids)-changed, "schedule") + " not"
		}
		return h.show(c, "done", done.Title, "schedules", done)
	}
}

// done makes the page that shows what a request to enqueue has enqueued. The same request once more shows the same.
func (h *handler) done(enqueue func(*call) (*reply, error)) func(*call) (*reply, error) {
	return func(c *call) (*reply, error) {
		answer, err := enqueue(c)
		if err != nil {
			return nil, err
		}
		result := answer.body.(enqueuedJSON)
		tab, back := "enqueue", rootOf(c.r)+"enqueue"
		if id := c.parameters["id"]; id != "" {
			tab, back = "schedules", rootOf(c.r)+"schedules/"+url.PathEscape(id)
		}
		done := outcome{Title: plural(len(result.Runs), "run") + " enqueued", Back: back}
		if result.Repeated {
			done.Text = "They were enqueued by the same request before. Nothing was enqueued twice."
		}
		done.Items = each(result.Runs, func(r runJSON) item {
			return item{Name: r.Job, Href: rootOf(c.r) + "runs/" + number(r.ID), Text: "run " + number(r.ID) + ", " + word(r.Status)}
		})
		return h.show(c, "done", done.Title, tab, done)
	}
}

func (h *handler) enableAndReturn(c *call) (*reply, error) { return h.andReturn(c, h.enable) }

func (h *handler) disableAndReturn(c *call) (*reply, error) { return h.andReturn(c, h.disable) }

func (h *handler) unlockAndReturn(c *call) (*reply, error) { return h.andReturn(c, h.unlock) }

// andReturn goes back to the page that a form was on: the schedule's own, or the list as it was.
func (h *handler) andReturn(c *call, change func(*call) (*reply, error)) (*reply, error) {
	if _, err := change(c); err != nil {
		return nil, err
	}
	location := rootOf(c.r) + "schedules/" + url.PathEscape(c.parameters["id"])
	if query, isList := strings.CutPrefix(c.form.page.back, "?"); isList {
		kept, err := url.ParseQuery(query)
		if err != nil {
			kept = nil
		}
		location = rootOf(c.r) + "?" + kept.Encode()
	}
	return redirect(http.StatusSeeOther, location), nil
}

func capital(verb Verb) string { return strings.ToUpper(string(verb[:1])) + string(verb[1:]) }
