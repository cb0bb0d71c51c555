// Command demo is a backend with hourbell in it: it declares 23 jobs and four cron schedules, runs the loop, and
// executes what the loop enqueues. Three schedules wait for somebody to enable them; the fourth fires every five
// seconds.
//
//	go run ./examples/demo                        # on SQLite, in ./hourbell-demo.db
//	go run ./examples/demo -list                  # the schedules, from another terminal
//	go run ./examples/demo -plan                  # what a start would change of them
//	go run ./examples/demo -run hourly-matching   # enqueue its jobs now
//	go run ./examples/demo -enable feed-refresh   # let it fire
//
// With DATABASE_URL=postgres://user:password@host:5432/database it keeps its tables there. Start it twice on one
// database and the two share the work. ADDR is the address of its admin page, 127.0.0.1:8080 by default; the log names the URL.
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
	// What breaks off because it was told to stop is no failure.
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", strings.Join(strings.Fields(err.Error()), " ")) // drivers use several lines
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	enable := flag.String("enable", "", "let the schedule `ID` fire, and exit")
	disable := flag.String("disable", "", "stop the schedule `ID`, and exit")
	now := flag.String("run", "", "enqueue the jobs of the schedule `ID` now, and exit")
	show := flag.Bool("list", false, "list the schedules, and exit")
	plan := flag.Bool("plan", false, "say what a start would change of the stored schedules, and exit")
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
	if *plan {
		return dryRun(ctx, scheduler)
	}
	if err := scheduler.Sync(ctx); err != nil {
		return err
	}
	switch {
	case *now != "":
		return runNow(ctx, scheduler, *now)
	case *enable != "":
		err = scheduler.Enable(ctx, *enable, you)
	case *disable != "":
		err = scheduler.Disable(ctx, *disable, you)
	case !*show:
		if err := announce(ctx, scheduler, log); err != nil {
			return err
		}
		return serveAll(ctx, scheduler, log)
	}
	if err != nil {
		return err
	}
	return list(ctx, scheduler)
}

// announce logs what is stored, and how to see it fire.
func announce(ctx context.Context, scheduler *hourbell.Scheduler, log *slog.Logger) error {
	page, err := scheduler.Schedules(ctx, hourbell.ScheduleQuery{})
	if err != nil {
		return err
	}
	for _, s := range page.Schedules {
		log.Info("schedule", "id", s.ID, "cron", s.Cron, "zone", s.TimeZone, "enabled", s.Enabled, "next", instant(s.NextRunAt))
	}
	log.Info("from another terminal", "run", "go run ./examples/demo -run hourly-matching", "enable", "go run ./examples/demo -enable feed-refresh")
	return nil
}

// serveAll runs the loop, a worker and the API beside it, until ctx ends.
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
	err = serve(ctx, scheduler, newWorker(scheduler, log))
	stop()
	serving.Wait()
	return err
}

// serve runs the loop, and a worker beside it, until ctx ends.
func serve(ctx context.Context, scheduler *hourbell.Scheduler, w *worker) error {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { w.work(ctx) })
	err := scheduler.Run(ctx)
	stop()
	working.Wait()
	return err
}
