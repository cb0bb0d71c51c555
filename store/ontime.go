package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
)

// punctual are the rows that may fire without a claim: nobody is at them or owes anything on them, the slot is the one
// that the row waits for, has come, is within its grace, and is the latest, for the next has not come.
const punctual = `s.namespace = @namespace AND s.id = c.id AND (s.enabled AND s.removed_at IS NULL) IS TRUE AND s.definition_hash = c.hash
	AND (s.next_run_at = c.slot) IS TRUE AND c.slot <= {instant} AND c.next > {instant} AND {instant} <= c.slot + s.grace
	AND s.locked_by IS NULL AND s.owed_since IS NULL AND s.held_until IS NULL AND s.failures = 0`

// moved is what a punctual fire changes of its schedule.
const moved = `next_run_at = c.next, settled_until = c.slot, last_run_at = clock.now, last_scheduled_for = c.slot,
	lock_token = s.lock_token + 1, updated_at = clock.now`

// A fire on time is claim, fenced advance and insert at once, in Postgres. The locks of the rows are the claim; rows that others
// are at are passed by.
//
// It must cost the same whatever the planner thinks of tables and arrays, of whose sizes it knows nothing at first and
// little later. So each schedule is looked up by its key: LATERAL with a LIMIT is never turned into a join, and what is
// compared IS TRUE is no condition on an index, such as that of what is due, which would be walked for each. It is found
// again where it was locked; what has moved since is left to the first road. It brings its first run along. There is no ON
// CONFLICT, which costs a fifth: where a slot has its run already, all of it fails. The first runs get the lowest ids.
//
// A lane is a lock of the transaction, which is tried and never waited for. Where there is nothing to do or it is taken, the
// schedules are not looked up at all.
var (
	fireEach, fireEachAndAsk   = prepare(firesOf(each) + ` FROM clock`), prepare(firesOf(each) + ask + ` FROM clock`)
	fireAlike, fireAlikeAndAsk = prepare(firesOf(alike) + ` FROM clock`), prepare(firesOf(alike) + ask + ` FROM clock`)
)

// handover is how a batch is handed over: its schedules, each with its first job, and the other jobs of what fired.
type handover struct{ schedules, others string }

var (
	// Of the other runs, those of what fired are told by a hash: IN … IS TRUE is never turned into a join either.
	each = handover{
		schedules: `unnest(CAST(@c_id AS text[]), CAST(@c_hash AS text[]), CAST(@c_slot AS timestamptz[]), CAST(@c_next AS timestamptz[]),
		CAST(@c_job AS text[]), CAST(@c_job_group AS text[]), CAST(@c_args AS text[])) AS c(id, hash, slot, next, job, job_group, args)`,
		others: `unnest(CAST(@c_of AS text[]), CAST(@c_of_slot AS timestamptz[]), CAST(@c_ordinal AS bigint[]), CAST(@c_other AS text[]),
		CAST(@c_other_group AS text[]), CAST(@c_other_args AS text[])) AS c(id, slot, ordinal, job, job_group, args) CROSS JOIN clock
	WHERE (c.id IN (SELECT id FROM fired)) IS TRUE`,
	}
	// Most bursts, and every fire that is alone, are of one expression and one list of jobs, which are handed over once.
	alike = handover{
		schedules: `(SELECT id, hash, {time @slot} AS slot, {time @next} AS next, CAST(@job AS text) AS job, CAST(@job_group AS text) AS job_group,
		CAST(@args AS text) AS args FROM unnest(CAST(@c_id AS text[]), CAST(@c_hash AS text[])) AS c(id, hash)) c`,
		others: `(SELECT id, slot, o.* FROM fired CROSS JOIN unnest(CAST(@c_other AS text[]), CAST(@c_other_group AS text[]), CAST(@c_other_args AS text[]))
		WITH ORDINALITY AS o(job, job_group, args, ordinal)) c CROSS JOIN clock WHERE true`,
	}
)

func firesOf(batch handover) string {
	return `
WITH clock AS MATERIALIZED (SELECT {now} AS now),
turn AS MATERIALIZED (
	SELECT CASE WHEN (SELECT count(*) FROM (` + settled("one") + ` UNION ALL ` + settled("another") + `) both_ends) = 2 THEN 'overtaken'
		WHEN CAST(@lane AS bigint) = 0 THEN 'ours'
		WHEN pg_try_advisory_xact_lock(hashtextextended(@namespace, CAST(@lane AS bigint))) THEN 'ours'
		ELSE 'refused' END AS whose),
free AS MATERIALIZED (
	SELECT s.at, c.* FROM ` + batch.schedules + `
	CROSS JOIN LATERAL (SELECT s.ctid AS at FROM hourbell_schedules s WHERE ` + punctual + ` LIMIT 1 {skip}) s
	WHERE (SELECT whose FROM turn) = 'ours'),
fired AS (
	UPDATE hourbell_schedules s SET ` + moved + `
	FROM free c CROSS JOIN clock WHERE s.ctid = c.at
	RETURNING c.*),
first AS (
	INSERT INTO ` + runsInto + `
	SELECT ` + cronRun + ` FROM (SELECT id, slot, 0 AS ordinal, job, job_group, args FROM fired) c CROSS JOIN clock
	RETURNING 1),
others AS (
	INSERT INTO ` + runsInto + `
	SELECT ` + cronRun + ` FROM ` + batch.others + ` AND (SELECT count(*) FROM first) > 0
	RETURNING 1)
SELECT clock.now, (SELECT count(*) FROM first), (SELECT count(*) FROM others),
	(SELECT whose FROM turn) = 'overtaken', (SELECT whose FROM turn) = 'refused'`
}

