package admin

import (
	"net/url"
	"slices"
	"strings"

	"github.com/hourbell/hourbell"
)

// enqueueView is what can be enqueued without a schedule.
type enqueueView struct {
	Search string
	All    control
	Groups []groupView
	Jobs   []jobView
	Total  int // jobs declared
	Found  int // jobs that match; not all of them may be shown
}

type groupView struct {
	Name    string
	Jobs    int
	Control control
}

type jobView struct {
	hourbell.Job
	Control control
}

// jobsShown is how many jobs, and groups, are shown together; a search finds the others.
const jobsShown = 100

// enqueuePage shows the declared jobs and groups.
func (h *handler) enqueuePage(c *call) (*reply, error) {
	v := enqueueView{Search: strings.TrimSpace(c.query.Get("search"))}
	v.All = h.control(c, Action{Verb: Enqueue}, control{ID: "enqueue-all", Label: "Enqueue all", Action: "enqueue/all", Asked: true})
	wanted := strings.ToLower(v.Search)
	sizes := map[string]int{} // of the groups
	var groups []string       // that have a job that matches
	for _, job := range h.scheduler.Jobs() {
		v.Total++
		sizes[job.Group]++
		if !strings.Contains(strings.ToLower(job.Name+"\n"+job.Group+"\n"+job.Description), wanted) {
			continue
		}
		v.Found++
		if job.Group != "" && !slices.Contains(groups, job.Group) && len(groups) < jobsShown {
			groups = append(groups, job.Group)
		}
		if len(v.Jobs) < jobsShown {
			v.Jobs = append(v.Jobs, jobView{job, h.control(c, Action{Verb: Enqueue, Job: job.Name}, control{
				ID: "job-" + job.Name, Label: "Enqueue", About: job.Name, Action: "enqueue/jobs/" + url.PathEscape(job.Name), Asked: true,
			})})
		}
	}
	v.Groups = each(groups, func(name string) groupView {
		return groupView{name, sizes[name], h.control(c, Action{Verb: Enqueue, Group: name}, control{
			ID: "group-" + name, Label: "Enqueue group", About: name, Action: "enqueue/groups/" + url.PathEscape(name), Asked: true,
		})}
	})
	return h.show(c, "enqueue", "Enqueue", "enqueue", v)
}
