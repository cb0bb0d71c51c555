package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hourbell/hourbell"
)

// scanner is a destination for one column.
type scanner func(value any) error

// Scan implements [sql.Scanner].
func (s scanner) Scan(value any) error { return s(value) }

// toTime reads an instant of either database; NULL is the zero instant.
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
			return fmt.Errorf("store: %T is no instant", value)
		}
		return nil
	})
}

// toText reads a text; NULL is the empty one.
func toText(s *string) sql.Scanner {
	return scanner(func(value any) error {
		switch value := value.(type) {
		case nil:
			*s = ""
		case string:
			*s = value
		case []byte:
			*s = string(value)
		default:
			return fmt.Errorf("store: %T is no text", value)
		}
		return nil
	})
}

// toJSON reads JSON; NULL is nil.
func toJSON(raw *json.RawMessage) sql.Scanner {
	return scanner(func(value any) error {
		var text string
		if err := toText(&text).(scanner)(value); err != nil || value == nil {
			*raw = nil
			return err
		}
		*raw = json.RawMessage(text)
		return nil
	})
}

// toSpan reads a duration in microseconds; NULL is none.
func toSpan(d *time.Duration) sql.Scanner {
	var n int64
	return scanner(func(value any) error {
		err := toNumber(&n).(scanner)(value)
		*d = time.Duration(n) * time.Microsecond
		return err
	})
}

// toNumber reads a number or a boolean; NULL is zero.
func toNumber[Number int | int64 | bool](n *Number) sql.Scanner {
	return scanner(func(value any) error {
		var null sql.Null[Number]
		err := null.Scan(value)
		*n = null.V
		return err
	})
}

// scheduleColumns are read by scheduleFields, in this order. A row of NULLs, as of an outer join, is the zero Schedule.
const scheduleColumns = `namespace, id, name, description, cron, time_zone, target_kind, target, {micros grace}, definition_hash,
	enabled, enabled_note, next_run_at, last_run_at, last_scheduled_for, settled_until, locked_at, locked_by, lock_token,
	owed_since, failures, last_error, held_until, removed_at, created_at, updated_at`

func scheduleFields(r *hourbell.Schedule) []any {
	return []any{
		toText(&r.Namespace), toText(&r.ID), toText(&r.Name), toText(&r.Description), toText(&r.Cron), toText(&r.TimeZone),
		toText(&r.TargetKind), toText(&r.Target), toSpan(&r.Grace), toText(&r.DefinitionHash), toNumber(&r.Enabled), toText(&r.EnabledNote),
		toTime(&r.NextRunAt), toTime(&r.LastRunAt), toTime(&r.LastScheduledFor), toTime(&r.SettledUntil), toTime(&r.LockedAt),
		toText(&r.LockedBy), toNumber(&r.LockToken), toTime(&r.OwedSince), toNumber(&r.Failures), toText(&r.LastError), toTime(&r.HeldUntil),
		toTime(&r.RemovedAt), toTime(&r.CreatedAt), toTime(&r.UpdatedAt),
	}
}

// runColumns are read by runFields, in this order.
const runColumns = `id, namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, args, queued_at,
	started_at, finished_at, worker_id, leased_until, attempt, error, actor, request_key`

func runFields(r *hourbell.JobRun) []any {
	return []any{
		&r.ID, &r.Namespace, &r.Job, toText(&r.Group), &r.Trigger, toText(&r.ScheduleID), toTime(&r.ScheduledFor), &r.Ordinal, &r.Status,
		toJSON(&r.Args), toTime(&r.QueuedAt), toTime(&r.StartedAt), toTime(&r.FinishedAt), toText(&r.WorkerID), toTime(&r.LeasedUntil),
		&r.Attempt, toText(&r.Error), toText(&r.Actor), toText(&r.RequestKey),
	}
}

const eventColumns = `id, namespace, schedule_id, kind, reason, at, actor, note, slot_from, slot_to, slot_count, detail`

func eventFields(e *hourbell.Event) []any {
	return []any{
		&e.ID, &e.Namespace, toText(&e.ScheduleID), &e.Kind, toText(&e.Reason), toTime(&e.At), toText(&e.Actor), toText(&e.Note),
		toTime(&e.SlotFrom), toTime(&e.SlotTo), toNumber(&e.SlotCount), toText(&e.Detail),
	}
}

const workerColumns = `id, namespace, worker_type, hostname, pid, version, build_time, definitions_hash, started_at, heartbeat_at,
	stopped_at, last_tick_at, {micros clock_skew}`

func workerFields(w *hourbell.Worker) []any {
	return []any{
		&w.ID, &w.Namespace, &w.WorkerType, &w.Hostname, &w.PID, &w.Version, toTime(&w.BuildTime), &w.DefinitionsHash, toTime(&w.StartedAt),
		toTime(&w.HeartbeatAt), toTime(&w.StoppedAt), toTime(&w.LastTickAt), toSpan(&w.ClockSkew),
	}
}

// collect makes a scan function that appends what it reads to a list. All rows are read into one place, whose fields are
// set anew by each.
func collect[Row any](list *[]Row, fields func(*Row) []any) func(*sql.Rows) error {
	row := new(Row)
	into := fields(row)
	return func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		*list = append(*list, *row)
		return nil
	}
}

// collectIDs makes a scan function for rows that are an id each.
func collectIDs(ids *[]string) func(*sql.Rows) error {
	return collect(ids, func(id *string) []any { return []any{id} })
}
