package main

import (
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// Lock TTL, poll interval, grace and lease are as short as possible, so that
// the hosts recover from one fault while the next ones happen.
const (
	lockTTL = 4 * time.Second
	poll    = 2 * time.Second
	grace   = 5 * time.Second
	lease   = 5 * time.Second
)

// hostKind is a kind of host, and its namespace. A run must be executed by a
// host of its own kind.
type hostKind string

const (
	// tableHost has no Enqueuer, so that slots on time use the fast path. It
	// takes runs from hourbell's table.
	tableHost hostKind = "table"
	// engineHost has an Enqueuer, which writes to the table of an engine in the
	// same transaction.
	engineHost hostKind = "engine"
)

var hostKinds = []hostKind{tableHost, engineHost}

var declaredJobs = []hourbell.Job{
	{Name: "import", Group: "feed", Args: map[string]int{"shop": 7}},
	{Name: "publish", Group: "feed"},
	{Name: "report"},
}

// jobsOf returns the jobs of a target in the order of their ordinals. It does
// not ask the library, because the checker uses it.
func jobsOf(t hourbell.Target) []string {
	switch t.String() {
	case hourbell.AllJobs().String():
		return []string{"import", "publish", "report"}
	case hourbell.Group("feed").String():
		return []string{"import", "publish"}
	}
	return []string{"report"}
}

// newDefinitions returns n schedules. Of ten, six are due every second, three
// every two or three seconds, one every minute. Every fourth starts disabled.
func newDefinitions(n int) []hourbell.Definition {
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

// definitionsOf returns the schedules of one kind of host, of a total for both
// kinds: two thirds are for tableHost.
func definitionsOf(k hostKind, total int) []hourbell.Definition {
	if k == engineHost {
		return newDefinitions(total / 3)
	}
	return newDefinitions(total - total/3)
}
