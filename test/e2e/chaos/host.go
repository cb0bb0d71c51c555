package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/timing"
	"github.com/hourbell/hourbell/store"
)

// The driver configures a host through these variables. The host's listener is
// file 3, so that the address stays the same across processes.
const (
	databaseEnv  = "DATABASE_URL"
	nameEnv      = "HOURBELL_CHAOS_NAME"
	schedulesEnv = "HOURBELL_CHAOS_SCHEDULES"
	clockEnv     = "HOURBELL_CHAOS_CLOCK" // how far the process clock is ahead
)

// exitNotStarted is the exit code of a host that could not start, for example
// because there was no database. The host is then restarted.
const exitNotStarted = 3

// poolSize is small, so that exhausting the pool has an effect soon.
const poolSize = 8

// hostMain runs a small backend: the loop, the admin handler and an executor.
func hostMain(role string) int {
	offset, err := time.ParseDuration(os.Getenv(clockEnv))
	if err != nil {
		panic(err)
	}
	timing.Now = func() time.Time { return time.Now().Add(offset) }
	go func() { // the driver alone holds the other end, so the host exits with it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	if err := runHost(ctx, hostKind(role), log); err != nil {
		log.Error("chaos: host did not start", "error", err)
		return exitNotStarted
	}
	log.Info("chaos: host ended")
	return 0
}

func runHost(ctx context.Context, role hostKind, log *slog.Logger) error {
	n, err := strconv.Atoi(os.Getenv(schedulesEnv))
	if err != nil {
		return err
	}
	db, pool, err := openPool(os.Getenv(databaseEnv))
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	scheduler, err := hourbell.New(store.New(db), hostConfig(role, n, log))
	if err != nil {
		return err
	}
	server, err := newServer(scheduler, pool, log)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("open the inherited listener: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { serve(ctx, server, listener) })
	background.Go(func() { execute(ctx, role, scheduler, pool, log) })
	err = scheduler.Run(ctx)
	stop()
	background.Wait()
	return err
}

func hostConfig(role hostKind, schedules int, log *slog.Logger) hourbell.Config {
	cfg := hourbell.Config{
		Namespace: string(role), Jobs: declaredJobs, Definitions: definitionsOf(role, schedules), LockTTL: lockTTL, PollInterval: poll,
		Grace: grace, Logger: log,
		BatchSize: max(schedules/8, 1), // small enough that a full second needs several connections
	}
	if role == engineHost {
		cfg.Enqueuer = engine{}
	}
	return cfg
}

// openPool opens a pool as a backend does. It does not connect yet.
func openPool(dsn string) (*gorm.DB, *sql.DB, error) {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{DisableAutomaticPing: true, Logger: logger.Discard})
	if err != nil {
		return nil, nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, err
	}
	pool.SetMaxOpenConns(poolSize)
	pool.SetMaxIdleConns(poolSize)
	pool.SetConnMaxIdleTime(30 * time.Second)
	return db, pool, nil
}

// actorHeader names the operator who sends a request.
const actorHeader = "X-Actor"

func newServer(scheduler *hourbell.Scheduler, pool *sql.DB, log *slog.Logger) (*http.Server, error) {
	handler, err := admin.New(scheduler, admin.Config{Logger: log, Authorize: func(r *http.Request, _ admin.Action) (string, error) {
		return r.Header.Get(actorHeader), nil
	}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/", http.StripPrefix("/admin", handler))
	mux.HandleFunc("POST /hog", func(_ http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		hog(r.Context(), pool, d)
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, nil
}

// hog holds every connection of the pool for a while, as code of the host
// might.
func hog(ctx context.Context, pool *sql.DB, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for range poolSize {
		if conn, err := pool.Conn(ctx); err == nil {
			defer func() { _ = conn.Close() }()
		}
	}
	<-ctx.Done()
}

// serve serves requests until ctx ends. It then aborts the requests in
// progress: an operator may lose a response.
func serve(ctx context.Context, server *http.Server, listener net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
}
