package main

// hourbell: this file is new. It declares the jobs and schedules and executes
// the runs.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/hourbell/hourbell"
)

var jobs = []hourbell.Job{
	{Name: "create-invoice", Description: "Creates the invoice of an order."},
	{Name: "remind-customers", Group: "reminders", Description: "Reminds customers of overdue invoices."},
}

var schedules = []hourbell.Definition{{
	ID: "remind", Name: "Remind customers", Description: "Runs on working days before the shops open.",
	Cron: "30 7 * * MON-FRI", TimeZone: "Europe/Berlin", Target: hourbell.Group("reminders"),
}}

type invoiceArgs struct {
	Order uint `json:"order"`
}

// execute executes a run. It must be safe to repeat, because another worker
// takes the run again if this one is killed before it finishes.
func (b *backend) execute(ctx context.Context, run hourbell.JobRun) error {
	db := b.db.WithContext(ctx)
	switch run.Job {
	case "create-invoice":
		var args invoiceArgs
		if err := json.Unmarshal(run.Args, &args); err != nil {
			return err
		}
		var order Order
		if err := db.First(&order, args.Order).Error; err != nil {
			return err
		}
		invoice := Invoice{OrderID: order.ID, Amount: order.Amount, DueAt: order.PlacedAt.AddDate(0, 0, 14)}
		return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&invoice).Error
	case "remind-customers":
		return remind(db)
	}
	return fmt.Errorf("this build has no job %q", run.Job)
}

// remind marks overdue invoices as reminded.
func remind(db *gorm.DB) error {
	return db.Model(&Invoice{}).Where("due_at < ? AND reminded_at IS NULL", time.Now()).Update("reminded_at", time.Now()).Error
}

// work takes runs and executes them one at a time until ctx ends. All finish
// well before their lease ends; longer ones would need ExtendRun.
func (b *backend) work(ctx context.Context) error {
	host, _ := os.Hostname()
	request := hourbell.TakeRequest{LeasedBy: fmt.Sprintf("%s:%d", host, os.Getpid()), Lease: time.Minute}
	for ctx.Err() == nil {
		runs, err := b.scheduler.TakeRuns(ctx, request)
		for _, run := range runs {
			failure := b.execute(ctx, run)
			b.log.Info("executed", "job", run.Job, "trigger", run.Trigger, "error", failure)
			err = b.scheduler.FinishRun(context.WithoutCancel(ctx), run, failure)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Error("worker failed", "error", err)
		}
		if len(runs) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
		}
	}
	return nil
}
