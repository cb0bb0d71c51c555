package main

// hourbell: this file is new: what the backend does in the background, and when.

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
	{Name: "create-invoice", Description: "The invoice of one order."},
	{Name: "remind-customers", Group: "reminders", Description: "Of invoices that are overdue."},
}

var schedules = []hourbell.Definition{{
	ID: "remind", Name: "Remind customers", Description: "Once a working day, before the shops open.",
	Cron: "30 7 * * MON-FRI", TimeZone: "Europe/Berlin", Target: hourbell.Group("reminders"),
}}

type invoiceArgs struct {
	Order uint `json:"order"`
}

// execute does a run. A worker may die in the middle of one, and another do it again: it must be safe to repeat.
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
	return fmt.Errorf("there is no job %q in this build", run.Job)
}

func remind(db *gorm.DB) error {
	return db.Model(&Invoice{}).Where("due_at < ? AND reminded_at IS NULL", time.Now()).Update("reminded_at", time.Now()).Error
}

// work takes runs and does them, one after the other, until ctx ends. None takes nearly as long as its lease; for those
// that might there is ExtendRun.
func (b *backend) work(ctx context.Context) error {
	host, _ := os.Hostname()
	request := hourbell.TakeRequest{Worker: fmt.Sprintf("%s:%d", host, os.Getpid()), Lease: time.Minute}
	for ctx.Err() == nil {
		runs, err := b.scheduler.TakeRuns(ctx, request)
		for _, run := range runs {
			failure := b.execute(ctx, run)
			b.log.Info("executed", "job", run.Job, "trigger", run.Trigger, "error", failure)
			err = b.scheduler.FinishRun(context.WithoutCancel(ctx), run, failure)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Error("worker", "error", err)
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
