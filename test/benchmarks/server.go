package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the Postgres server on which every peer gets its own database.
type server struct {
	url         *url.URL
	admin       *pgx.Conn
	description string // versions and settings, for the head of the table
}

func connect(ctx context.Context, address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The error leaves the address out because it contains a password.
		return nil, errors.New("the server's address is not a URL such as postgres://user:password@host:5432/postgres")
	}
	admin, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	s := &server{url: u, admin: admin}
	var version, fsync string
	err = admin.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('fsync')").Scan(&version, &fsync)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.description = fmt.Sprintf("PostgreSQL %s, fsync %s, %s, %d CPUs", version, fsync, runtime.Version(), runtime.NumCPU())
	return s, nil
}

// cleanupTimeout bounds the cleanup after a measurement, even after ctx ended.
const cleanupTimeout = 2 * time.Minute

func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	return s.admin.Close(ctx)
}
