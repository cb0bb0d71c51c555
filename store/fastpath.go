package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// onTime is the condition on a schedule s to fire the slot c without a separate
// claim. The row is enabled and unlocked, has the definition hash that c has,
// no failures and no unfinished claim, and waits for this slot. The slot is
// due, within grace and the latest.
const onTime = `s.namespace = @namespace AND s.id = c.id
		AND (s.enabled AND s.removed_at IS NULL) IS TRUE AND s.definition_hash = c.hash
		AND (s.next_run_at = c.slot) IS TRUE AND (s.settled_through >= c.slot) IS NOT TRUE
		AND c.slot <= {clock} AND c.next > {clock} AND {clock} <= c.slot + s.grace
		AND s.locked_by IS NULL AND s.unfinished_since IS NULL AND s.retry_at IS NULL AND s.consecutive_failures = 0`

// On Postgres, firing on time is one statement that claims, advances and
// inserts. The row locks are the claim. SKIP LOCKED leaves out rows that
// another transaction has locked. Rows that do not meet the condition are left
// to the claim path.
//
// The planner has no statistics of arrays, so the statement must not depend on
// its estimates. LATERAL with a LIMIT looks up each schedule by its key, and
// never becomes a join. A condition with IS TRUE cannot use an index. Without
// it, the planner might read the whole index of due schedules for each slot.
// The UPDATE finds the rows by their ctid.
//
// The inserts have no ON CONFLICT, which is slower. If a slot already has its
// first run, the whole statement fails. The first runs are inserted before the
// other runs, and so have lower ids, which Tallies relies on.
var (
	fireMixed       = prepare(fireStatement(mixedFires) + ` FROM clock`)
	fireUniform     = prepare(fireStatement(uniformFires) + ` FROM clock`)
	fireMixedFind   = prepare(fireStatement(mixedFires) + findNext + ` FROM clock`)
	fireUniformFind = prepare(fireStatement(uniformFires) + findNext + ` FROM clock`)
)

// firesSQL is the SQL of the values of a FireRequest. Of schedules, each row is
// a schedule with its first job. Of otherJobs, each row is another job of a
// schedule that has fired.
type firesSQL struct{ schedules, otherJobs string }

var (
	// mixedFires have any slots and jobs. IN … IS TRUE is evaluated by a hash,
	// and never becomes a join.
	mixedFires = firesSQL{
		schedules: `unnest(CAST(@c_id AS text[]), CAST(@c_hash AS text[]), CAST(@c_slot AS timestamptz[]), CAST(@c_next AS timestamptz[]),
		CAST(@c_job AS text[]), CAST(@c_job_group AS text[]), CAST(@c_args AS text[])) AS c(id, hash, slot, next, job, job_group, args)`,
		otherJobs: `unnest(CAST(@c_other_id AS text[]), CAST(@c_other_slot AS timestamptz[]), CAST(@c_ordinal AS bigint[]), CAST(@c_other AS text[]),
		CAST(@c_other_group AS text[]), CAST(@c_other_args AS text[])) AS c(id, slot, ordinal, job, job_group, args) CROSS JOIN clock
	WHERE (c.id IN (SELECT id FROM fired)) IS TRUE`,
	}
	// uniformFires share slot, next slot and jobs, as a single fire and most
	// large batches do. The shared values are passed once.
	uniformFires = firesSQL{
		schedules: `(SELECT id, hash, {timestamp @slot} AS slot, {timestamp @next} AS next, CAST(@job AS text) AS job,
		CAST(@job_group AS text) AS job_group, CAST(@args AS text) AS args
		FROM unnest(CAST(@c_id AS text[]), CAST(@c_hash AS text[])) AS c(id, hash)) c`,
		otherJobs: `(SELECT id, slot, o.* FROM fired CROSS JOIN
		unnest(CAST(@c_other AS text[]), CAST(@c_other_group AS text[]), CAST(@c_other_args AS text[]))
		WITH ORDINALITY AS o(job, job_group, args, ordinal)) c CROSS JOIN clock WHERE true`,
	}
)

func fireStatement(fires firesSQL) string {
	return `
WITH
-- the database time
clock AS MATERIALIZED (SELECT {now} AS now),
-- whether the first and the last slot are settled already; if so, nothing is tried
ends AS MATERIALIZED (
	SELECT count(*) = 2 AS already_settled FROM (
		` + settledSlot("first") + `
		UNION ALL ` + settledSlot("last") + `) settled),
-- the slots that may fire, with the place of their rows, which are locked
free AS MATERIALIZED (
	SELECT s.row_ctid, c.* FROM ` + fires.schedules + `
	CROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s
		WHERE ` + onTime + `
		LIMIT 1 {skip_locked}) s
	WHERE NOT (SELECT already_settled FROM ends)),
-- the advance
fired AS (
	UPDATE hourbell_schedules s SET next_run_at = c.next, settled_through = c.slot, last_run_at = clock.now,
		last_scheduled_for = c.slot, version = s.version + 1, updated_at = clock.now
	FROM free c CROSS JOIN clock WHERE s.ctid = c.row_ctid
	RETURNING c.*),
-- the first run of each fire
first_runs AS (
	INSERT INTO hourbell_job_runs (` + insertedColumns + `)
	SELECT ` + cronRun + `
	FROM (SELECT id, slot, 0 AS ordinal, job, job_group, args FROM fired) c CROSS JOIN clock
	RETURNING 1),
-- the other runs
other_runs AS (
	INSERT INTO hourbell_job_runs (` + insertedColumns + `)
	SELECT ` + cronRun + `
	FROM ` + fires.otherJobs + ` AND (SELECT count(*) FROM first_runs) > 0
	RETURNING 1)
SELECT clock.now, (SELECT count(*) FROM first_runs), (SELECT count(*) FROM other_runs), (SELECT already_settled FROM ends),
	(SELECT string_agg(id, chr(10)) FROM (SELECT id FROM fired LIMIT 10) names)`
}

