package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

var (
	selectSchedules     = prepare(`SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE namespace = @namespace ORDER BY id`)
	selectSchedulesByID = prepare(`SELECT ` + scheduleColumns + ` FROM hourbell_schedules WHERE namespace = @namespace AND id IN {list @ids} ORDER BY id`)
)

// Schedules implements [hourbell.Store].
func (s *database) Schedules(ctx context.Context, ids ...string) (list []storage.Schedule, err error) {
	if len(ids) == 0 {
		return list, s.query(ctx, selectSchedules, nil, collect(&list, scheduleFields))
	}
	return list, s.query(ctx, selectSchedulesByID, values{"ids": sanitizeTexts(ids)}, collect(&list, scheduleFields))
}

// definition_digest is a generated column on Postgres. On SQLite, this process
// writes it, and a trigger clears it if the row is edited by hand.
var selectStored = prepare(`
SELECT count(*), {digests definition_digest} FROM hourbell_schedules WHERE namespace = @namespace AND removed_at IS NULL`)

// Stored implements [hourbell.Store].
func (s *database) Stored(ctx context.Context) (stored storage.Stored, err error) {
	var digests string
	err = s.query(ctx, selectStored, nil, func(rows *sql.Rows) error { return rows.Scan(&stored.Count, toText(&digests)) })
	if err != nil {
		return stored, err
	}
	for digest := range strings.SplitSeq(digests, ",") {
		if digest == "" {
			continue
		}
		n, err := strconv.ParseInt(digest, 10, 64)
		if err != nil {
			return stored, err
		}
		stored.Digest ^= n
	}
	return stored, nil
}

// definitionColumns are the columns of a batch of schedules to insert or
// update. A column without a type exists on SQLite only.
const definitionColumns = `id:text name:text description:text cron:text time_zone:text zone_rules:text manual:boolean target_kind:text target:text
	grace:bigint hash:text enabled:boolean next:timestamptz until:timestamptz note:text settled:timestamptz digest:`

func definitionBatch(d *dialect, rows []storage.ScheduleUpdate) batch {
	columns := batch{
		col("id", rows, func(r *storage.ScheduleUpdate) string { return r.ID }),
		col("name", rows, func(r *storage.ScheduleUpdate) string { return r.Name }),
		col("description", rows, func(r *storage.ScheduleUpdate) string { return r.Description }),
		col("cron", rows, func(r *storage.ScheduleUpdate) string { return r.Cron }),
		col("time_zone", rows, func(r *storage.ScheduleUpdate) string { return r.TimeZone }),
		col("zone_rules", rows, func(r *storage.ScheduleUpdate) string { return r.ZoneRules }),
		col("manual", rows, func(r *storage.ScheduleUpdate) bool { return r.Manual }),
		col("target_kind", rows, func(r *storage.ScheduleUpdate) string { return r.TargetKind }),
		col("target", rows, func(r *storage.ScheduleUpdate) string { return r.Target }),
		col("grace", rows, func(r *storage.ScheduleUpdate) int64 { return r.Grace.Microseconds() }),
		col("hash", rows, func(r *storage.ScheduleUpdate) string { return r.DefinitionHash }),
		col("enabled", rows, func(r *storage.ScheduleUpdate) bool { return r.Enabled }),
		timeCol("next", rows, func(r *storage.ScheduleUpdate) time.Time { return r.NextRunAt }),
		timeCol("until", rows, func(r *storage.ScheduleUpdate) time.Time { return r.Until }),
		col("note", rows, func(r *storage.ScheduleUpdate) string { return r.EnabledNote }),
		timeCol("settled", rows, func(r *storage.ScheduleUpdate) time.Time { return r.SettledThrough }),
	}
	if d == sqlite {
		columns = append(columns, col("digest", rows, func(r *storage.ScheduleUpdate) int64 { return r.Digest() }))
	}
	return columns
}

var (
	insertSchedules        = prepare(insertSchedulesTemplate + ` RETURNING id`)
	insertMissingSchedules = prepare(insertSchedulesTemplate + ` ON CONFLICT (namespace, id) DO NOTHING RETURNING id`)
)

