// Command backend is the backend of a small web shop, with gorm models, a
// router with middleware, and users with rights. It shows how an existing
// backend adopts hourbell. A comment that begins with "hourbell:" marks the
// added lines, up to the next empty line. The file jobs.go is new as a whole.
//
//	go run ./examples/backend     # on SQLite, in ./backend.db; DATABASE_URL=postgres://… for Postgres
//
// It logs the passwords of its two users. The user ada is an administrator; bob
// may only read. The schedules are at http://localhost:8081/admin/schedules/.
// From another terminal:
//
//	curl -u ada:PASSWORD localhost:8081/orders -d '{"customer": 1, "amount": 120}'          # enqueue its invoice
//	curl -u ada:PASSWORD localhost:8081/invoices                                            # list the invoices
//	curl -u ada:PASSWORD localhost:8081/admin/schedules/api/schedules                       # list the schedules
//	curl -u ada:PASSWORD -X POST localhost:8081/admin/schedules/api/schedules/remind/enable # enable a schedule
//
// ADDR is the address and defaults to 127.0.0.1:8081. ADA_PASSWORD and
// BOB_PASSWORD set the passwords.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	db, err := openDatabase(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	if err := db.WithContext(ctx).AutoMigrate(&Customer{}, &Order{}, &Invoice{}); err != nil {
		return err
	}
	if err := addCustomers(ctx, db); err != nil {
		return err
	}
	b := &backend{db: db, log: log, users: loadUsers(os.Getenv, log)}

	// hourbell: create its tables and the scheduler. See jobs.go.
	if err := store.Migrate(ctx, db); err != nil {
		return err
	}
	if b.scheduler, err = hourbell.New(store.New(db), hourbell.Config{Jobs: jobs, Definitions: schedules, Logger: log}); err != nil {
		return err
	}

	handler, err := b.routes()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8081"))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	failed := make(chan error, 2)
	start := func(part func(context.Context) error) {
		running.Go(func() {
			defer stop() // if one part ends, all end
			if err := part(ctx); err != nil {
				failed <- err
			}
		})
	}
	start(func(ctx context.Context) error { return b.serve(ctx, listener, handler) })

	// hourbell: run the loop, and a worker that executes the runs.
	start(b.scheduler.Run)
	start(b.work)

	running.Wait()
	close(failed)
	return <-failed
}

// serve serves requests until ctx ends. It then waits up to three seconds for
// the requests in progress.
func (b *backend) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadTimeout: 30 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdownCtx) // after the deadline, open connections break
	}()
	b.log.Info("listening", "url", "http://"+listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
