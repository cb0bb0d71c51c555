package hourbell

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/lookahead"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/text"
)

// ErrUnknownTarget reports a target that this process does not declare: a job,
// a group, or all jobs if there are none. RunNow also returns it for a schedule
// that this process does not declare.
var ErrUnknownTarget = errors.New("unknown target")

// catalog is the valid set of jobs and definitions. It does not change after
// New.
type catalog struct {
	jobs         []storage.JobSpec // in the order of declaration
	byName       map[string]storage.JobSpec
	byGroup      map[string][]storage.JobSpec // in the order of declaration
	descriptions map[string]string            // by job
	definitions  map[string]*definition       // by ID
	formerIDs    map[string]string            // former ID to ID
	schedules    map[expression]cron.Schedule // of the definitions
	zoneRules    map[string]string            // by time zone of the definitions
	wantStored   storage.Stored               // the definitions as rows
	hash         string                       // of the whole set of definitions
}

// newCatalog checks jobs and definitions as a set. A definition without a grace
// gets grace; minGrace is the smallest one that the configuration allows. The
// error names every mistake.
func newCatalog(jobs []Job, definitions []Definition, grace, minGrace time.Duration) (*catalog, error) {
	c := &catalog{
		byName: map[string]storage.JobSpec{}, byGroup: map[string][]storage.JobSpec{}, descriptions: map[string]string{},
		definitions: map[string]*definition{}, formerIDs: map[string]string{}, schedules: map[expression]cron.Schedule{}, zoneRules: map[string]string{},
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
		declared.Grace = declared.Grace.Truncate(time.Microsecond) // as the database stores it
		errs = append(errs, c.addDefinition(declared, minGrace))
	}
	errs = append(errs, c.checkFormerIDs())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for id, d := range c.definitions {
		row := d.applyTo(storage.Schedule{ID: id})
		c.wantStored.Add(&row)
	}
	c.hash = c.computeHash()
	return c, nil
}

// addJob adds a job even if it is invalid, so that a definition that targets it
// is not reported too.
func (c *catalog) addJob(declared Job) error {
	var errs []error
	if err := checkName(declared.Name); err != nil {
		errs = append(errs, fmt.Errorf("name %w", err))
	}
	if declared.Group != "" {
		if err := checkName(declared.Group); err != nil {
			errs = append(errs, fmt.Errorf("group %w", err))
		}
	}
	if _, duplicate := c.byName[declared.Name]; duplicate {
		errs = append(errs, errors.New("is declared twice"))
	}
	args, err := marshalArgs(declared.Args)
	errs = append(errs, err)
	spec := storage.JobSpec{Name: declared.Name, Group: declared.Group, Args: args}
	c.descriptions[spec.Name] = declared.Description
	c.jobs = append(c.jobs, spec)
	c.byName[spec.Name] = spec
	if spec.Group != "" {
		c.byGroup[spec.Group] = append(c.byGroup[spec.Group], spec)
	}
	return errors.Join(errs...)
}

func (c *catalog) addDefinition(declared Definition, minGrace time.Duration) error {
	d, err := declared.compile()
	errs := []error{err}
	invalid := func(field string, err error) {
		errs = append(errs, &DefinitionError{ID: d.ID, Field: field, Err: err})
	}
	if _, duplicate := c.definitions[d.ID]; duplicate {
		invalid("id", errors.New("is declared twice"))
	}
	if d.Grace >= 0 && d.Grace < minGrace {
		invalid("grace", fmt.Errorf("%v is %s, %v", d.Grace, graceTooShort, minGrace))
	}
	if d.Target.validate() == nil {
		if d.jobs, err = c.resolve(d.Target); err != nil {
			invalid("target", err)
		}
	}
	if d.schedule != (cron.Schedule{}) {
		c.schedules[expression{d.Cron, d.TimeZone}] = d.schedule
		d.zoneRules, _ = cached(c.zoneRules, d.TimeZone, func() (string, error) { return cron.ZoneRules(d.schedule.Location()), nil })
	}
	d.hash = d.computeHash()
	c.definitions[d.ID] = d
	return errors.Join(errs...)
}

// checkFormerIDs checks that each former ID belongs to one definition, and that
// former IDs form no chains or cycles (rule D10).
func (c *catalog) checkFormerIDs() error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(c.definitions)) {
		former := c.definitions[id].FormerID
		if former == "" {
			continue
		}
		invalid := func(format string, args ...any) {
			errs = append(errs, &DefinitionError{ID: id, Field: "former id", Err: fmt.Errorf(format, args...)})
		}
		if other := c.definitions[former]; other != nil && other.FormerID != "" && former != id {
			invalid("%q is the ID of a definition that has a former ID itself", former)
		}
		if other, taken := c.formerIDs[former]; taken {
			invalid("%q is the former ID of %q too", former, other)
		}
		c.formerIDs[former] = id
	}
	return errors.Join(errs...)
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
			groups := slices.Collect(maps.Keys(c.byGroup))
			return nil, fmt.Errorf("%w: no job of Config.Jobs is in group %q%s", ErrUnknownTarget, target.names[0], suggestion(target.names[0], groups))
		}
		return jobs, nil
	}
	jobs := make([]storage.JobSpec, len(target.names))
	var errs []error
	for i, name := range target.names {
		spec, ok := c.byName[name]
		if !ok {
			names := slices.Collect(maps.Keys(c.byName))
			errs = append(errs, fmt.Errorf("%w: job %q is not in Config.Jobs%s", ErrUnknownTarget, name, suggestion(name, names)))
		}
		jobs[i] = spec
	}
	return jobs, errors.Join(errs...)
}

// suggestion returns the known name that is most similar, as a question.
func suggestion(name string, known []string) string {
	if nearest := text.Nearest(name, known); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
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

// correct writes back the columns of a row that were edited by hand, if this
// process declares the definition as it is stored. It returns the event.
func (c *catalog) correct(row *storage.Schedule) []Event {
	if !c.declares(row.ID, row.DefinitionHash) {
		return nil
	}
	d := c.definitions[row.ID]
	edited := *row
	if *row = d.applyTo(edited); *row == edited {
		return nil
	}
	return []Event{{ScheduleID: row.ID, Kind: EventChanged, Detail: describeChange(&edited, d)}}
}

// missingFrom returns the ids of the definitions that have no row, in order.
func (c *catalog) missingFrom(rows []storage.Schedule) []string {
	missing := maps.Clone(c.definitions)
	for i := range rows {
		delete(missing, rows[i].ID)
	}
	return slices.Sorted(maps.Keys(missing))
}

// lookahead returns a table of the next slots of all definitions.
func (c *catalog) lookahead() lookahead.Table {
	list := make([]lookahead.Definition, 0, len(c.definitions))
	for id, d := range c.definitions {
		if d.Manual {
			continue
		}
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

// marshalArgs returns arguments as JSON that both databases can store. Nil
// stays nil.
func marshalArgs(args any) (json.RawMessage, error) {
	if args == nil {
		return nil, nil
	}
	encoded, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("args cannot be marshaled to JSON: %w", err)
	}
	if err := text.CheckJSON(encoded); err != nil {
		return nil, fmt.Errorf("args cannot be stored: %w", err)
	}
	return encoded, nil
}
