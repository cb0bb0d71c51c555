package hourbell

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/hourbell/hourbell/internal/lookahead"
	"github.com/hourbell/hourbell/internal/storage"
)

// ErrUnknownTarget reports a target that this process does not declare: a job,
// a group, or all jobs if there are none.
var ErrUnknownTarget = errors.New("unknown target")

// catalog is the valid set of jobs and definitions. It does not change after
// New.
type catalog struct {
	jobs         []storage.JobSpec // in the order of declaration
	byName       map[string]storage.JobSpec
	byGroup      map[string][]storage.JobSpec // in the order of declaration
	descriptions map[string]string            // by job
	definitions  map[string]*definition       // by ID
	hashes       map[string]bool              // the hashes of the definitions
	hash         string                       // of the whole set of definitions
}

// newCatalog checks jobs and definitions as a set. A definition without a grace
// gets grace; minGrace is the smallest one that the configuration allows.
func newCatalog(jobs []Job, definitions []Definition, grace, minGrace time.Duration) (*catalog, error) {
	c := &catalog{
		byName: map[string]storage.JobSpec{}, byGroup: map[string][]storage.JobSpec{}, descriptions: map[string]string{},
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
		errs = append(errs, c.addDefinition(declared, minGrace))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.hash = c.computeHash()
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
	if _, duplicate := c.byName[declared.Name]; duplicate {
		return errors.New("is declared twice")
	}
	args, err := marshalArgs(declared.Args)
	if err != nil {
		return err
	}
	spec := storage.JobSpec{Name: declared.Name, Group: declared.Group, Args: args}
	c.descriptions[spec.Name] = declared.Description
	c.jobs = append(c.jobs, spec)
	c.byName[spec.Name] = spec
	if spec.Group != "" {
		c.byGroup[spec.Group] = append(c.byGroup[spec.Group], spec)
	}
	return nil
}

func (c *catalog) addDefinition(declared Definition, minGrace time.Duration) error {
	d, err := declared.compile()
	if err != nil {
		return err
	}
	invalid := func(field string, err error) error {
		return &DefinitionError{ID: d.ID, Field: field, Err: err}
	}
	if _, duplicate := c.definitions[d.ID]; duplicate {
		return invalid("id", errors.New("is declared twice"))
	}
	if d.Grace < minGrace {
		return invalid("grace", fmt.Errorf("%v is %s, %v", d.Grace, graceTooShort, minGrace))
	}
	if d.jobs, err = c.resolve(d.Target); err != nil {
		return invalid("target", err)
	}
	d.hash = d.computeHash()
	c.definitions[d.ID] = d
	c.hashes[d.hash] = true
	return nil
}

// graceTooShort is the error for a grace with which a slot may be skipped
// although a replica is running. The minimum follows it.
const graceTooShort = "shorter than PollInterval plus the deadline of a claim"

// resolve returns the jobs of a target, at least one.
func (c *catalog) resolve(target Target) ([]storage.JobSpec, error) {
	switch target.kind {
	case targetAll:
		if len(c.jobs) == 0 {
			return nil, fmt.Errorf("%w: AllJobs, but Config.Jobs is empty", ErrUnknownTarget)
		}
		return c.jobs, nil
	case targetGroup:
		jobs := c.byGroup[target.names[0]]
		if len(jobs) == 0 {
			return nil, fmt.Errorf("%w: no job of Config.Jobs is in group %q", ErrUnknownTarget, target.names[0])
		}
		return jobs, nil
	}
	jobs := make([]storage.JobSpec, len(target.names))
	for i, name := range target.names {
		spec, ok := c.byName[name]
		if !ok {
			return nil, fmt.Errorf("%w: job %q is not in Config.Jobs", ErrUnknownTarget, name)
		}
		jobs[i] = spec
	}
	return jobs, nil
}

// toJobs converts jobs back to declarations, with Args as json.RawMessage.
func (c *catalog) toJobs(specs []storage.JobSpec) []Job {
	list := make([]Job, len(specs))
	for i, spec := range specs {
		list[i] = Job{Name: spec.Name, Group: spec.Group, Description: c.descriptions[spec.Name]}
		if spec.Args != nil {
			list[i].Args = spec.Args
		}
	}
	return list
}

// declares reports whether a stored definition equals the one declared here.
func (c *catalog) declares(id, hash string) bool {
	d := c.definitions[id]
	return d != nil && d.hash == hash
}

// matches reports whether stored hashes are those of all definitions declared
// here, and no others.
func (c *catalog) matches(hashes []string) bool {
	for _, hash := range hashes {
		if !c.hashes[hash] {
			return false
		}
	}
	return len(hashes) == len(c.hashes)
}

// lookahead returns a table of the next slots of all definitions.
func (c *catalog) lookahead() lookahead.Table {
	list := make([]lookahead.Definition, 0, len(c.definitions))
	for id, d := range c.definitions {
		list = append(list, lookahead.Definition{
			ID: id, Hash: d.hash, Cron: d.Cron, TimeZone: d.TimeZone, Slots: d.schedule, Jobs: d.jobs,
		})
	}
	return lookahead.New(list)
}

// computeHash returns the hash of the whole set of definitions.
func (c *catalog) computeHash() string {
	entries := make([]string, 0, len(c.definitions))
	for id, d := range c.definitions {
		entries = append(entries, id+" "+d.hash)
	}
	sort.Strings(entries)
	return hashOf(entries)
}

// marshalArgs returns arguments as JSON. Nil stays nil.
func marshalArgs(args any) (json.RawMessage, error) {
	if args == nil {
		return nil, nil
	}
	text, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("args cannot be marshaled to JSON: %w", err)
	}
	if bytes.Contains(text, []byte(`\u0000`)) {
		return nil, errors.New("args contain a NUL character, which Postgres cannot store")
	}
	return text, nil
}
