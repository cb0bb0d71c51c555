// Command backend is a small web shop's backend, as it may have been for years: gorm models, a router with middleware,
// users with rights. It has adopted hourbell: what was added for that is marked with "hourbell:" comments, each of which
// stands for the lines down to the next empty one, and is the whole of jobs.go.
//
//	go run ./examples/backend     # on SQLite, in ./backend.db; DATABASE_URL=postgres://… for Postgres
//
// It prints the passwords of its two users: ada runs the shop, bob may look. The schedules are on the page at
// http://localhost:8081/admin/schedules/. From another terminal:
//
//	curl -u ada:PASSWORD localhost:8081/orders -d '{"customer": 1, "amount": 120}'          # enqueues its invoice
//	curl -u ada:PASSWORD localhost:8081/invoices                                            # which the worker has written
//	curl -u ada:PASSWORD localhost:8081/admin/schedules/api/schedules                       # what is scheduled
//	curl -u ada:PASSWORD -X POST localhost:8081/admin/schedules/api/schedules/remind/enable # let it fire
//
// ADDR is its address, 127.0.0.1:8081 by default; ADA_PASSWORD and BOB_PASSWORD are its users' passwords.
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
	b := &backend{db: db, log: log, users: usersFrom(os.Getenv, log)}

	// hourbell: its tables, and what is declared in jobs.go.
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
			defer stop() // all or none
			if err := part(ctx); err != nil {
				failed <- err
			}
		})
	}
	start(func(ctx context.Context) error { return b.serve(ctx, listener, handler) })

	// hourbell: the loop, in every replica, and a worker that executes what it enqueues.
	start(b.scheduler.Run)
	start(b.work)

	running.Wait()
	close(failed)
	return <-failed
}

// serve answers requests until ctx ends, and then finishes those under way.
func (b *backend) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadTimeout: 30 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(last) // who is still reading then is cut off
	}()
	b.log.Info("listening", "url", "http://"+listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
