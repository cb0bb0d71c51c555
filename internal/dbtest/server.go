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
	// URLEnv names a server, as postgres://user:password@host:port/database.
	URLEnv = "TEST_DATABASE_URL"

	// RequireEnv, set to 1, makes a missing server a failure.
	RequireEnv = "HOURBELL_REQUIRE_POSTGRES"
)

const skipped = "POSTGRES HALF SKIPPED: no " + URLEnv + " and no local server binaries; 'make test' installs them and runs everything"

// keepFor is longer than any run of the tests.
const keepFor = 6 * time.Hour

// server is where the databases of this process's tests are made.
type server struct {
	url *url.URL
	own *cluster.Cluster // kept reachable: it stops when it is collected
}

func (s *server) dsn(database string) string {
	u := *s.url
	u.Path = "/" + database
	return u.String()
}

// need returns the server, or ends the test.
func need(t testing.TB) *server {
	t.Helper()
	srv, err := theServer()
	switch {
	case err == nil:
		return srv
	case !errors.Is(err, cluster.ErrNoServer):
		t.Fatalf("dbtest: %v", err)
	case os.Getenv(RequireEnv) == "1":
		t.Fatalf("dbtest: %s=1, but there is no %s and there are %v; 'make setup' installs them", RequireEnv, URLEnv, err)
	default:
		Shout("hourbell tests: " + skipped)
		t.Skip(skipped)
	}
	return nil
}

// theServer is found once in a process.
var theServer = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	address := os.Getenv(URLEnv)
	if address == "" {
		own, err := cluster.Start(ctx)
		if err != nil {
			return nil, err
		}
		srv, err := parse(own.URL)
		if err != nil {
			return nil, err
		}
		srv.own = own
		return srv, nil
	}
	srv, err := parse(address)
	if err != nil {
		return nil, err
	}
	admin, err := srv.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the server of %s: %w", URLEnv, err)
	}
	defer admin.close()
	return srv, admin.sweep(ctx, keepFor)
})

func parse(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The address is not repeated: it holds a password.
		return nil, fmt.Errorf("%s is not a URL such as postgres://user:password@host:5432/postgres", URLEnv)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/postgres"
	}
	if u.RawQuery == "" {
		u.RawQuery = "sslmode=prefer" // the default, said, so that callers may append to the query
	}
	return &server{url: u}, nil
}
