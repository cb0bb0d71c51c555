package admin

import (
	"net/url"
	"slices"
	"strings"

	"github.com/hourbell/hourbell"
)

// enqueueView is the data of the enqueue page.
type enqueueView struct {
	Search string
	All    control
	Groups []groupView
	Jobs   []jobView
	Total  int // declared jobs
	Found  int // matching jobs, including those beyond maxListed
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

// maxListed limits the jobs, and the groups, on the page. A search finds the
// others.
const maxListed = 100

// enqueuePage shows the declared jobs and groups.
func (h *handler) enqueuePage(c *call) (*response, error) {
	v := enqueueView{Search: strings.TrimSpace(c.query.Get("search"))}
	v.All = h.enqueueAllControl(c)
	search := strings.ToLower(v.Search)
	groupSizes := map[string]int{}
	var groups []string // with a matching job
	for _, job := range h.scheduler.Jobs() {
		v.Total++
		groupSizes[job.Group]++
		if !strings.Contains(strings.ToLower(job.Name+"\n"+job.Group+"\n"+job.Description), search) {
			continue
		}
		v.Found++
		if job.Group != "" && !slices.Contains(groups, job.Group) && len(groups) < maxListed {
			groups = append(groups, job.Group)
		}
		if len(v.Jobs) < maxListed {
			v.Jobs = append(v.Jobs, jobView{job, h.authorizeControl(c, Action{Verb: Enqueue, Job: job.Name}, control{
				ID: "job-" + job.Name, Label: "Enqueue", Subject: job.Name, Action: "enqueue/jobs/" + url.PathEscape(job.Name), Confirm: true,
			})})
		}
	}
	v.Groups = mapSlice(groups, func(name string) groupView {
		return groupView{name, groupSizes[name], h.authorizeControl(c, Action{Verb: Enqueue, Group: name}, control{
			ID: "group-" + name, Label: "Enqueue group", Subject: name, Action: "enqueue/groups/" + url.PathEscape(name), Confirm: true,
		})}
	})
	return h.render(c, "enqueue", "Enqueue", "enqueue", v)
}

// enqueueAllControl returns the button that enqueues all jobs.
func (h *handler) enqueueAllControl(c *call) control {
	return h.authorizeControl(c, Action{Verb: Enqueue}, control{ID: "enqueue-all", Label: "Enqueue all", Action: "enqueue/all", Confirm: true})
}
