package hourbell

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hourbell/hourbell/cron"
)

// Job is something the host can run.
type Job struct {
	// Name identifies the job: 1 to 200 printable characters, unique in the set.
	Name string
	// Group is what [Group] targets. A job may have none.
	Group       string
	Description string
	// Args are the default arguments of the job's runs, in any form that encoding/json takes. Nil means none.
	Args any
}

// Definition is a schedule as code declares it.
type Definition struct {
	// ID identifies the schedule for as long as it lives: 1 to 100 letters, digits and . _ - / : characters.
	ID          string
	Name        string // Defaults to ID.
	Description string
	// Cron is an expression of 5 fields, of 6 with leading seconds, or a macro such as @daily. See the package cron.
	Cron string
	// TimeZone is an IANA name such as "Europe/Berlin". Defaults to "UTC".
	TimeZone string
	Target   Target
	// EnabledByDefault enables the schedule when it is first stored. Later only people enable and disable it.
	EnabledByDefault bool
	// Grace is how late a slot may still be claimed; later it is skipped. Defaults to Config.Grace.
	Grace time.Duration
}

// Validate checks what can be checked of a definition by itself. The error is a [*DefinitionError], or several joined.
func (d Definition) Validate() error {
	_, err := d.compile()
	return err
}

// Next is the first slot strictly after an instant, in UTC and whole seconds. The error is a [*DefinitionError], or
// cron.ErrNever when no slot is to come.
func (d Definition) Next(after time.Time) (time.Time, error) {
	slots, err := d.slots()
	if err != nil {
		return time.Time{}, err
	}
	return slots.Next(after)
}

// Between lists the slots in [from, to), ascending, in UTC. It refuses to list more than 100,000.
func (d Definition) Between(from, to time.Time) ([]time.Time, error) {
	slots, err := d.slots()
	if err != nil {
		return nil, err
	}
	return slots.Between(from, to)
}

// DefinitionError says which field of which definition is wrong.
type DefinitionError struct {
	ID    string
	Field string // id, name, description, cron, time zone, target or grace
	Err   error
}

func (e *DefinitionError) Error() string {
	return fmt.Sprintf("hourbell: schedule %q: %s %v", e.ID, e.Field, e.Err)
}

func (e *DefinitionError) Unwrap() error { return e.Err }

// definition is a checked Definition with what follows from it.
type definition struct {
	Definition
	slots cron.Schedule
	jobs  []FireJob
	hash  string
}

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:-]{0,99}$`)

// compile checks the definition by itself and fills in its defaults, the jobs and the grace excepted.
func (d Definition) compile() (*definition, error) {
	var errs []error
	wrong := func(field string, err error) {
		if err != nil {
			errs = append(errs, &DefinitionError{ID: d.ID, Field: field, Err: err})
		}
	}
	if !validID.MatchString(d.ID) {
		wrong("id", fmt.Errorf("%q is not 1 to 100 letters, digits and . _ - / : characters, beginning with a letter or digit", d.ID))
	}
	if d.Name == "" {
		d.Name = d.ID
	} else {
		wrong("name", checkName(d.Name))
	}
	if !utf8.ValidString(d.Description) || containsNUL(d.Description) {
		wrong("description", errors.New("is not valid text"))
	}
	if d.TimeZone == "" {
		d.TimeZone = "UTC"
	}
	if d.Grace < 0 {
		wrong("grace", fmt.Errorf("%v is negative", d.Grace))
	}
	wrong("target", d.Target.check())
	slots, err := d.slots()
	if err != nil {
		errs = append(errs, err)
	}
	return &definition{Definition: d, slots: slots}, errors.Join(errs...)
}

// slots parses expression and zone.
func (d Definition) slots() (cron.Schedule, error) {
	slots, err := cron.Parse(d.Cron, d.TimeZone)
	switch {
	case errors.Is(err, cron.ErrZone):
		return slots, &DefinitionError{ID: d.ID, Field: "time zone", Err: fmt.Errorf("%q: %w", d.TimeZone, err)}
	case err != nil:
		return slots, &DefinitionError{ID: d.ID, Field: "cron", Err: fmt.Errorf("%q: %w", d.Cron, err)}
	}
	return slots, nil
}

// fingerprint is the definition's hash: it covers all that code owns of the stored row, id included, and of the jobs all that
// their runs carry, so that two builds share a hash only if they would enqueue the same.
func (d *definition) fingerprint() string {
	return hashOf([]any{d.ID, d.Name, d.Description, d.Cron, d.TimeZone, d.Target.kind, d.Target.stored(), d.Grace, d.jobs})
}

// hashOf is a short hash of a value's JSON.
func hashOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings, numbers and JSON that was marshalled before
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// checkName checks a name that people read: of a job, a group or a schedule.
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

func containsNUL(text string) bool {
	for i := range len(text) {
		if text[i] == 0 {
			return true
		}
	}
	return false
}
