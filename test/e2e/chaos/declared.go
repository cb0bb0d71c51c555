package main

import (
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// Locks, grace and poll are as short as they may be, so that what a fault leaves behind is followed while the next
// fault is already there.
const (
	lockTTL = 4 * time.Second
	poll    = 2 * time.Second
	grace   = 5 * time.Second
	lease   = 5 * time.Second
)

// kind is a kind of host. Each has a namespace of its own, since a run must be executed by one of them.
type kind string

const (
	// tableHost has no Enqueuer. It takes its runs from hourbell's table, so that slots on time fire without a claim.
	tableHost kind = "table"
	// engineHost has an Enqueuer, which writes to the table of an engine in the same transaction.
	engineHost kind = "engine"
)

var kinds = []kind{tableHost, engineHost}

var declaredJobs = []hourbell.Job{
	{Name: "import", Group: "feed", Args: map[string]int{"shop": 7}},
	{Name: "publish", Group: "feed"},
	{Name: "report"},
}

// jobsOf are the jobs that a target means, in the order of their ordinals, found without the library's help.
func jobsOf(t hourbell.Target) []string {
	switch t.String() {
	case hourbell.AllJobs().String():
		return []string{"import", "publish", "report"}
	case hourbell.Group("feed").String():
		return []string{"import", "publish"}
	}
	return []string{"report"}
}

// declaredSchedules are n schedules: six of ten fire each second, three each two or three, one each minute. Every
// fourth waits for somebody to enable it.
func declaredSchedules(n int) []hourbell.Definition {
	expressions := []string{
		"* * * * * *", "*/2 * * * * *", "* * * * * *", "1/3 * * * * *", "* * * * * *",
		"* * * * *", "* * * * * *", "* * * * * *", "1/2 * * * * *", "* * * * * *",
	}
	targets := []hourbell.Target{hourbell.Jobs("report"), hourbell.Jobs("report"), hourbell.Group("feed"), hourbell.Jobs("report"), hourbell.AllJobs()}
	zones := []string{"UTC", "Europe/Berlin", "Asia/Kolkata"}
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourbell.Definition{
			ID: fmt.Sprintf("s%03d", i), Cron: expressions[i%len(expressions)], TimeZone: zones[i%len(zones)],
			Target: targets[i/2%len(targets)], EnabledByDefault: i%4 != 3,
		}
	}
	return list
}

// schedulesOf are the schedules of a kind of host. Two of three go to the hosts without an Enqueuer.
func schedulesOf(k kind, total int) []hourbell.Definition {
	if k == engineHost {
		return declaredSchedules(total / 3)
	}
	return declaredSchedules(total - total/3)
}
