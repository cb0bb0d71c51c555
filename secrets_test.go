package hourbell_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"
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

// secret stands in a DSN, or among the arguments of a job. Its parts are looked for as they are and as a URL has them.
const secret = "s3same/öffne dich"

// keepsSecret fails the test where a text gives the secret away.
func keepsSecret(t *testing.T, where, text string) {
	t.Helper()
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "s3same"} {
		require.NotContains(t, text, form, where)
	}
}

// unconnected is a host's handle with a password, on a database that may not be there.
func unconnected(t *testing.T, address *url.URL) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(address.String()), &gorm.Config{DisableAutomaticPing: true, Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return db
}

// Where the database cannot be reached, no error and no line of the log says the password.
func TestNoErrorSaysThePassword(t *testing.T) {
	own, err := url.Parse(dbtest.EmptyPostgres(t).DSN)
	require.NoError(t, err)
	for name, change := range map[string]func(*url.URL){
		"the password is wrong": func(*url.URL) {},
		"nobody listens":        func(u *url.URL) { u.Host = "127.0.0.1:1" },
		"no such host":          func(u *url.URL) { u.Host = "database.invalid:5432" },
		"no such database":      func(u *url.URL) { u.Path = "/nowhere" },
		"no encryption":         func(u *url.URL) { u.RawQuery = "sslmode=require" },
		"no such user":          func(u *url.URL) { u.User = url.UserPassword("nobody", secret) },
	} {
		t.Run(name, func(t *testing.T) {
			address := *own
			address.User = url.UserPassword(own.User.Username(), secret)
			change(&address)
			var log logs
			db := unconnected(t, &address)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s := replica(t, db, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			_, tick := s.Tick(ctx)
			_, list := s.Schedules(ctx, hourbell.ScheduleQuery{})
			_, health := s.Health(ctx)
			_, runs := s.EnqueueAll(ctx, hourbell.EnqueueOptions{})
			for _, err := range []error{store.Migrate(ctx, db), s.Run(ctx), s.Sync(ctx), s.Enable(ctx, "a", hourbell.By{}), tick, list, health, runs} {
				require.Error(t, err)
				keepsSecret(t, name, err.Error())
			}
			keepsSecret(t, name, log.String())
		})
	}
}

// A migration that fails says which file and why, and nothing of the connection.
func TestAFailedMigrationSaysNoPassword(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	require.NoError(t, db.Exec("CREATE VIEW hourbell_events AS SELECT 1 AS id").Error) // in its way
	err := store.Migrate(t.Context(), db.DB)
	require.ErrorContains(t, err, "0001_init.sql")
	address, parsed := url.Parse(db.DSN)
	require.NoError(t, parsed)
	password, _ := address.User.Password()
	require.NotEmpty(t, password)
	require.NotContains(t, err.Error(), password)
}

// The loop, in an outage of its database, logs what is the matter, and neither the password nor the arguments of a job; nor
// does it log them when all is well, or when an Enqueuer fails.
func TestTheLogHoldsNoPasswordAndNoArguments(t *testing.T) {
	db := dbtest.Postgres(t)
	w := newWire(t, db)
	var log logs
	cfg := impatient(&log)
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Jobs = []hourbell.Job{{Name: "import", Args: map[string]string{"token": secret}}}
	broken := make(chan bool, 1)
	broken <- true
	cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error {
		select {
		case <-broken:
			return errors.New("the queue is full")
		default:
			return nil
		}
	})
	s := replica(t, w.open(t), cfg)
	stop := running(t, s)
	await(t, "a failure and a fire are logged", func() bool {
		return strings.Contains(log.String(), "the queue is full") && strings.Contains(log.String(), "hourbell: fired")
	})
	w.Cut()
	await(t, "the outage is logged", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, stop())
	keepsSecret(t, "the log", log.String())
	address, err := url.Parse(db.DSN)
	require.NoError(t, err)
	password, _ := address.User.Password()
	require.NotContains(t, log.String(), password)
}

// Whatever is in a text that comes from elsewhere, a record of the log is one line, has no escape sequence, and is what it says
// it is.
func TestNoTextForgesALineOfTheLog(t *testing.T) {
	const forged = "x\r\nlevel=INFO msg=\"hourbell: stopped\"\n{\"level\":\"INFO\",\"msg\":\"forged\"}\n\x1b[2J\x1b]0;y\x07\x00\u2028\xff"
	for name, handler := range map[string]func(*logs) slog.Handler{
		"text": func(l *logs) slog.Handler { return slog.NewTextHandler(l, nil) },
		"json": func(l *logs) slog.Handler { return slog.NewJSONHandler(l, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			db := dbtest.SQLite(t)
			var log logs
			now := newClock(noon.Add(-time.Minute))
			cfg := definitions(now, hourly("a"), hourly("b"))
			cfg.Logger = slog.New(handler(&log))
			cfg.Enqueuer = enqueuer(func(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errors.New(forged) })
			s := synced(t, db.DB, cfg)
			now.Set(noon)
			require.Equal(t, 2, tick(t, s).Failed)
			require.NoError(t, db.Exec("UPDATE hourbell_schedules SET locked_by = ?, locked_at = ?, held_until = NULL WHERE id = 'b'", forged, noon.Add(-time.Hour).UnixMicro()).Error)
			now.Advance(time.Hour)
			tick(t, s)
			require.NoError(t, s.Disable(t.Context(), "a", hourbell.By{Actor: forged, Note: forged}))
			require.NoError(t, db.Exec("UPDATE hourbell_schedules SET cron = ?, time_zone = ?, target = ? WHERE id = 'b'", forged, forged, forged).Error)
			now.Advance(time.Hour)
			_, _ = s.Tick(t.Context())
			require.Contains(t, log.String(), "forged", "or nothing was tried")
			for line := range strings.Lines(log.String()) {
				require.NotContains(t, strings.TrimSuffix(line, "\n"), "\r")
				require.NotContains(t, line, "\x1b")
				if name == "json" {
					var record struct{ Msg string }
					require.NoError(t, json.Unmarshal([]byte(line), &record), line)
					require.True(t, strings.HasPrefix(record.Msg, "hourbell: "), line)
					continue
				}
				require.Regexp(t, `^time=\S+ level=\w+ msg="?hourbell: `, line)
			}
		})
	}
}
