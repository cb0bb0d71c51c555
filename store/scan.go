package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// scanner is a sql.Scanner for one column.
type scanner func(value any) error

// Scan implements [sql.Scanner].
func (s scanner) Scan(value any) error { return s(value) }

// toTime scans a time of either database. NULL is the zero time.
func toTime(t *time.Time) sql.Scanner {
	return scanner(func(value any) error {
		switch value := value.(type) {
		case nil:
			*t = time.Time{}
		case time.Time:
			*t = value.UTC()
		case int64:
			*t = time.UnixMicro(value).UTC()
		default:
			return fmt.Errorf("store: %T is not a time", value)
		}
		return nil
	})
}

// toText scans a text. NULL is the empty text.
func toText[Text ~string](s *Text) sql.Scanner {
	return scanner(func(value any) error {
		switch value := value.(type) {
		case nil:
			*s = ""
		case string:
			*s = Text(value)
		case []byte:
			*s = Text(value)
		default:
			return fmt.Errorf("store: %T is not a text", value)
		}
		return nil
	})
}

// toJSON scans JSON. NULL is nil.
func toJSON(raw *json.RawMessage) sql.Scanner {
	return scanner(func(value any) error {
		var text string
		if err := toText(&text).Scan(value); err != nil || value == nil {
			*raw = nil
			return err
		}
		*raw = json.RawMessage(text)
		return nil
	})
}

// toDuration scans a duration in microseconds. NULL is zero.
func toDuration(d *time.Duration) sql.Scanner {
	var n int64
	return scanner(func(value any) error {
		err := toNumber(&n).Scan(value)
		*d = time.Duration(n) * time.Microsecond
		return err
	})
}

// toNumber scans a number or a boolean. NULL is zero.
func toNumber[Number int | int64 | bool](n *Number) sql.Scanner {
	return scanner(func(value any) error {
		var null sql.Null[Number]
		err := null.Scan(value)
		*n = null.V
		return err
	})
}

// scheduleColumns are the columns that scheduleFields scans.
const scheduleColumns = `namespace, id, name, description, cron, time_zone, zone_rules, manual, target_kind, target, {micros grace}, definition_hash,
	enabled, enabled_note, next_run_at, last_run_at, last_scheduled_for, settled_through, locked_at, locked_by, version,
	unfinished_since, consecutive_failures, last_error, retry_at, removed_at, former_id, created_at, updated_at,
	{now}`

func scheduleFields(r *storage.Schedule) []any {
	return []any{
		&r.Namespace, &r.ID, &r.Name, &r.Description, &r.Cron, &r.TimeZone, &r.ZoneRules, toNumber(&r.Manual), &r.TargetKind, &r.Target, toDuration(&r.Grace),
		&r.DefinitionHash, &r.Enabled, &r.EnabledNote, toTime(&r.NextRunAt), toTime(&r.LastRunAt), toTime(&r.LastScheduledFor),
		toTime(&r.SettledThrough), toTime(&r.LockedAt), toText(&r.LockedBy), &r.Version, toTime(&r.UnfinishedSince),
		&r.ConsecutiveFailures, &r.LastError, toTime(&r.RetryAt), toTime(&r.RemovedAt), toText(&r.FormerID), toTime(&r.CreatedAt), toTime(&r.UpdatedAt),
		toTime(&r.ReadAt),
	}
}

// runColumns are the columns that runFields scans.
const runColumns = `id, namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, args, queued_at,
	started_at, finished_at, leased_by, leased_until, attempt, error, actor, idempotency_key`

func runFields(r *hourbell.JobRun) []any {
	return []any{
		&r.ID, &r.Namespace, &r.Job, toText(&r.Group), &r.Trigger, toText(&r.ScheduleID), toTime(&r.ScheduledFor), &r.Ordinal, &r.Status,
		toJSON(&r.Args), toTime(&r.QueuedAt), toTime(&r.StartedAt), toTime(&r.FinishedAt), toText(&r.LeasedBy), toTime(&r.LeasedUntil),
		&r.Attempt, toText(&r.Error), toText(&r.Actor), toText(&r.IdempotencyKey),
	}
}

// eventColumns are the columns that eventFields scans.
const eventColumns = `id, namespace, schedule_id, kind, reason, at, actor, note, slot_from, slot_to, slot_count, detail`

func eventFields(e *hourbell.Event) []any {
	return []any{
		&e.ID, &e.Namespace, toText(&e.ScheduleID), &e.Kind, toText(&e.Reason), toTime(&e.At), toText(&e.Actor), toText(&e.Note),
		toTime(&e.SlotFrom), toTime(&e.SlotTo), toNumber(&e.SlotCount), toText(&e.Detail),
	}
}

// workerColumns, followed by whether the worker is active, are the columns that
// workerFields scans.
const workerColumns = `id, namespace, worker_type, hostname, pid, version, build_time, definitions_hash, started_at, heartbeat_at,
	stopped_at, last_tick_at, {micros clock_skew}`

func workerFields(w *hourbell.Worker) []any {
	return []any{
		&w.ID, &w.Namespace, &w.WorkerType, &w.Hostname, &w.PID, &w.Version, toTime(&w.BuildTime), &w.DefinitionsHash, toTime(&w.StartedAt),
		toTime(&w.HeartbeatAt), toTime(&w.StoppedAt), toTime(&w.LastTickAt), toDuration(&w.ClockSkew), &w.Active,
	}
}

// collect returns a scan function that appends each row to a list. It scans all
// rows into the same value, and appends a copy of it.
func collect[Row any](list *[]Row, fields func(*Row) []any) func(*sql.Rows) error {
	row := new(Row)
	destinations := fields(row)
	return func(rows *sql.Rows) error {
		if err := rows.Scan(destinations...); err != nil {
			return err
		}
		*list = append(*list, *row)
		return nil
	}
}

// collectIDs returns a scan function for rows that consist of an id.
func collectIDs(ids *[]string) func(*sql.Rows) error {
	return collect(ids, func(id *string) []any { return []any{id} })
}