// ask answers what a claim after it would find.
const ask = `, (SELECT true FROM hourbell_schedules s WHERE ` + live + ` AND s.next_run_at <= {instant}` + unfired + `
		ORDER BY s.next_run_at LIMIT 1) IS NULL,
	LEAST((` + coming + unfired + `), (SELECT min(next) FROM fired))`

// settled finds a schedule whose slot had been dealt with before the statement.
func settled(which string) string {
	return `SELECT 1 FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.id = @` + which + ` AND s.settled_until >= {time @` + which + `_slot}`
}

// unfired leaves out the rows that the same statement has fired, for it sees them as they were before.
const unfired = ` AND (s.id IN (SELECT id FROM fired)) IS NOT TRUE`

// cronRun is a run of a slot, as runsInto has it.
const cronRun = `@namespace, c.job, NULLIF(c.job_group, ''), 'CRON', c.id, c.slot, c.ordinal, 'QUEUED', {json NULLIF(c.args, '')}, clock.now`

// FireOnTime implements [hourbell.Store].
func (s *Store) FireOnTime(ctx context.Context, request hourbell.FireRequest) (fired hourbell.Fired, err error) {
	if s.dialect == sqlite {
		return fired, errors.ErrUnsupported
	}
	list := request.Fires
	first, last := list[0], list[len(list)-1]
	v := values{"one": first.ScheduleID, "one_slot": first.Slot, "another": last.ScheduleID, "another_slot": last.Slot, "lane": request.Lane}
	into := []any{toTime(&fired.At), &fired.Slots, &fired.Runs, &fired.Overtaken, &fired.Refused}
	statement, andAsk := fireEach, fireEachAndAsk
	if slices.ContainsFunc(list, func(f hourbell.Fire) bool { return !like(f, first) }) {
		v["batch"] = unlike(list)
	} else {
		statement, andAsk = fireAlike, fireAlikeAndAsk
		job, others := first.Jobs[0], first.Jobs[1:]
		v["slot"], v["next"], v["job"], v["job_group"], v["args"] = first.Slot, first.Next, job.Name, job.Group, string(job.Args)
		v["batch"] = append(schedulesOf(list),
			col("other", others, func(j *hourbell.FireJob) string { return j.Name }),
			col("other_group", others, func(j *hourbell.FireJob) string { return j.Group }),
			col("other_args", others, func(j *hourbell.FireJob) string { return string(j.Args) }),
		)
	}
	if request.Ask {
		statement, v["except"] = andAsk, request.Except
		into = append(into, toNumber(&fired.Idle), toTime(&fired.Wake))
	}
	return fired, s.alone(ctx, statement, v, func(rows *sql.Rows) error {
		err := rows.Scan(into...)
		fired.Runs += fired.Slots
		if !fired.Idle {
			fired.Wake = time.Time{}
		}
		return err
	})
}

// like says that two fires differ in their schedules alone.
func like(a, b hourbell.Fire) bool {
	return a.Slot.Equal(b.Slot) && a.Next.Equal(b.Next) && slices.EqualFunc(a.Jobs, b.Jobs, func(x, y hourbell.FireJob) bool {
		return x.Name == y.Name && x.Group == y.Group && bytes.Equal(x.Args, y.Args)
	})
}

func schedulesOf(list []hourbell.Fire) batch {
	return batch{
		col("id", list, func(f *hourbell.Fire) string { return f.ScheduleID }),
		col("hash", list, func(f *hourbell.Fire) string { return f.DefinitionHash }),
	}
}

// unlike is a batch of which each fire, and each run but the first, brings along all that is its own.
func unlike(list []hourbell.Fire) batch {
	type other struct {
		of  *hourbell.Fire
		job hourbell.FireJob
		at  int64
	}
	var others []other
	for i := range list {
		for n, job := range list[i].Jobs[1:] {
			others = append(others, other{&list[i], job, int64(n + 1)})
		}
	}
	return append(schedulesOf(list),
		times("slot", list, func(f *hourbell.Fire) time.Time { return f.Slot }),
		times("next", list, func(f *hourbell.Fire) time.Time { return f.Next }),
		col("job", list, func(f *hourbell.Fire) string { return f.Jobs[0].Name }),
		col("job_group", list, func(f *hourbell.Fire) string { return f.Jobs[0].Group }),
		col("args", list, func(f *hourbell.Fire) string { return string(f.Jobs[0].Args) }),
		col("of", others, func(o *other) string { return o.of.ScheduleID }),
		times("of_slot", others, func(o *other) time.Time { return o.of.Slot }),
		col("ordinal", others, func(o *other) int64 { return o.at }),
		col("other", others, func(o *other) string { return o.job.Name }),
		col("other_group", others, func(o *other) string { return o.job.Group }),
		col("other_args", others, func(o *other) string { return string(o.job.Args) }),
	)
}

// OneByOne implements [hourbell.Store]. On SQLite an UPDATE is no source of rows to insert either, and a claim costs little.
func (s *Store) OneByOne() bool { return s.dialect == sqlite }
