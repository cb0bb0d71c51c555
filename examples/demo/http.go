package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
)

const (
	defaultAddress = "127.0.0.1:8080" // reachable from this machine only
	prefix         = "/admin/schedules"
)

// listen listens on ADDR. If ADDR is unset and the default address is in use,
// for example by another demo, it listens on any free port.
func listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	if address := os.Getenv("ADDR"); address != "" {
		listener, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("ADDR: %w", err)
		}
		return listener, nil
	}
	listener, err := config.Listen(ctx, "tcp", defaultAddress)
	if err != nil {
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return listener, err
}

// newServer returns a server for the admin page and its API. A real backend
// mounts the handler on its own router.
func newServer(scheduler *hourbell.Scheduler, log *slog.Logger) (*http.Server, error) {
	// Every client may do everything. A real backend checks rights here.
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: log})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, handler))
	return &http.Server{Handler: mux, ReadTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}, nil
}

// serveHTTP serves requests until ctx ends. It then waits up to three seconds
// for the requests in progress.
func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener, log *slog.Logger) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdownCtx) // after the deadline, open connections break
	}()
	log.Info("admin page", "url", "http://"+listener.Addr().String()+prefix+"/")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("HTTP server failed", "error", err)
		return
	}
	<-stopped
}
