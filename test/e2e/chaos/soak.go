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

// The soak is one process with three replicas that fire hundreds of schedules each second, execute their runs and are
// looked at by people. There are no faults. What is watched is the process, which must not grow; the tables do, for
// nothing is old enough to be deleted.

// soakHosts are its replicas.
var soakHosts = []kind{tableHost, tableHost, engineHost}

// soak runs the replicas, prints the curve and fails where it rises.
func soak(ctx context.Context, o options, out io.Writer) error {
	samples, err := soakCurve(ctx, o, out)
	if err != nil {
		return err
	}
	return judge(samples, out)
}

func soakCurve(ctx context.Context, o options, out io.Writer) ([]sample, error) {
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
	var working sync.WaitGroup
	pools, errs := make([]*sql.DB, len(soakHosts)), make([]error, len(soakHosts))
	for i, k := range soakHosts {
		db, own, err := openPool(server.URL)
		if err != nil {
			stop()
			return nil, err
		}
		pools[i] = own
		working.Go(func() { errs[i] = soakReplica(ctx, k, store.New(db), own, o.Schedules) })
	}
	samples := watch(ctx, o.Time, pool, pools, out)
	interrupted := ctx.Err()
	stop()
	working.Wait()
	for _, err := range append(errs, interrupted) {
		if err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// soakReplica is a backend: the loop, the admin handler, an executor, and somebody who looks at the page.
func soakReplica(ctx context.Context, k kind, st hourbell.Store, pool *sql.DB, schedules int) error {
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
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { serve(ctx, server, listener) })
	beside.Go(func() { execute(ctx, k, scheduler, pool, log) })
	beside.Go(func() { look(ctx, "http://"+listener.Addr().String()) })
	return scheduler.Run(ctx)
}

// look asks for what the page and its script ask for, and runs something now at times.
func look(ctx context.Context, host string) {
	client := &http.Client{Timeout: clickTimeout}
	defer client.CloseIdleConnections()
	ask := func(method, path string) {
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
			ask(http.MethodGet, path)
		}
		ask(http.MethodPost, "/api/schedules/s001/run")
		sleep(ctx, 500*time.Millisecond)
	}
}
