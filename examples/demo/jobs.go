package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hourbell/hourbell"
)

var jobs = []hourbell.Job{
	{Name: "match-payments", Group: "matching"},
	{Name: "match-shipments", Group: "matching"},
	{Name: "match-refunds", Group: "matching"},
	{Name: "match-customers", Group: "matching"},

	{Name: "import-prices", Group: "feed"},
	{Name: "import-products", Group: "feed"},
	{Name: "publish-offers", Group: "feed", Args: map[string]any{"channels": []string{"shop", "partners"}}},

	{Name: "sync-customers", Group: "customers"},
	{Name: "merge-duplicate-customers", Group: "customers"},
	{Name: "expire-consents", Group: "customers"},

	{Name: "create-invoices", Group: "invoices"},
	{Name: "send-invoices", Group: "invoices"},
	{Name: "remind-overdue-invoices", Group: "invoices"},
	{Name: "export-ledger", Group: "invoices"},

	{Name: "sync-stock", Group: "inventory"},
	{Name: "reorder-stock", Group: "inventory"},
	{Name: "reconcile-warehouses", Group: "inventory"},

	{Name: "report-sales", Group: "reports"},
	{Name: "report-returns", Group: "reports"},
	{Name: "report-stock", Group: "reports"},
	{Name: "refresh-dashboards", Group: "reports"},

	{Name: "check-queues", Group: "monitoring"},
	{Name: "check-disks", Group: "monitoring"},
}

var schedules = []hourbell.Definition{
	{
		ID: "daily-full-sync", Name: "Daily Full Sync", Description: "Runs every job at night.",
		Cron: "0 2 * * *", TimeZone: "UTC", Target: hourbell.AllJobs(),
	},
	{
		ID: "hourly-matching", Name: "Hourly Matching", Description: "Matches payments, shipments and refunds to orders.",
		Cron: "0 * * * *", TimeZone: "UTC", Target: hourbell.Group("matching"),
	},
	{
		ID: "feed-refresh", Name: "Feed Refresh", Description: "Imports prices and products and publishes offers.",
		Cron: "*/15 * * * *", TimeZone: "UTC", Target: hourbell.Group("feed"),
	},
	{
		ID: "pulse", Name: "Pulse", Description: "Fires every five seconds, to show that the demo works.",
		Cron: "*/5 * * * * *", TimeZone: "UTC", Target: hourbell.Jobs("check-queues", "check-disks"), EnabledByDefault: true,
	},
}

// execute stands for the host's own code: it takes up to 200 ms.
func execute(ctx context.Context, _ hourbell.JobRun) error {
	select {
	case <-time.After(50*time.Millisecond + rand.N(150*time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
