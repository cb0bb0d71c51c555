package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/hourbell/hourbell"
)

// you is whom the history names for what the flags do.
var you = hourbell.By{Actor: "command line"}

// list prints the stored schedules.
func list(ctx context.Context, scheduler *hourbell.Scheduler) error {
	page, err := scheduler.Schedules(ctx, hourbell.ScheduleQuery{})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCRON\tZONE\tENABLED\tNEXT RUN\tLAST RUN")
	for _, s := range page.Schedules {
		fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%s\t%s\n", s.ID, s.Cron, s.TimeZone, s.Enabled, instant(s.NextRunAt), instant(s.LastRunAt))
	}
	return table.Flush()
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// runNow enqueues the jobs of a schedule.
func runNow(ctx context.Context, scheduler *hourbell.Scheduler, id string) error {
	runs, err := scheduler.RunNow(ctx, id, hourbell.EnqueueOptions{By: you})
	for _, run := range runs {
		fmt.Println("enqueued", run.Job)
	}
	return err
}

// dryRun prints what a sync would write.
func dryRun(ctx context.Context, scheduler *hourbell.Scheduler) error {
	changes, err := scheduler.Plan(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCHANGE\tNEXT RUN\tWILL BE\tDETAIL")
	for _, c := range changes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", c.ScheduleID, c.Kind, instant(c.OldNextRunAt), instant(c.NewNextRunAt), c.Detail)
	}
	return table.Flush()
}