// settledSlot selects a row if the "first" or the "last" slot of the request
// was settled before.
func settledSlot(which string) string {
	return `SELECT 1 FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.id = @` + which + `_id
			AND s.settled_through >= {timestamp @` + which + `_slot}`
}

// findNext selects whether nothing else is due, and the next slot. Without
// ORDER BY … LIMIT 1, the planner might not use the index of due schedules.
const findNext = `,
	(SELECT true FROM hourbell_schedules s WHERE ` + claimable + `
		AND s.next_run_at <= {clock}` + notFired + `
		ORDER BY s.next_run_at LIMIT 1) IS NULL,
	LEAST((` + nextSlot + notFired + `), (SELECT min(next) FROM fired))`

// notFired leaves out the rows that the statement has fired. Its snapshot still
// has them as they were before.
const notFired = `
		AND (s.id IN (SELECT id FROM fired)) IS NOT TRUE`

// cronRun are the values of a cron run for insertedColumns.
const cronRun = `@namespace, c.job, NULLIF(c.job_group, ''), 'CRON', c.id, c.slot, c.ordinal, 'QUEUED',
		{json NULLIF(c.args, '')}, clock.now`

// FireOnTime implements [hourbell.Store].
func (s *database) FireOnTime(ctx context.Context, request storage.FireRequest) (result storage.FireResult, err error) {
	if s.dialect == sqlite {
		return result, errors.ErrUnsupported
	}
	fires := request.Fires
	first, last := fires[0], fires[len(fires)-1]
	v := values{"first_id": first.ScheduleID, "first_slot": first.Slot, "last_id": last.ScheduleID, "last_slot": last.Slot}
	statement, withFind := fireMixed, fireMixedFind
	if slices.ContainsFunc(fires, func(f storage.SlotFire) bool { return !isUniform(f, first) }) {
		v["batch"] = mixedBatch(fires)
	} else {
		statement, withFind = fireUniform, fireUniformFind
		job, others := first.Jobs[0], first.Jobs[1:]
		v["slot"], v["next"], v["job"], v["job_group"], v["args"] = first.Slot, first.Next, job.Name, job.Group, string(job.Args)
		v["batch"] = append(scheduleColumnsOf(fires),
			col("other", others, func(j *storage.JobSpec) string { return j.Name }),
			col("other_group", others, func(j *storage.JobSpec) string { return j.Group }),
			col("other_args", others, func(j *storage.JobSpec) string { return string(j.Args) }),
		)
	}
	var names string
	fields := []any{toTime(&result.At), &result.Slots, &result.Runs, &result.AlreadySettled, toText(&names)}
	if request.FindNext {
		statement, v["exclude"] = withFind, request.Exclude
		fields = append(fields, toNumber(&result.Idle), toTime(&result.WakeAt))
	}
	return result, s.writeAutocommit(ctx, statement, v, func(rows *sql.Rows) error {
		err := rows.Scan(fields...)
		result.Runs += result.Slots // the statement counts the other runs
		if names != "" {
			result.Names = strings.Split(names, "\n")
		}
		if !result.Idle {
			result.WakeAt = time.Time{}
		}
		return err
	})
}

// isUniform reports whether two fires differ only in their schedules.
func isUniform(a, b storage.SlotFire) bool {
	return a.Slot.Equal(b.Slot) && a.Next.Equal(b.Next) && slices.EqualFunc(a.Jobs, b.Jobs, func(x, y storage.JobSpec) bool {
		return x.Name == y.Name && x.Group == y.Group && bytes.Equal(x.Args, y.Args)
	})
}

// scheduleColumnsOf returns the columns of the schedules that fire.
func scheduleColumnsOf(fires []storage.SlotFire) batch {
	return batch{
		col("id", fires, func(f *storage.SlotFire) string { return f.ScheduleID }),
		col("hash", fires, func(f *storage.SlotFire) string { return f.DefinitionHash }),
	}
}

// mixedBatch returns the columns of mixedFires.
func mixedBatch(fires []storage.SlotFire) batch {
	type otherJob struct {
		fire    *storage.SlotFire
		job     storage.JobSpec
		ordinal int64
	}
	var others []otherJob
	for i := range fires {
		for n, job := range fires[i].Jobs[1:] {
			others = append(others, otherJob{&fires[i], job, int64(n + 1)})
		}
	}
	return append(scheduleColumnsOf(fires),
		timeCol("slot", fires, func(f *storage.SlotFire) time.Time { return f.Slot }),
		timeCol("next", fires, func(f *storage.SlotFire) time.Time { return f.Next }),
		col("job", fires, func(f *storage.SlotFire) string { return f.Jobs[0].Name }),
		col("job_group", fires, func(f *storage.SlotFire) string { return f.Jobs[0].Group }),
		col("args", fires, func(f *storage.SlotFire) string { return string(f.Jobs[0].Args) }),
		col("other_id", others, func(o *otherJob) string { return o.fire.ScheduleID }),
		timeCol("other_slot", others, func(o *otherJob) time.Time { return o.fire.Slot }),
		col("ordinal", others, func(o *otherJob) int64 { return o.ordinal }),
		col("other", others, func(o *otherJob) string { return o.job.Name }),
		col("other_group", others, func(o *otherJob) string { return o.job.Group }),
		col("other_args", others, func(o *otherJob) string { return string(o.job.Args) }),
	)
}

// SingleWriter implements [hourbell.Store]. On SQLite, an UPDATE cannot be the
// source of an INSERT, so there is no fast path.
func (s *database) SingleWriter() bool { return s.dialect == sqlite }
