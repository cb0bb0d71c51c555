package store

import (
	"context"
	"time"

	"github.com/hourbell/hourbell"
)

var insertEvents = prepare(`
{batch schedule_id:text kind:text reason:text actor:text note:text slot_from:timestamptz slot_to:timestamptz slot_count:bigint detail:text}
INSERT INTO hourbell_events (namespace, schedule_id, kind, reason, at, actor, note, slot_from, slot_to, slot_count, detail)
SELECT @namespace, NULLIF(c.schedule_id, ''), c.kind, NULLIF(c.reason, ''), clock.now, NULLIF(c.actor, ''), NULLIF(c.note, ''),
	c.slot_from, c.slot_to, NULLIF(c.slot_count, 0), NULLIF(c.detail, '')
FROM c CROSS JOIN clock`)

// InsertEvents implements [hourbell.Store].
func (s *database) InsertEvents(ctx context.Context, events []hourbell.Event) error {
	if len(events) == 0 {
		return nil
	}
	return s.exec(ctx, insertEvents, values{"batch": batch{
		col("schedule_id", events, func(e *hourbell.Event) string { return e.ScheduleID }),
		col("kind", events, func(e *hourbell.Event) string { return string(e.Kind) }),
		col("reason", events, func(e *hourbell.Event) string { return string(e.Reason) }),
		col("actor", events, func(e *hourbell.Event) string { return e.Actor }),
		col("note", events, func(e *hourbell.Event) string { return e.Note }),
		timeCol("slot_from", events, func(e *hourbell.Event) time.Time { return e.SlotFrom }),
		timeCol("slot_to", events, func(e *hourbell.Event) time.Time { return e.SlotTo }),
		col("slot_count", events, func(e *hourbell.Event) int64 { return int64(e.SlotCount) }),
		col("detail", events, func(e *hourbell.Event) string { return e.Detail }),
	}})
}

// Events implements [hourbell.Store]. It uses the index of the namespace or of
// the schedule.
func (s *database) Events(ctx context.Context, q hourbell.EventQuery) (list []hourbell.Event, err error) {
	statement, v := selectEvents(q)
	return list, s.query(ctx, statement, v, collect(&list, eventFields))
}

func selectEvents(q hourbell.EventQuery) (*statement, values) {
	f := newFilters(q.Limit)
	f.text("kind", string(q.Kind))
	f.number("id", "<", q.Before)
	source := `hourbell_events WHERE namespace = @namespace` + f.where.String()
	if q.ScheduleID != "" {
		f.values["schedule_id"] = sanitizeText(q.ScheduleID)
		source = `(SELECT * FROM (SELECT * FROM ` + source + ` AND ` + ofSchedule + ` ORDER BY id DESC LIMIT @limit) own
	UNION ALL SELECT * FROM (SELECT * FROM ` + source + ` AND ` + ofFormerID + ` ORDER BY id DESC LIMIT @limit) former) e`
	}
	return prepare(`SELECT ` + eventColumns + ` FROM ` + source + ` ORDER BY id DESC LIMIT @limit`), f.values
}

// latestEvents looks up each schedule in the index hourbell_events_schedule.
var latestEvents = prepare(`
SELECT ` + eventColumns + `
FROM (SELECT max(id) AS latest FROM hourbell_events
	WHERE namespace = @namespace AND schedule_id IN {list @ids} AND kind IN {list @kinds}
	GROUP BY schedule_id, kind) l
JOIN hourbell_events e ON e.namespace = @namespace AND e.id = l.latest`)

// LatestEvents implements [hourbell.Store].
func (s *database) LatestEvents(ctx context.Context, ids []string, kinds []hourbell.EventKind) (list []hourbell.Event, err error) {
	texts := make([]string, len(kinds))
	for i, kind := range kinds {
		texts[i] = string(kind)
	}
	return list, s.query(ctx, latestEvents, values{"ids": sanitizeTexts(ids), "kinds": texts}, collect(&list, eventFields))
}
