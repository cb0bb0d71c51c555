// Command demo is a small backend that uses hourbell. It declares 23 jobs and
// four cron schedules, runs the loop, and executes the runs that the loop
// enqueues. Three schedules are disabled until you enable them. The fourth
// fires every five seconds.
//
//	go run ./examples/demo                        # on SQLite, in ./hourbell-demo.db
//	go run ./examples/demo -list                  # list the schedules, from another terminal
//	go run ./examples/demo -plan                  # print what the next start would change
//	go run ./examples/demo -run hourly-matching   # enqueue the jobs of a schedule now
//	go run ./examples/demo -enable feed-refresh   # enable a schedule
//
// Set DATABASE_URL=postgres://user:password@host:5432/database to use
// Postgres. Two demos on one database share the work. ADDR is the address of
// the admin page and defaults to 127.0.0.1:8080; the log shows the URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// An error after the stop signal comes from the canceled context.
	if err := run(ctx); err != nil && ctx.Err() == nil {
		message := strings.Join(strings.Fields(err.Error()), " ") // the messages of drivers span lines
		fmt.Fprintln(os.Stderr, "demo:", message)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	enableID := flag.String("enable", "", "enable the schedule `ID`, and exit")
	disableID := flag.String("disable", "", "disable the schedule `ID`, and exit")
	runID := flag.String("run", "", "enqueue the jobs of the schedule `ID` now, and exit")
	listOnly := flag.Bool("list", false, "list the schedules, and exit")
	planOnly := flag.Bool("plan", false, "print what the next start would change, and exit")
	flag.Parse()

	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	db, err := openDatabase(ctx, log)
	if err != nil {
		return err
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	scheduler, err := hourbell.New(store.New(db), hourbell.Config{Jobs: jobs, Definitions: schedules, Logger: log})
	if err != nil {
		return err
	}
	if *planOnly {
		return printPlan(ctx, scheduler)
	}
	if err := scheduler.Sync(ctx); err != nil {
		return err
	}
	switch {
	case *runID != "":
		return runNow(ctx, scheduler, *runID)
	case *enableID != "":
		err = scheduler.Enable(ctx, *enableID, hourbell.ChangeOptions{Actor: actor})
	case *disableID != "":
		err = scheduler.Disable(ctx, *disableID, hourbell.ChangeOptions{Actor: actor})
	case !*listOnly:
		if err := logSchedules(ctx, scheduler, log); err != nil {
			return err
		}
		return serveAll(ctx, scheduler, log)
	}
	if err != nil {
		return err
	}
	return printSchedules(ctx, scheduler)
}

// logSchedules logs the stored schedules and two commands to try.
func logSchedules(ctx context.Context, scheduler *hourbell.Scheduler, log *slog.Logger) error {
	page, err := scheduler.Schedules(ctx, hourbell.ScheduleQuery{})
	if err != nil {
		return err
	}
	for _, s := range page.Schedules {
		log.Info("schedule", "id", s.ID, "cron", s.Cron, "zone", s.TimeZone, "enabled", s.Enabled, "next", formatTime(s.NextRunAt))
	}
	log.Info("try from another terminal", "run", "go run ./examples/demo -run hourly-matching", "enable", "go run ./examples/demo -enable feed-refresh")
	return nil
}

// serveAll runs the loop, a job worker and the HTTP server until ctx ends.
func serveAll(ctx context.Context, scheduler *hourbell.Scheduler, log *slog.Logger) error {
	listener, err := listen(ctx)
	if err != nil {
		return err
	}
	server, err := newServer(scheduler, log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { serveHTTP(ctx, server, listener, log) })
	err = runLoop(ctx, scheduler, newWorker(scheduler, log))
	stop()
	serving.Wait()
	return err
}

// runLoop runs the loop and a job worker until ctx ends.
func runLoop(ctx context.Context, scheduler *hourbell.Scheduler, w *worker) error {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { w.work(ctx) })
	err := scheduler.Run(ctx)
	stop()
	working.Wait()
	return err
}
