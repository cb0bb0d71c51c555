package hourbell_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// Declare jobs and schedules, create the tables, and let the loop fire. A host calls Run, which blocks; here the
// clock is set by hand, and Tick makes one pass.
func Example() {
	ctx := context.Background()
	db := hostDB()
	now := time.Date(2026, 6, 1, 11, 50, 0, 0, time.UTC)

	if err := store.Migrate(ctx, db); err != nil {
		log.Fatal(err)
	}
	scheduler, err := hourbell.New(store.New(db), hourbell.Config{
		Jobs: []hourbell.Job{
			{Name: "match-payments", Group: "matching"},
			{Name: "import-prices", Group: "feed"},
			{Name: "publish-offers", Group: "feed"},
		},
		Definitions: []hourbell.Definition{
			{ID: "daily-full-sync", Cron: "0 2 * * *", TimeZone: "Europe/Berlin", Target: hourbell.AllJobs()},
			{ID: "feed-refresh", Cron: "*/15 * * * *", Target: hourbell.Group("feed")},
		},
		Now: func() time.Time { return now },
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := scheduler.Sync(ctx); err != nil {
		log.Fatal(err)
	}

	// Schedules are disabled until somebody enables them.
	err = scheduler.Enable(ctx, "feed-refresh", hourbell.By{Actor: "ada", Note: "the partner feed is live"})
	if err != nil {
		log.Fatal(err)
	}

	now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	report, err := scheduler.Tick(ctx)
	fmt.Println("fired:", report.Fired, "enqueued:", report.Enqueued, "error:", err)

	runs, err := scheduler.TakeRuns(ctx, hourbell.TakeRequest{Worker: "worker-1", Limit: 10})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range runs {
		fmt.Println(run.Key())
		if err := scheduler.FinishRun(ctx, run, nil); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// fired: 1 enqueued: 2 error: <nil>
	// default/feed-refresh@2026-06-01T12:00:00Z/import-prices
	// default/feed-refresh@2026-06-01T12:00:00Z/publish-offers
}

// A run enqueued in the host's own transaction exists if, and only if, that transaction commits.
func ExampleScheduler_EnqueueJob() {
	ctx := context.Background()
	db, scheduler := newHost(nil)

	order := func(fail bool) error {
		return db.Transaction(func(tx *gorm.DB) error {
			// … the host's own writes …
			_, err := scheduler.EnqueueJob(ctx, "send-invoice", hourbell.EnqueueOptions{Tx: tx, Args: map[string]int{"order": 4711}})
			if fail {
				return errors.New("out of stock")
			}
			return err
		})
	}
	fmt.Println(order(true))
	fmt.Println(order(false))

	runs, err := scheduler.Runs(ctx, hourbell.RunQuery{})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range runs {
		fmt.Println(run.Job, run.Trigger, run.Status, string(run.Args))
	}
	// Output:
	// out of stock
	// <nil>
	// send-invoice API QUEUED {"order":4711}
}

// outbox hands runs to a table of the host's, in the transaction that enqueues them.
type outbox struct{}

type message struct {
	ID    string `gorm:"primaryKey"`
	Topic string
}

func (outbox) Enqueue(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
	messages := make([]message, len(runs))
	for i, run := range runs {
		messages[i] = message{ID: run.Key(), Topic: run.Job}
	}
	return tx.WithContext(ctx).Create(&messages).Error
}

// An Enqueuer hands the runs on to an engine, or to a job table that the host already has.
func ExampleEnqueuer() {
	ctx := context.Background()
	db, scheduler := newHost(outbox{})
	if err := db.AutoMigrate(&message{}); err != nil {
		log.Fatal(err)
	}

	// The same key enqueues once, however often the request is repeated.
	for range 2 {
		_, err := scheduler.EnqueueAll(ctx, hourbell.EnqueueOptions{Key: "import-2026-06-01"})
		if err != nil {
			log.Fatal(err)
		}
	}
	var messages []message
	if err := db.Order("id").Find(&messages).Error; err != nil {
		log.Fatal(err)
	}
	for _, m := range messages {
		fmt.Println(m.ID)
	}
	// Output:
	// default#import-2026-06-01/archive-orders
	// default#import-2026-06-01/send-invoice
}

// hostDB stands for the database of the host. This one is in memory, and so has one connection.
func hostDB() *gorm.DB {
	db, err := gorm.Open(sqlite.Open(":memory:"))
	if err != nil {
		log.Fatal(err)
	}
	pool, err := db.DB()
	if err != nil {
		log.Fatal(err)
	}
	pool.SetMaxOpenConns(1)
	hostPools = append(hostPools, pool)
	return db
}

// newHost stands for a host that has migrated its database and declared two jobs.
func newHost(enqueuer hourbell.Enqueuer) (*gorm.DB, *hourbell.Scheduler) {
	db := hostDB()
	if err := store.Migrate(context.Background(), db); err != nil {
		log.Fatal(err)
	}
	scheduler, err := hourbell.New(store.New(db), hourbell.Config{
		Jobs:     []hourbell.Job{{Name: "archive-orders"}, {Name: "send-invoice"}},
		Enqueuer: enqueuer,
	})
	if err != nil {
		log.Fatal(err)
	}
	return db, scheduler
}
