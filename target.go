package hourbell

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Target says which jobs a schedule enqueues. Make one with [AllJobs], [Group] or [Jobs].
type Target struct {
	kind  string
	names []string
}

// The kinds of target, as stored.
const (
	targetAll   = "ALL_JOBS"
	targetGroup = "GROUP"
	targetJobs  = "JOBS"
)

// AllJobs targets every job of Config.Jobs, in the order declared.
func AllJobs() Target { return Target{kind: targetAll} }

// Group targets the jobs of one group, in the order declared.
func Group(name string) Target { return Target{kind: targetGroup, names: []string{name}} }

// Jobs targets jobs by name, in the order given.
func Jobs(names ...string) Target { return Target{kind: targetJobs, names: slices.Clone(names)} }

// String says the target in words.
func (t Target) String() string {
	switch t.kind {
	case targetAll:
		return "all jobs"
	case targetGroup:
		return fmt.Sprintf("group %q", t.names[0])
	case targetJobs:
		return fmt.Sprintf("jobs %q", t.names)
	}
	return "nothing"
}

// check checks what can be checked without the jobs.
func (t Target) check() error {
	switch {
	case t.kind == "":
		return errors.New("is missing: use AllJobs, Group or Jobs")
	case t.kind == targetGroup && t.names[0] == "":
		return errors.New("names an empty group")
	case t.kind == targetJobs && len(t.names) == 0:
		return errors.New("lists no jobs")
	}
	seen := make(map[string]bool, len(t.names))
	for _, name := range t.names {
		if seen[name] {
			return fmt.Errorf("lists job %q twice", name)
		}
		seen[name] = true
	}
	return nil
}

// stored is the target's names as the schedule's row has them: "", a group, or a JSON array of jobs.
func (t Target) stored() string {
	switch t.kind {
	case targetGroup:
		return t.names[0]
	case targetJobs:
		text, _ := json.Marshal(t.names) // strings always marshal
		return string(text)
	}
	return ""
}

// storedTarget reads a target back from a schedule's row.
func storedTarget(row Schedule) (Target, error) {
	switch row.TargetKind {
	case targetAll:
		return AllJobs(), nil
	case targetGroup:
		return Group(row.Target), nil
	case targetJobs:
		var names []string
		if err := json.Unmarshal([]byte(row.Target), &names); err != nil {
			return Target{}, fmt.Errorf("hourbell: schedule %q: stored target %q is no list of jobs: %w", row.ID, row.Target, err)
		}
		return Jobs(names...), nil
	}
	return Target{}, fmt.Errorf("hourbell: schedule %q: unknown stored target kind %q", row.ID, row.TargetKind)
}
