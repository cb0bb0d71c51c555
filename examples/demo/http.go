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

// Where the admin page is: on this machine alone, unless ADDR says otherwise.
const (
	standardAddress = "127.0.0.1:8080"
	prefix          = "/admin/schedules"
)

// listen opens the address that ADDR names. Where it names none and the standard one is taken, as by another demo, any
// other port will do.
func listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	if address := os.Getenv("ADDR"); address != "" {
		listener, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("ADDR: %w", err)
		}
		return listener, nil
	}
	listener, err := config.Listen(ctx, "tcp", standardAddress)
	if err != nil {
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	return listener, err
}

// newServer serves the admin page and its API. A backend has a router, and mounts the handler there.
func newServer(scheduler *hourbell.Scheduler, log *slog.Logger) (*http.Server, error) {
	// Whoever reaches the demo may do everything. A backend asks its own users' rights here.
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: log})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", http.StripPrefix(prefix, handler))
	return &http.Server{Handler: mux, ReadTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}, nil
}

// serveHTTP answers requests until ctx ends, and then finishes those under way.
func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener, log *slog.Logger) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(last) // who is still reading then is cut off
	}()
	log.Info("the admin page", "url", "http://"+listener.Addr().String()+prefix+"/")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Error("HTTP server ended", "error", err)
		return
	}
	<-stopped
}
