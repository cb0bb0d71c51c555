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

// templateLock is an advisory lock: one test process at a time creates the
// template. The number is arbitrary, but the same in all processes.
const templateLock = 7_206_431_955_402

// templateName contains a hash of the migrations, so that a changed migration
// uses a new template on a server that keeps the old one.
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

// createMigrated creates a copy of the template, which is migrated once per
// server.
func (s *session) createMigrated(ctx context.Context, name string) error {
	template, err := templateName()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	for attempt := 1; ; attempt++ {
		err := s.copy(ctx, template, name)
		// The template is missing at first. It goes missing again if tests of
		// another version of the migrations share the server and drop it.
		if !isDatabaseMissing(err) || attempt == 5 {
			return err
		}
		if err := s.createTemplate(ctx, template); err != nil {
			return fmt.Errorf("create template: %w", err)
		}
	}
}

// createTemplate migrates a database with another name and then renames it, so
// that a template is complete when other processes can see it. It drops other
// templates.
func (s *session) createTemplate(ctx context.Context, template string) (err error) {
	if err := s.exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock)) }()

	old, err := s.databases(ctx, templatePrefix, "true")
	if err != nil {
		return err
	}
	for _, name := range old {
		if name == template {
			return nil // another process created it
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
	// Postgres cannot copy a template that has connections.
	if err := s.exec(ctx, "ALTER DATABASE "+draft+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	return s.exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+template)
}

// isDatabaseMissing reports whether err is the server's error for a database
// that does not exist.
func isDatabaseMissing(err error) bool {
	var serverErr interface{ SQLState() string }
	return errors.As(err, &serverErr) && serverErr.SQLState() == "3D000"
}
