package main

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// tally counts the statements of a pool, begin and commit included, where the driver sends them.
type tally struct {
	all       atomic.Int64
	schedules atomic.Int64 // those that concern the table of schedules
}

// TraceQueryStart implements pgx.QueryTracer.
func (t *tally) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	t.all.Add(1)
	if strings.Contains(data.SQL, "hourbell_schedules") {
		t.schedules.Add(1)
	}
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*tally) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
