package hourbell

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/storage"
)

// Job is something the host can run.
type Job struct {
	// Name identifies the job: 1 to 200 printable characters, unique in
	// Config.Jobs.
	Name string
	// Group is the name by which [Group] targets the job: up to 200 printable
	// characters. Defaults to no group.
	Group string
	// Description is shown to operators. Defaults to none.
	Description string
	// Args are the arguments of the job's runs, unless a call gives others: any
	// value that encoding/json accepts and Postgres can store as jsonb. For
	// example, texts must not contain NUL characters. Defaults to none.
	Args any
}

// Definition is a schedule as code declares it.
type Definition struct {
	// ID identifies the schedule permanently, and must be unique in
	// Config.Definitions. It has 1 to 100 ASCII letters, digits and . _ - / :
	// characters, and starts with a letter or digit.
	ID string
	// FormerID is the ID under which the schedule was declared before. If
	// FormerID is stored but no longer declared, and ID is not stored yet, the
	// sync moves the state to ID. The state is enabled, note, next run, settled
	// slots and unfinished claim. Runs and events keep the ID they were written
	// with, and queries for the new ID return them too. Defaults to none.
	FormerID string
	// Name is shown to operators: up to 200 printable characters. Defaults to
	// ID.
	Name string
	// Description is shown to operators: any text without NUL characters.
	// Defaults to none.
	Description string
	// Cron is an expression of five fields, of six fields with seconds first,
	// or a macro such as @daily. Package cron documents the dialect. Exactly
	// one of Cron and Manual is required.
	Cron string
	// TimeZone is the IANA name of the zone in which Cron is read, such as
	// "Europe/Berlin". [LocalZone] returns that of the process. Defaults to
	// "UTC".
	TimeZone string
	// Manual declares a schedule that never comes due and that operators run:
	// see [Scheduler.RunNow]. Enable and Disable only change the enabled flag
	// and the note. Defaults to false.
	Manual bool
	// Target selects the jobs that each slot enqueues: at least one of
	// Config.Jobs. It is required.
	Target Target
	// EnabledByDefault enables the schedule when it is first stored. After
	// that, only operators enable and disable it. Defaults to false.
	EnabledByDefault bool
	// Grace is how late a slot may be claimed and still fire. A slot that is
	// claimed later is skipped. Config.Grace describes the minimum. Defaults to
	// Config.Grace.
	Grace time.Duration
}

// Validate checks the definition without the rest of the configuration. [New]
// also checks that the target's jobs are declared, that ID and FormerID are
// unique, and the minimum of Grace. The error is a [*DefinitionError], or
// several that are joined.
func (d Definition) Validate() error {
	_, err := d.compile()
	return err
}

// Next returns the first slot strictly after a time, in UTC and whole seconds.
// The error is a [*DefinitionError], or wraps cron.ErrNever if no slot follows:
// a manual schedule has none.
func (d Definition) Next(after time.Time) (time.Time, error) {
	slots, err := d.slots()
	if err != nil {
		return time.Time{}, err
	}
	if d.Manual {
		return time.Time{}, fmt.Errorf("hourbell: schedule %q is manual: %w", d.ID, cron.ErrNever)
	}
	return slots.Next(after)
}

// Between returns the slots from one time, included, to another, excluded. They
// are in ascending order, in UTC and whole seconds. A manual schedule has none.
// The error is a [*DefinitionError], or another error if there are more than
// 100,000 slots.
func (d Definition) Between(from, to time.Time) ([]time.Time, error) {
	slots, err := d.slots()
	if err != nil || d.Manual {
		return nil, err
	}
	return slots.Between(from, to)
}

// DefinitionError reports an invalid field of a definition.
type DefinitionError struct {
	// ID is the ID of the definition.
	ID string
	// Field is id, former id, name, description, cron, time zone, manual,
	// target or grace.
	Field string
	// Err says what is wrong with the field.
	Err error
}

// Error returns the definition's ID, the field and what is wrong with it.
func (e *DefinitionError) Error() string {
	return fmt.Sprintf("hourbell: schedule %q: %s %v", e.ID, e.Field, e.Err)
}

// Unwrap returns Err.
func (e *DefinitionError) Unwrap() error { return e.Err }

// Target selects the jobs that a schedule enqueues. [AllJobs], [Group] and
// [Jobs] make one. The zero Target is invalid.
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

// AllJobs targets every job of Config.Jobs, in the order of declaration.
func AllJobs() Target { return Target{kind: targetAll} }

// Group targets the jobs of one group, in the order of declaration.
func Group(name string) Target { return Target{kind: targetGroup, names: []string{name}} }

// Jobs targets jobs by name, each once, in the given order.
func Jobs(names ...string) Target { return Target{kind: targetJobs, names: slices.Clone(names)} }

// String describes the target in words, such as `group "feed"`.
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

