// Package hourbell enqueues jobs on cron schedules, exactly once per slot, from every replica of a Go backend.
//
// A backend declares its jobs and its cron schedules in code:
//
//	scheduler, err := hourbell.New(store.New(db), hourbell.Config{
//		Jobs: []hourbell.Job{{Name: "refresh-prices", Group: "feed"}},
//		Definitions: []hourbell.Definition{{
//			ID: "feed-refresh", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin", Target: hourbell.Group("feed"),
//		}},
//	})
//	…
//	err = scheduler.Run(ctx) // blocks until ctx ends
//
// Run syncs the definitions to the backend's own database and then loops: it claims the schedules that are due,
// decides for each whether its slot fires or is skipped, and inserts one [JobRun] per job of the schedule's target.
// Any number of replicas may run the same loop on one database.
//
// # Words
//
// A [Job] is something the host can run. A [Definition] is a schedule as code declares it, a [Schedule] the same as
// stored, with its state. A slot is the instant, in UTC, at which a schedule is due; it comes from the schedule's row
// and never from the time of day. A tick is one pass of the loop. A [JobRun] is one enqueued job. A [Worker] is one
// process that runs the loop. An [Event] is a stored fact that is not a run, such as a skipped slot. To settle a
// schedule is to bring its account to now: every slot passed over is fired or recorded as skipped.
//
// # What it promises
//
// Every slot of an enabled schedule either fires once or is recorded as skipped once, with the reason, through
// crashes, deploys, clock changes and restarts of the database. It fires at or after its instant by the database's
// clock, never before. A slot that nobody came for within its grace is skipped, not caught up. Only the latest slot
// due may ever fire. Schedules start disabled until a person enables them.
//
// # What it does not promise
//
// It does not execute jobs: a worker of the host takes the runs ([Scheduler.TakeRuns]) or an [Enqueuer] hands them
// to an engine. An engine that cannot join the transaction gets each run at least once, with a key that does not
// change ([JobRun.Key]). Exactly once holds for the history that the database keeps: a standby that lost the last
// commits may fire those slots again, under the same keys.
package hourbell
