package hourbell_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/leaktest"
	"github.com/hourbell/hourbell/store"
)

// databases are those of the examples.
var databases dbtest.Examples

// TestMain skips the examples if there is no Postgres server, and fails if the
// tests leave goroutines running.
func TestMain(m *testing.M) {
	flag.Parse()
	if !databases.Available() && flag.Lookup("test.skip").Value.String() == "" {
		_ = flag.Set("test.skip", "^Example")
	}
	leaktest.Main(m, databases.Close)
}

// Declare jobs and schedules, create the tables, and run the loop. A host calls
// Run, which blocks. Here the clock is set by hand, and Tick makes one pass.
func Example() {
	ctx := context.Background()
	db := databases.Open()
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

	// Schedules are disabled until an operator enables them.
	err = scheduler.Enable(ctx, "feed-refresh", hourbell.ChangeOptions{Actor: "ada", Note: "the partner feed is live"})
	if err != nil {
		log.Fatal(err)
	}

	now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	report, err := scheduler.Tick(ctx)
	fmt.Println("fired:", report.Fired, "enqueued:", report.Enqueued, "error:", err)

	runs, err := scheduler.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: "worker-1", Limit: 10})
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

// A run that is enqueued in the host's transaction exists only if that
// transaction commits.
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
	// send-invoice API QUEUED {"order": 4711}
}

// outbox writes runs to a table of the host, in the transaction that enqueues
// them.
type outbox struct{}

type message struct {
	ID    string `gorm:"primaryKey"`
	Topic string
}

func (outbox) Enqueue(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
	messages := make([]message, len(runs))
	for i, run := range runs {
		messages[i] = message{ID: run.Key(), Topic: run.Job}
	}
	return tx.WithContext(ctx).Create(&messages).Error
}

// An Enqueuer passes the runs to an engine, or to a job table that the host
// already has.
func ExampleEnqueuer() {
	ctx := context.Background()
	db, scheduler := newHost(outbox{})
	if err := db.AutoMigrate(&message{}); err != nil {
		log.Fatal(err)
	}

	// Calls with the same idempotency key enqueue once.
	for range 2 {
		_, err := scheduler.EnqueueAll(ctx, hourbell.EnqueueOptions{IdempotencyKey: "import-2026-06-01"})
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

// newHost returns the database and the scheduler of a host with two jobs.
func newHost(enqueuer hourbell.Enqueuer) (*gorm.DB, *hourbell.Scheduler) {
	db := databases.Open()
	scheduler, err := hourbell.New(store.New(db), hourbell.Config{
		Jobs:     []hourbell.Job{{Name: "archive-orders"}, {Name: "send-invoice"}},
		Enqueuer: enqueuer,
	})
	if err != nil {
		log.Fatal(err)
	}
	return db, scheduler
}
