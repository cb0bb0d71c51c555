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

// Without _txlock=immediate, a transaction that reads and then writes fails at once when another has written between.
const (
	sqliteFile     = "hourbell-demo.db"
	sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
)

// openDatabase opens the database that DATABASE_URL names, or a SQLite file, and creates hourbell's tables in it.
func openDatabase(ctx context.Context, log *slog.Logger) (*gorm.DB, error) {
	dialector, err := database(os.Getenv("DATABASE_URL"), log)
	if err != nil {
		return nil, err
	}
	// The migration connects, and unlike gorm's ping it takes a deadline.
	db, err := gorm.Open(dialector, &gorm.Config{DisableAutomaticPing: true})
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return db, store.Migrate(ctx, db)
}

// database chooses by the URL's scheme. It repeats no more of the URL than that, for the rest holds a password.
func database(url string, log *slog.Logger) (gorm.Dialector, error) {
	scheme, _, isURL := strings.Cut(url, "://")
	switch {
	case url == "":
		path, err := filepath.Abs(sqliteFile)
		log.Info("database is SQLite; set DATABASE_URL=postgres://… for Postgres", "file", path)
		return sqlite.Open(sqliteFile + sqliteSettings), err
	case scheme == "postgres" || scheme == "postgresql":
		log.Info("database is Postgres")
		return postgres.Open(url), nil
	case isURL:
		return nil, fmt.Errorf("DATABASE_URL begins with %s://, and the demo knows postgres:// only; unset it for SQLite", scheme)
	}
	return nil, errors.New("DATABASE_URL is no URL such as postgres://user:password@host:5432/database")
}
