package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/store"
)

// The soak runs several replicas in one process. They fire hundreds of
// schedules per second, execute the runs and serve an operator, without faults.
// The process must not grow. The tables do, because no row is old enough to be
// deleted.

// soakHosts lists the replicas.
var soakHosts = []hostKind{tableHost, tableHost, engineHost}

// soak runs the replicas, prints samples and fails if they rise.
func soak(ctx context.Context, o options, out io.Writer) error {
	samples, err := soakSamples(ctx, o, out)
	if err != nil {
		return err
	}
	return checkSamples(samples, out)
}

func soakSamples(ctx context.Context, o options, out io.Writer) ([]sample, error) {
	if err := os.Setenv(cluster.FsyncEnv, "1"); err != nil {
		return nil, err
	}
	server, err := cluster.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Stop() }()
	db, pool, err := openPool(server.URL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = pool.Close() }()
	if err := prepare(ctx, db); err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(out, "soak: %v, %d replicas in one process, %d schedules\n", o.Time, len(soakHosts), o.Schedules)

	ctx, stop := context.WithCancel(ctx)
	var replicas sync.WaitGroup
	pools, errs := make([]*sql.DB, len(soakHosts)), make([]error, len(soakHosts))
	for i, k := range soakHosts {
		db, own, err := openPool(server.URL)
		if err != nil {
			stop()
			return nil, err
		}
		pools[i] = own
		replicas.Go(func() { errs[i] = soakReplica(ctx, k, store.New(db), own, o.Schedules) })
	}
	samples := takeSamples(ctx, o.Time, pool, pools, out)
	interrupted := ctx.Err()
	stop()
	replicas.Wait()
	for _, err := range append(errs, interrupted) {
		if err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// soakReplica runs a backend (the loop, the admin handler and an executor) and
// an operator who uses it.
func soakReplica(ctx context.Context, k hostKind, st hourbell.Store, pool *sql.DB, schedules int) error {
	defer func() { _ = pool.Close() }()
	log := slog.New(slog.DiscardHandler)
	cfg := hostConfig(k, schedules, log)
	cfg.Retention = time.Hour
	scheduler, err := hourbell.New(st, cfg)
	if err != nil {
		return err
	}
	server, err := newServer(scheduler, pool, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { serve(ctx, server, listener) })
	background.Go(func() { execute(ctx, k, scheduler, pool, log) })
	background.Go(func() { soakOperator(ctx, "http://"+listener.Addr().String()) })
	return scheduler.Run(ctx)
}

// soakOperator repeatedly requests what the page and its script request, and
// runs a schedule.
func soakOperator(ctx context.Context, host string) {
	client := &http.Client{Timeout: actionTimeout}
	defer client.CloseIdleConnections()
	send := func(method, path string) {
		request, err := http.NewRequestWithContext(ctx, method, host+"/admin"+path, nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Idempotency-Key", strconv.FormatInt(time.Now().UnixNano(), 10))
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}
	for ctx.Err() == nil {
		for _, path := range []string{"/", "/api/schedules", "/api/runs", "/api/health", "/api/schedules/s001/events"} {
			send(http.MethodGet, path)
		}
		send(http.MethodPost, "/api/schedules/s001/run")
		sleep(ctx, 500*time.Millisecond)
	}
}
