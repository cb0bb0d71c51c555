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
	"github.com/hourbell/hourbell/store"
)

// What a host is told by whoever starts it. Its listener comes as file 3, so that its address outlives it.
const (
	databaseEnv  = "DATABASE_URL"
	nameEnv      = "HOURBELL_CHAOS_NAME"
	schedulesEnv = "HOURBELL_CHAOS_SCHEDULES"
	clockEnv     = "HOURBELL_CHAOS_CLOCK" // how far its clock is ahead; see build.sh
)

// exitUnstarted is the code of a host that could not start, as when there is no database. It is started again.
const exitUnstarted = 3

// poolSize is small, so that holding all of it is soon felt.
const poolSize = 8

// hostMain is a small backend: the loop, the admin handler, and something that executes.
func hostMain(role string) int {
	go func() { // only the driver holds the other end, so this ends when the driver does, however it does
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	if err := runHost(ctx, kind(role), log); err != nil {
		log.Error("host did not start", "error", err)
		return exitUnstarted
	}
	log.Info("host ended")
	return 0
}

func runHost(ctx context.Context, role kind, log *slog.Logger) error {
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
		return fmt.Errorf("the listener that was handed over: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { serve(ctx, server, listener) })
	beside.Go(func() { execute(ctx, role, scheduler, pool, log) })
	err = scheduler.Run(ctx)
	stop()
	beside.Wait()
	return err
}

func hostConfig(role kind, schedules int, log *slog.Logger) hourbell.Config {
	cfg := hourbell.Config{
		Namespace: string(role), Jobs: declaredJobs, Definitions: schedulesOf(role, schedules), LockTTL: lockTTL, PollInterval: poll,
		Grace: grace, Logger: log,
		BatchSize: max(schedules/8, 1), // so that what comes due in one second is shared by several connections
	}
	if role == engineHost {
		cfg.Enqueuer = engine{}
	}
	return cfg
}

// openPool opens a pool as a backend would. It does not connect yet.
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

// actorHeader names who clicks.
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

// hog is the host's own code when it takes every connection there is, for a while.
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

// serve answers requests until ctx ends. Those under way are then cut off: a click may lose its answer.
func serve(ctx context.Context, server *http.Server, listener net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
}
