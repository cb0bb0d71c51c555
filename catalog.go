package hourbell

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"
)

// ErrUnknownJob and ErrUnknownGroup say that no job of that name, or of that group, is declared in this process.
var (
	ErrUnknownJob   = errors.New("unknown job")
	ErrUnknownGroup = errors.New("unknown group")
)

// catalog is what code declares, checked as a whole. It does not change after New.
type catalog struct {
	jobs         []FireJob
	byName       map[string]FireJob
	byGroup      map[string][]FireJob
	descriptions map[string]string // of the jobs, which their runs do not carry
	definitions  map[string]*definition
	hashes       map[string]bool // of each definition
	hash         string          // of all
}

// newCatalog checks jobs and definitions as a set. leastGrace is the shortest grace that makes sense with the rest
// of the config; grace is what a definition without one gets.
func newCatalog(jobs []Job, definitions []Definition, grace, leastGrace time.Duration) (*catalog, error) {
	c := &catalog{
		byName: map[string]FireJob{}, byGroup: map[string][]FireJob{}, descriptions: map[string]string{},
		definitions: map[string]*definition{}, hashes: map[string]bool{},
	}
	var errs []error
	for _, declared := range jobs {
		if err := c.addJob(declared); err != nil {
			errs = append(errs, fmt.Errorf("hourbell: job %q: %w", declared.Name, err))
		}
	}
	for _, declared := range definitions {
		if declared.Grace == 0 {
			declared.Grace = grace
		}
		errs = append(errs, c.addDefinition(declared, leastGrace))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.hash = c.fingerprint()
	return c, nil
}

func (c *catalog) addJob(declared Job) error {
	if err := checkName(declared.Name); err != nil {
		return fmt.Errorf("name %w", err)
	}
	if declared.Group != "" {
		if err := checkName(declared.Group); err != nil {
			return fmt.Errorf("group %w", err)
		}
	}
	if _, twice := c.byName[declared.Name]; twice {
		return errors.New("is declared twice")
	}
	args, err := marshalArgs(declared.Args)
	if err != nil {
		return err
	}
	added := FireJob{declared.Name, declared.Group, args}
	c.descriptions[added.Name] = declared.Description
	c.jobs = append(c.jobs, added)
	c.byName[added.Name] = added
	if added.Group != "" {
		c.byGroup[added.Group] = append(c.byGroup[added.Group], added)
	}
	return nil
}

func (c *catalog) addDefinition(declared Definition, leastGrace time.Duration) error {
	d, err := declared.compile()
	if err != nil {
		return err
	}
	wrong := func(field string, err error) error {
		return &DefinitionError{ID: d.ID, Field: field, Err: err}
	}
	if _, twice := c.definitions[d.ID]; twice {
		return wrong("id", errors.New("is declared twice"))
	}
	if d.Grace < leastGrace {
		return wrong("grace", fmt.Errorf("%v is shorter than PollInterval and a claim's deadline together, %v: slots would be skipped for no reason", d.Grace, leastGrace))
	}
	if d.jobs, err = c.resolve(d.Target); err != nil {
		return wrong("target", err)
	}
	d.hash = d.fingerprint()
	c.definitions[d.ID] = d
	c.hashes[d.hash] = true
	return nil
}

// resolve lists the jobs of a target; there is always at least one.
func (c *catalog) resolve(target Target) ([]FireJob, error) {
	switch target.kind {
	case targetAll:
		if len(c.jobs) == 0 {
			return nil, fmt.Errorf("AllJobs is empty: %w: Config.Jobs has none", ErrUnknownJob)
		}
		return c.jobs, nil
	case targetGroup:
		jobs := c.byGroup[target.names[0]]
		if len(jobs) == 0 {
			return nil, fmt.Errorf("%w %q: no job of Config.Jobs is in it", ErrUnknownGroup, target.names[0])
		}
		return jobs, nil
	}
	jobs := make([]FireJob, len(target.names))
	for i, name := range target.names {
		known, ok := c.byName[name]
		if !ok {
			return nil, fmt.Errorf("%w %q: it is not in Config.Jobs", ErrUnknownJob, name)
		}
		jobs[i] = known
	}
	return jobs, nil
}

// declared are jobs as they were declared, with their arguments as JSON.
func (c *catalog) declared(jobs []FireJob) []Job {
	list := make([]Job, len(jobs))
	for i, j := range jobs {
		list[i] = Job{Name: j.Name, Group: j.Group, Description: c.descriptions[j.Name]}
		if j.Args != nil {
			list[i].Args = j.Args
		}
	}
	return list
}

// matches says whether these are the hashes of all definitions, and of no other.
func (c *catalog) matches(hashes []string) bool {
	for _, hash := range hashes {
		if !c.hashes[hash] {
			return false
		}
	}
	return len(hashes) == len(c.hashes)
}

// fingerprint is the hash of the whole set of definitions.
func (c *catalog) fingerprint() string {
	entries := make([]string, 0, len(c.definitions))
	for id, d := range c.definitions {
		entries = append(entries, id+" "+d.hash)
	}
	sort.Strings(entries)
	return hashOf(entries)
}

// marshalArgs turns arguments into JSON; nil stays nil.
func marshalArgs(args any) (json.RawMessage, error) {
	if args == nil {
		return nil, nil
	}
	text, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("args cannot be written as JSON: %w", err)
	}
	if bytes.Contains(text, []byte(`\u0000`)) {
		return nil, errors.New("args hold a NUL character, which Postgres cannot store")
	}
	return text, nil
}
