package dbtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/hourbell/hourbell/store"
)

const templatePrefix = "hourbell_template_"

// templateLock keeps two test processes from making the template at once. Its
// number means nothing; it only has to be the same everywhere.
const templateLock = 7_206_431_955_402

// templateName tells templates apart by what the migrations say, so that on a
// server that stays, a changed migration is not tested on an old database.
var templateName = sync.OnceValues(func() (string, error) {
	h := sha256.New()
	migrations := store.Migrations()
	err := fs.WalkDir(migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations, path)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return fmt.Sprintf("%s%x", templatePrefix, h.Sum(nil)[:8]), err
})

// createMigrated copies the template, which is migrated once on each server.
func (s *session) createMigrated(ctx context.Context, name string) error {
	template, err := templateName()
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	for attempt := 1; ; attempt++ {
		err := s.copy(ctx, template, name)
		// Missing at first, and again where the tests of another version of
		// the migrations share the server and have just removed ours.
		if !missing(err) || attempt == 5 {
			return err
		}
		if err := s.makeTemplate(ctx, template); err != nil {
			return fmt.Errorf("make the template: %w", err)
		}
	}
}

// makeTemplate migrates under another name and renames, so that a template is
// complete from the moment it can be seen.
func (s *session) makeTemplate(ctx context.Context, template string) (err error) {
	if err := s.exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock)) }()

	old, err := s.databases(ctx, templatePrefix, "")
	if err != nil {
		return err
	}
	for _, name := range old {
		if name == template {
			return nil // made while we waited
		}
		if err := s.drop(ctx, name); err != nil {
			return err
		}
	}

	draft := templatePrefix + "draft"
	if err := s.createEmpty(ctx, draft); err != nil {
		return err
	}
	if err := migrate(ctx, "postgres", s.server.dsn(draft)); err != nil {
		return err
	}
	// A template somebody is connected to cannot be copied.
	if err := s.exec(ctx, "ALTER DATABASE "+draft+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	return s.exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+template)
}

// missing says whether the server answered that a database does not exist.
func missing(err error) bool {
	var answer interface{ SQLState() string }
	return errors.As(err, &answer) && answer.SQLState() == "3D000"
}
