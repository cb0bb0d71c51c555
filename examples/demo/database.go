package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell/store"
)

// The demo's SQLite file and its settings. Without _txlock=immediate, a
// transaction that reads and then writes fails if another one wrote between.
const (
	sqliteFile     = "hourbell-demo.db"
	sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
)

// openDatabase opens the database at DATABASE_URL, or a SQLite file if it is
// unset, and creates hourbell's tables.
func openDatabase(ctx context.Context, log *slog.Logger) (*gorm.DB, error) {
	dialector, err := chooseDialect(os.Getenv("DATABASE_URL"), log)
	if err != nil {
		return nil, err
	}
	// The migration connects first: gorm's own ping takes no deadline.
	db, err := gorm.Open(dialector, &gorm.Config{DisableAutomaticPing: true})
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return db, store.Migrate(ctx, db)
}

// chooseDialect chooses the database by the scheme of the URL. Its errors
// contain only the scheme, because the rest of the URL contains a password.
func chooseDialect(url string, log *slog.Logger) (gorm.Dialector, error) {
	scheme, _, isURL := strings.Cut(url, "://")
	switch {
	case url == "":
		path, err := filepath.Abs(sqliteFile)
		log.Info("database is SQLite; DATABASE_URL=postgres://… selects Postgres", "file", path)
		return sqlite.Open(sqliteFile + sqliteSettings), err
	case scheme == "postgres" || scheme == "postgresql":
		log.Info("database is Postgres")
		return postgres.Open(url), nil
	case isURL:
		return nil, fmt.Errorf("DATABASE_URL begins with %s://, but the demo supports postgres:// only; unset it for SQLite", scheme)
	}
	return nil, errors.New("DATABASE_URL must be a URL such as postgres://user:password@host:5432/database")
}
