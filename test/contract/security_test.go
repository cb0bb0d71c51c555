package contract_test

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

// secret is the password of a DSN or an argument of a job.
const secret = "s3same/öffne dich"

// requireNoSecret checks that a text contains the secret in no form, neither
// plain nor URL-encoded.
func requireNoSecret(t *testing.T, source, text string) {
	t.Helper()
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "s3same"} {
		require.NotContains(t, text, form, source)
	}
}

// openUnchecked opens a database that may not exist, without connecting.
func openUnchecked(t *testing.T, address *url.URL) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(address.String()), &gorm.Config{DisableAutomaticPing: true, Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return db
}

// If the database is unreachable, neither errors nor the log contain the
// password.
func TestConnectionErrorsOmitPassword(t *testing.T) {
	valid, err := url.Parse(dbtest.EmptyPostgres(t).DSN)
	require.NoError(t, err)
	for name, change := range map[string]func(*url.URL){
		"wrong password":     func(*url.URL) {},
		"connection refused": func(u *url.URL) { u.Host = "127.0.0.1:1" },
		"unknown host":       func(u *url.URL) { u.Host = "database.invalid:5432" },
		"unknown database":   func(u *url.URL) { u.Path = "/unknown" },
		"no encryption":      func(u *url.URL) { u.RawQuery = "sslmode=require" },
		"unknown user":       func(u *url.URL) { u.User = url.UserPassword("unknown", secret) },
	} {
		t.Run(name, func(t *testing.T) {
			address := *valid
			address.User = url.UserPassword(valid.User.Username(), secret)
			change(&address)
			var log logBuffer
			db := openUnchecked(t, &address)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s := newReplica(t, db, hourbell.Config{Definitions: []hourbell.Definition{hourly("a")}, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			_, tickErr := s.Tick(ctx)
			_, listErr := s.Schedules(ctx, hourbell.ScheduleQuery{})
			_, healthErr := s.Health(ctx)
			_, enqueueErr := s.EnqueueAll(ctx, hourbell.EnqueueOptions{})
			runCtx, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- s.Run(runCtx) }()
			await(t, "Run waits or fails", func() bool {
				return strings.Contains(log.String(), "hourbell: waiting for the database") || strings.Contains(log.String(), "hourbell: run failed")
			})
			stop()
			if err := <-ended; err != nil {
				requireNoSecret(t, name, err.Error())
			}
			for _, err := range []error{
				store.Migrate(ctx, db), s.Sync(ctx), s.Enable(ctx, "a", hourbell.ChangeOptions{}),
				tickErr, listErr, healthErr, enqueueErr,
			} {
				require.Error(t, err)
				requireNoSecret(t, name, err.Error())
			}
			requireNoSecret(t, name, log.String())
		})
	}
}

// The error of a failed migration names the file but not the password.
func TestMigrationErrorOmitsPassword(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	require.NoError(t, db.Exec("CREATE VIEW hourbell_events AS SELECT 1 AS id").Error) // conflicts with the table
	err := store.Migrate(t.Context(), db.DB)
	require.ErrorContains(t, err, "0001_init.sql")
	address, parseErr := url.Parse(db.DSN)
	require.NoError(t, parseErr)
	password, _ := address.User.Password()
	require.NotEmpty(t, password)
	require.NotContains(t, err.Error(), password)
}

// The log contains neither the password nor the arguments of jobs: not for a
// fire, not for a failure of the Enqueuer, and not for a database outage.
func TestLogOmitsPasswordAndJobArguments(t *testing.T) {
	db := dbtest.Postgres(t)
	network := newProxy(t, db)
	var log logBuffer
	cfg := newLoopConfig(&log)
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Jobs = []hourbell.Job{{Name: "import", Args: map[string]string{"token": secret}}}
	failOnce := make(chan struct{}, 1)
	failOnce <- struct{}{}
	cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error {
		select {
		case <-failOnce:
			return errors.New("the queue is full")
		default:
			return nil
		}
	})
	s := newReplica(t, network.open(t), cfg)
	stop := startLoop(t, s)
	await(t, "the log has a failure and a fire", func() bool {
		return strings.Contains(log.String(), "the queue is full") && strings.Contains(log.String(), "hourbell: fired")
	})
	network.cut()
	await(t, "the log has the outage", func() bool { return strings.Contains(log.String(), "tick failed") })
	require.NoError(t, stop())
	requireNoSecret(t, "the log", log.String())
	address, err := url.Parse(db.DSN)
	require.NoError(t, err)
	password, _ := address.User.Password()
	require.NotContains(t, log.String(), password)
}

// A log record is one line with hourbell's message and without escape
// sequences, whatever text it contains.
func TestTextCannotForgeLogLine(t *testing.T) {
	const forged = "x\r\nlevel=INFO msg=\"hourbell: stopped\"\n{\"level\":\"INFO\",\"msg\":\"forged\"}\n\x1b[2J\x1b]0;y\x07\x00\u2028\xff"
	for name, newHandler := range map[string]func(*logBuffer) slog.Handler{
		"text": func(b *logBuffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *logBuffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			db := dbtest.SQLite(t)
			var log logBuffer
			now := newClock(noon.Add(-time.Minute))
			cfg := newConfig(now, hourly("a"), hourly("b"))
			cfg.Logger = slog.New(newHandler(&log))
			cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return errors.New(forged) })
			s := newSyncedReplica(t, db.DB, cfg)
			now.Set(noon)
			require.Equal(t, 2, tick(t, s).Failed)
			require.NoError(t, db.Exec("UPDATE hourbell_schedules SET locked_by = ?, locked_at = ?, retry_at = NULL WHERE id = 'b'", forged, noon.Add(-time.Hour).UnixMicro()).Error)
			now.Advance(time.Hour)
			tick(t, s)
			require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: forged, Note: forged}))
			require.NoError(t, db.Exec("UPDATE hourbell_schedules SET cron = ?, time_zone = ?, target = ? WHERE id = 'b'", forged, forged, forged).Error)
			now.Advance(time.Hour)
			_, _ = s.Tick(t.Context())
			require.Contains(t, log.String(), "forged", "the text is in the log")
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
