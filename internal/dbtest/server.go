package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

const (
	// URLEnv is the variable that names the server to use, such as
	// postgres://user:password@host:port/database.
	URLEnv = "TEST_DATABASE_URL"

	// RequireEnv is the variable that, set to 1, makes tests fail if there is
	// no server.
	RequireEnv = "HOURBELL_REQUIRE_POSTGRES"
)

const skipMessage = "TESTS ON POSTGRES SKIPPED: no " + URLEnv + " and no local server binaries; 'make test' installs them and runs all tests"

// sweepAge is longer than any run of the tests.
const sweepAge = 6 * time.Hour

// server is the Postgres server on which this process creates databases.
type server struct {
	url     *url.URL
	cluster *cluster.Cluster // nil for the server of URLEnv; kept, because it stops when it is garbage-collected
}

// dsn returns the address of a database.
func (s *server) dsn(database string) string {
	u := *s.url
	u.Path = "/" + database
	return u.String()
}

// requireServer returns the server. Without one it skips or fails the test.
func requireServer(t testing.TB) *server {
	t.Helper()
	srv, err := findServer()
	switch {
	case err == nil:
		return srv
	case !errors.Is(err, cluster.ErrNoServer):
		t.Fatalf("dbtest: %v", err)
	case os.Getenv(RequireEnv) == "1":
		t.Fatalf("dbtest: %s=1, but there is no %s and %v; 'make setup' installs them", RequireEnv, URLEnv, err)
	default:
		Announce(skipMessage)
		t.Skip(skipMessage)
	}
	return nil
}

// findServer returns the server of URLEnv, or starts one, once per process.
var findServer = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	address := os.Getenv(URLEnv)
	if address == "" {
		started, err := cluster.Start(ctx)
		if err != nil {
			return nil, err
		}
		srv, err := parseURL(started.URL)
		if err != nil {
			return nil, err
		}
		srv.cluster = started
		return srv, nil
	}
	srv, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	admin, err := srv.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to server of %s: %w", URLEnv, err)
	}
	defer admin.close()
	return srv, admin.sweep(ctx, sweepAge)
})

// parseURL checks the address of a server and adds a database and a query.
func parseURL(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The error leaves out the address, which contains a password.
		return nil, fmt.Errorf("%s is not a URL such as postgres://user:password@host:5432/postgres", URLEnv)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/postgres"
	}
	if u.RawQuery == "" {
		u.RawQuery = "sslmode=prefer" // the default; with it, callers may append to the query
	}
	return &server{url: u}, nil
}