// validate checks the target without the declared jobs.
func (t Target) validate() error {
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

// stored returns the target's names as the schedule's row holds them: an empty
// string, the group, or a JSON array of job names.
func (t Target) stored() string {
	switch t.kind {
	case targetGroup:
		return t.names[0]
	case targetJobs:
		text, _ := json.Marshal(t.names) // marshaling strings cannot fail
		return string(text)
	}
	return ""
}

// storedTarget returns the target that a schedule's row holds.
func storedTarget(row *storage.Schedule) (Target, error) {
	switch row.TargetKind {
	case targetAll:
		return AllJobs(), nil
	case targetGroup:
		return Group(row.Target), nil
	case targetJobs:
		var names []string
		if err := json.Unmarshal([]byte(row.Target), &names); err != nil {
			return Target{}, fmt.Errorf("hourbell: schedule %q: stored target %q is not a list of jobs: %w", row.ID, row.Target, err)
		}
		return Jobs(names...), nil
	}
	return Target{}, fmt.Errorf("hourbell: schedule %q: unknown stored target kind %q", row.ID, row.TargetKind)
}

// definition is a valid Definition, with its defaults and what is derived from
// it.
type definition struct {
	Definition
	schedule  cron.Schedule     // the zero Schedule if manual
	zoneRules string            // of TimeZone; empty if manual
	jobs      []storage.JobSpec // the jobs of the target, in their order
	hash      string
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:-]{0,99}$`)

// compile checks the definition, and fills in its defaults. newCatalog adds
// what depends on the rest of the configuration: grace, jobs and hash.
func (d Definition) compile() (*definition, error) {
	var errs []error
	check := func(field string, err error) {
		if err != nil {
			errs = append(errs, &DefinitionError{ID: d.ID, Field: field, Err: err})
		}
	}
	if !validID.MatchString(d.ID) {
		check("id", fmt.Errorf("%q is not 1 to 100 letters, digits and . _ - / : characters, starting with a letter or digit", d.ID))
	}
	switch {
	case d.FormerID == "":
	case d.FormerID == d.ID:
		check("former id", errors.New("is the ID itself"))
	case !validID.MatchString(d.FormerID):
		check("former id", fmt.Errorf("%q is not a valid ID", d.FormerID))
	}
	if d.Name == "" {
		d.Name = d.ID
	} else {
		check("name", checkName(d.Name))
	}
	if !utf8.ValidString(d.Description) || strings.ContainsRune(d.Description, 0) {
		check("description", errors.New("is not valid text"))
	}
	if d.Grace < 0 {
		check("grace", fmt.Errorf("%v is negative", d.Grace))
	}
	check("target", d.Target.validate())
	d.Cron = strings.Trim(d.Cron, " \t\r\n")
	slots, err := d.slots()
	if err != nil {
		errs = append(errs, err)
	}
	if d.TimeZone == "" {
		d.TimeZone = "UTC"
	}
	return &definition{Definition: d, schedule: slots}, errors.Join(errs...)
}

// slots parses expression and time zone. It returns the zero Schedule for a
// manual schedule. The error is a DefinitionError.
func (d Definition) slots() (cron.Schedule, error) {
	invalid := func(field, format string, args ...any) (cron.Schedule, error) {
		return cron.Schedule{}, &DefinitionError{ID: d.ID, Field: field, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case d.Manual && d.Cron != "":
		return invalid("manual", "excludes Cron, which is %q: set one of the two", d.Cron)
	case d.Manual && d.TimeZone != "":
		return invalid("time zone", "%q is set, but a manual schedule has none", d.TimeZone)
	case d.Manual:
		return cron.Schedule{}, nil
	case strings.TrimSpace(d.Cron) == "":
		return invalid("cron", "is empty: %s", setManual)
	}
	slots, err := cron.Parse(d.Cron, d.TimeZone)
	switch {
	case errors.Is(err, cron.ErrZone):
		return invalid("time zone", "%q: %w", d.TimeZone, err)
	case errors.Is(err, cron.ErrNever):
		return invalid("cron", "%q: %w: %s", d.Cron, err, setManual)
	case err != nil:
		return invalid("cron", "%q: %w", d.Cron, err)
	}
	return slots, nil
}

// setManual is the advice for an empty expression, and for one that never comes
// due.
const setManual = "for a schedule that only operators run, set Manual"

// computeHash returns the definition's hash. It covers the ID, every column of
// the row that code owns, and what the runs get from their jobs. So two
// processes with the same hash enqueue the same runs at the same times, even if
// their zone files differ.
func (d *definition) computeHash() string {
	return hashOf([]any{d.ID, d.Name, d.Description, d.Cron, d.TimeZone, d.zoneRules, d.Manual, d.Target.kind, d.Target.stored(), d.Grace, d.jobs})
}

// hashOf returns a hash of a value's JSON: 32 hexadecimal digits.
func hashOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // impossible: strings, numbers and JSON that was marshaled before
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// checkName checks the name of a job, group or schedule, or an idempotency key.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("%q is not valid UTF-8", name)
	case utf8.RuneCountInString(name) > 200:
		return fmt.Errorf("%.40q… is longer than 200 characters", name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%q has the unprintable character %U", name, r)
		}
	}
	return nil
}
