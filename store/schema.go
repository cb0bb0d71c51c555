package store

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// Option is an option of [New], [Migrate] and [Migrations].
type Option func(*options)

type options struct{ schema string }

// Schema puts hourbell's tables into a schema of their own, whatever the
// search_path of a connection or transaction is. The schema must exist. Only
// Postgres has schemas. Defaults to the first schema of the search_path.
//
// Hosts need it if they set search_path, for example for each tenant: otherwise
// a run that is enqueued in such a transaction would be stored in the tenant's
// schema.
func Schema(name string) Option { return func(o *options) { o.schema = name } }

func collectOptions(list []Option) options {
	var o options
	for _, option := range list {
		option(&o)
	}
	return o
}

// validate checks the options for a dialect.
func (o options) validate(d *dialect) error {
	switch {
	case o.schema == "":
		return nil
	case d == sqlite:
		return fmt.Errorf("store.Schema(%q): SQLite has no schemas", o.schema)
	case len(o.schema) > 63 || strings.ContainsRune(o.schema, 0):
		return fmt.Errorf("store.Schema(%q): not a name of up to 63 bytes", o.schema)
	}
	return nil
}

// tableName matches hourbell's tables, and the index that a migration drops,
// with a quote before them if they stand in a string.
var tableName = regexp.MustCompile(`'?\bhourbell_(schedules|job_runs|events|workers|migrations)\b|DROP INDEX \w+`)

// qualify puts the schema before each table name in a statement.
func (o options) qualify(text string) string {
	if o.schema == "" {
		return text
	}
	prefix := `"` + strings.ReplaceAll(o.schema, `"`, `""`) + `".`
	return tableName.ReplaceAllStringFunc(text, func(match string) string {
		if name, isIndex := strings.CutPrefix(match, "DROP INDEX "); isIndex {
			return "DROP INDEX " + prefix + name
		}
		if name, inString := strings.CutPrefix(match, "'"); inString {
			return "'" + strings.ReplaceAll(prefix, "'", "''") + name
		}
		return prefix + match
	})
}

// qualifiedText is a statement's text for one schema.
type qualifiedText struct{ schema, text string }

// textCache keeps the text of a statement for the last schema that used it.
// Hosts rarely use more than one.
type textCache struct{ last atomic.Pointer[qualifiedText] }

func (c *textCache) qualify(o options, text string) string {
	if o.schema == "" {
		return text
	}
	if last := c.last.Load(); last != nil && last.schema == o.schema {
		return last.text
	}
	qualified := &qualifiedText{o.schema, o.qualify(text)}
	c.last.Store(qualified)
	return qualified.text
}

// qualifiedFS returns files with the schema before each table name.
type qualifiedFS struct {
	fs.FS
	options options
}

// Open implements [fs.FS].
func (q qualifiedFS) Open(name string) (fs.File, error) {
	file, err := q.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return file, err
	}
	defer file.Close() //nolint:errcheck // an embedded file
	text, err := fs.ReadFile(q.FS, name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	qualified := q.options.qualify(string(text))
	return &qualifiedFile{Reader: strings.NewReader(qualified), info: info}, nil
}

// qualifiedFile is a file of qualifiedFS. It is also its own description.
type qualifiedFile struct {
	*strings.Reader
	info fs.FileInfo
}

func (f *qualifiedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *qualifiedFile) Close() error               { return nil }
func (f *qualifiedFile) Name() string               { return f.info.Name() }
func (f *qualifiedFile) Size() int64                { return f.Reader.Size() }
func (f *qualifiedFile) Mode() fs.FileMode          { return f.info.Mode() }
func (f *qualifiedFile) ModTime() time.Time         { return f.info.ModTime() }
func (f *qualifiedFile) IsDir() bool                { return false }
func (f *qualifiedFile) Sys() any                   { return nil }