const insertSchedulesTemplate = `
{batch ` + definitionColumns + ` unfinished:timestamptz updated:timestamptz former_id:text}
INSERT INTO hourbell_schedules (namespace, id, name, description, cron, time_zone, zone_rules, manual, target_kind, target, grace, definition_hash,
	enabled, next_run_at, enabled_note, settled_through, unfinished_since, former_id, created_at, updated_at{only_sqlite , definition_digest})
SELECT @namespace, c.id, c.name, c.description, c.cron, c.time_zone, c.zone_rules, c.manual, c.target_kind, c.target, {interval c.grace}, c.hash,
	c.enabled, c.next, c.note, c.settled, c.unfinished, NULLIF(c.former_id, ''), clock.now, COALESCE(c.updated, clock.now){only_sqlite , c.digest}
FROM c CROSS JOIN clock WHERE c.until IS NULL OR c.until > clock.now ORDER BY c.id`

// InsertSchedules implements [hourbell.Store].
func (s *database) InsertSchedules(ctx context.Context, rows []storage.ScheduleUpdate) (ids []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	v := values{"batch": append(definitionBatch(s.dialect, rows),
		timeCol("unfinished", rows, func(r *storage.ScheduleUpdate) time.Time { return r.UnfinishedSince }),
		timeCol("updated", rows, func(r *storage.ScheduleUpdate) time.Time { return r.UpdatedAt }),
		col("former_id", rows, func(r *storage.ScheduleUpdate) string { return r.FormerID }),
	)}
	return ids, s.insertOptimistic(ctx, func(s *database, onConflict bool) error {
		statement := insertSchedules
		if onConflict {
			statement = insertMissingSchedules
		}
		ids = nil // discard those of an earlier attempt
		return s.write(ctx, statement, v, collectIDs(&ids))
	})
}

// The columns that code owns are always written. Those that operators and the
// loop own are written only if the update settles the row. The conditions are
// those of rule L6: an update applies only to the version that was read. An
// update with the same hash writes back columns that were edited by hand. It
// increments the version, so that only one process does.
var updateSchedules = prepare(`
{locked_batch ` + definitionColumns + ` version:bigint read_hash:text settles:boolean removed:timestamptz}
UPDATE hourbell_schedules AS s SET
	name = c.name, description = c.description, cron = c.cron, time_zone = c.time_zone, zone_rules = c.zone_rules,
	manual = c.manual, target_kind = c.target_kind, target = c.target, grace = {interval c.grace}, definition_hash = c.hash{only_sqlite , definition_digest = c.digest},
	enabled = CASE WHEN c.settles THEN c.enabled ELSE s.enabled END,
	enabled_note = CASE WHEN c.settles THEN c.note ELSE s.enabled_note END,
	next_run_at = CASE WHEN c.settles THEN c.next ELSE s.next_run_at END,
	settled_through = CASE WHEN c.settles THEN c.settled ELSE s.settled_through END,
	removed_at = CASE WHEN c.settles THEN c.removed ELSE s.removed_at END,
	locked_at = CASE WHEN c.settles THEN NULL ELSE s.locked_at END,
	locked_by = CASE WHEN c.settles THEN NULL ELSE s.locked_by END,
	version = CASE WHEN c.settles OR c.hash = c.read_hash THEN s.version + 1 ELSE s.version END,
	unfinished_since = CASE WHEN c.settles THEN NULL ELSE s.unfinished_since END,
	retry_at = CASE WHEN c.settles THEN NULL ELSE s.retry_at END,
	consecutive_failures = CASE WHEN c.settles THEN 0 ELSE s.consecutive_failures END,
	last_error = CASE WHEN c.settles THEN '' ELSE s.last_error END,
	updated_at = CASE WHEN c.settles THEN clock.now ELSE s.updated_at END
FROM c CROSS JOIN clock
WHERE {batch_row} AND s.version = c.version AND s.definition_hash = c.read_hash
	AND (c.until IS NULL OR c.until > clock.now)
RETURNING {returned id}`)

// UpdateSchedules implements [hourbell.Store].
func (s *database) UpdateSchedules(ctx context.Context, rows []storage.ScheduleUpdate) (ids []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	return ids, s.write(ctx, updateSchedules, values{"batch": append(definitionBatch(s.dialect, rows),
		col("version", rows, func(r *storage.ScheduleUpdate) int64 { return r.Version }),
		col("read_hash", rows, func(r *storage.ScheduleUpdate) string { return r.ReadHash }),
		col("settles", rows, func(r *storage.ScheduleUpdate) bool { return r.Settles }),
		timeCol("removed", rows, func(r *storage.ScheduleUpdate) time.Time { return r.RemovedAt }),
	)}, collectIDs(&ids))
}
