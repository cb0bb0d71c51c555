package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/hourbell/hourbell"
)

// actor is the actor of the events that the flags cause.
const actor = "command line"

// printSchedules prints the stored schedules.
func printSchedules(ctx context.Context, scheduler *hourbell.Scheduler) error {
	page, err := scheduler.Schedules(ctx, hourbell.ScheduleQuery{})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCRON\tZONE\tENABLED\tNEXT RUN\tLAST RUN")
	for _, s := range page.Schedules {
		fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%s\t%s\n", s.ID, s.Cron, s.TimeZone, s.Enabled, formatTime(s.NextRunAt), formatTime(s.LastRunAt))
	}
	return table.Flush()
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// runNow enqueues the jobs of a schedule and prints them.
func runNow(ctx context.Context, scheduler *hourbell.Scheduler, id string) error {
	runs, err := scheduler.RunNow(ctx, id, hourbell.EnqueueOptions{Actor: actor})
	for _, run := range runs {
		fmt.Println("enqueued", run.Job)
	}
	return err
}

// printPlan prints the changes that a sync would make.
func printPlan(ctx context.Context, scheduler *hourbell.Scheduler) error {
	changes, err := scheduler.Plan(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCHANGE\tNEXT RUN\tNEW NEXT RUN\tDETAIL")
	for _, c := range changes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", c.ScheduleID, c.Kind, formatTime(c.OldNextRunAt), formatTime(c.NewNextRunAt), c.Detail)
	}
	return table.Flush()
}
