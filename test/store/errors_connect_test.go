package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// openLazily opens a Postgres database without a connection to it.
func openLazily(t testing.TB, dsn string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{DisableAutomaticPing: true, Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() { _ = poolOf(t, db).Close() })
	return db
}

// changeDSN returns the DSN of a database, changed by change.
func changeDSN(t testing.TB, db *dbtest.DB, change func(*url.URL)) string {
	t.Helper()
	parsed, err := url.Parse(db.DSN)
	require.NoError(t, err)
	change(parsed)
	return parsed.String()
}

// createRole creates a role for the duration of a test, and returns the DSN
// with which it connects.
func createRole(t testing.TB, db *dbtest.DB, options string) (name, dsn string) {
	t.Helper()
	name = "hourbell_test_" + strings.ToLower(rand.Text()[:12])
	require.NoError(t, db.Exec("CREATE ROLE "+name+" PASSWORD 'secret' "+options).Error)
	t.Cleanup(func() { require.NoError(t, db.Exec("DROP OWNED BY "+name+"; DROP ROLE "+name).Error) })
	return name, changeDSN(t, db, func(u *url.URL) { u.User = url.UserPassword(name, "secret") })
}

// O1: Whatever prevents a connection is ErrUnavailable: it may end, as after a
// restore, a failover or a change of passwords.
func TestFailedConnectionReturnsErrUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	_, noLogin := createRole(t, db, "NOLOGIN")
	_, noConnection := createRole(t, db, "LOGIN CONNECTION LIMIT 0")
	_, closed := createRole(t, db, "LOGIN")
	closed = changeDSN(t, dbtest.Postgres(t), func(u *url.URL) {
		from, err := url.Parse(closed)
		require.NoError(t, err)
		u.User = from.User
		require.NoError(t, db.Exec("ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" ALLOW_CONNECTIONS false").Error)
	})
	for name, c := range map[string]struct{ dsn, want string }{
		"missing database": {changeDSN(t, db, func(u *url.URL) { u.Path = "/hourbell_test_missing" }), "3D000"},
		"wrong password":   {changeDSN(t, db, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") }), "28P01"},
		"no login":         {noLogin, "28000"},
		"connection limit": {noConnection, "53300"},
		"closed database":  {closed, "55000"},
		"unknown setting":  {db.DSN + "&no_such_setting=1", "42704"},
		"no TLS":           {strings.Replace(db.DSN, "sslmode=disable", "sslmode=require", 1), "TLS"},
		"unknown host":     {changeDSN(t, db, func(u *url.URL) { u.Host = "missing.invalid:5432" }), "hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			handle := openLazily(t, c.dsn)
			s, _ := newStore(t, handle)
			for operation, err := range map[string]error{
				"migrate": store.Migrate(testContext(t), handle), "read": errOf(s.Schedules(testContext(t))),
				"write": s.InsertEvents(testContext(t), []hourbell.Event{{Kind: hourbell.EventEnabled}}),
				"check": s.CheckMigrated(testContext(t)),
			} {
				require.ErrorIs(t, err, hourbell.ErrUnavailable, operation)
				require.ErrorContains(t, err, c.want, operation)
			}
		})
	}
}

// A role that may not connect lacks a privilege, which waiting cannot fix.
func TestMissingConnectPrivilegeIsNotUnavailable(t *testing.T) {
	db := dbtest.Postgres(t)
	_, dsn := createRole(t, db, "LOGIN")
	var name string
	require.NoError(t, db.Raw("SELECT current_database()").Scan(&name).Error)
	require.NoError(t, db.Exec("REVOKE CONNECT ON DATABASE "+name+" FROM PUBLIC").Error)
	s, _ := newStore(t, openLazily(t, dsn))
	err := s.CheckMigrated(testContext(t))
	require.ErrorContains(t, err, "42501")
	require.ErrorContains(t, err, "lacks a privilege")
	require.NotErrorIs(t, err, hourbell.ErrUnavailable)
}

// lockedBuffer collects log output.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// startRun calls Run in a goroutine and returns its log. The end of the test
// stops it.
func startRun(t testing.TB, db *gorm.DB, cfg hourbell.Config) *lockedBuffer {
	t.Helper()
	log := &lockedBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	s, err := hourbell.New(store.New(db), cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return log
}

func awaitLog(t testing.TB, log *lockedBuffer, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), text) }, 30*time.Second, 5*time.Millisecond, text)
}

// O1: Run waits for a role that may not log in yet.
func TestRunWaitsForLogin(t *testing.T) {
	db := dbtest.Postgres(t)
	role, dsn := createRole(t, db, "NOLOGIN SUPERUSER")
	log := startRun(t, openLazily(t, dsn), hourbell.Config{})
	awaitLog(t, log, "hourbell: waiting for the database")
	require.Contains(t, log.String(), "28000")
	require.NoError(t, db.Exec("ALTER ROLE "+role+" LOGIN").Error)
	awaitLog(t, log, "hourbell: running")
}
