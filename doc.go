// Package hourbell enqueues jobs on cron schedules from every replica of a Go
// backend, exactly once per slot.
//
// A backend, the host, declares its jobs and cron schedules in code:
//
//	scheduler, err := hourbell.New(store.New(db), hourbell.Config{
//		Jobs: []hourbell.Job{{Name: "refresh-prices", Group: "feed"}},
//		Definitions: []hourbell.Definition{{
//			ID:       "feed-refresh",
//			Cron:     "*/15 * * * *",
//			TimeZone: "Europe/Berlin",
//			Target:   hourbell.Group("feed"),
//		}},
//	})
//	if err != nil {
//		return err // names every mistake
//	}
//	return scheduler.Run(ctx) // blocks until ctx ends
//
// Run syncs the definitions to the host's database and then loops. It claims
// the schedules that are due and decides which of their slots fire. For each
// slot that fires, it inserts one [JobRun] for each job of the schedule's
// target. Any number of replicas may run the loop on one database.
//
// # Terms
//
//   - A [Job] is something the host can run.
//   - A [Definition] is a schedule as code declares it. A [Schedule] is a
//     definition as stored, with its state.
//   - A replica is a process of the host that runs the loop. A [Worker]
//     describes it in the database.
//   - A slot is a time, in UTC, at which a schedule is due. It comes from the
//     schedule's row and expression, and is never the current time.
//   - A slot fires when its runs are inserted. A slot that is skipped gets no
//     run; an event records it with a reason.
//   - Grace is how late a slot may be claimed and still fire.
//   - A tick is one pass of the loop.
//   - To claim a due schedule is to lock its row for one replica. If that
//     replica stops, dies or stalls, another one takes over the lock.
//   - An unfinished claim is a claim within grace whose slot has neither fired
//     nor been recorded as skipped. The next replica that claims the row fires
//     the latest due slot, even if it is out of grace by then.
//   - To settle a schedule is to fire or record every slot up to now, and to
//     clear its lock, retry time and unfinished claim.
//   - A [JobRun] is one enqueued job. A job worker of the host executes it, or
//     an [Enqueuer] passes it to an engine, such as River.
//   - A lease reserves a run for one job worker, for a limited time.
//   - An [Event] is something that happened, other than a run.
//
// # Promises
//
// Every slot of an enabled schedule either fires once or is recorded as skipped
// once, through crashes, deploys, clock changes and database restarts. No slot
// fires early, by the database clock. A slot that no replica claims within its
// grace is skipped. Only the latest slot that is due may fire, so a schedule
// never catches up on missed slots. Schedules are disabled until an operator
// enables them, unless their definition says otherwise.
//
// # Limits
//
// Package hourbell does not execute jobs. A job worker of the host takes runs
// with [Scheduler.TakeRuns]. An engine that cannot join the transaction
// receives each run at least once, with a permanent key ([JobRun.Key]).
//
// Exactly once holds for the history that the database keeps. After a failover
// to a standby that has lost the last commits, those slots may fire again, with
// the same keys.
package hourbell
