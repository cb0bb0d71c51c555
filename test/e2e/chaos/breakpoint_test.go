package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// A breakpoint finds a host by the text of its statement, so it must match the
// statements of both paths.
func TestBreakpointsStopEachPath(t *testing.T) {
	for name, c := range map[string]struct {
		kind       hostKind
		breakpoint breakpoint
	}{
		"fire on the fast path":  {tableHost, inFire},
		"fire on the claim path": {engineHost, inFire},
		"claim":                  {engineHost, inClaim},
	} {
		t.Run(name, func(t *testing.T) {
			direct := dbtest.EmptyPostgres(t)
			require.NoError(t, prepare(t.Context(), direct.DB))
			db, pool, err := openPool(direct.DSN + "&application_name=host-0")
			require.NoError(t, err)
			defer pool.Close()
			scheduler, err := hourbell.New(store.New(db), hostConfig(c.kind, 3, slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			require.NoError(t, scheduler.Sync(t.Context())) // Run syncs too, and would be blocked
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- scheduler.Run(ctx) }()

			d := &driver{pool: direct.SQL(), hosts: []*host{{name: "host-0"}}}
			h := d.runTo(t.Context(), c.breakpoint)
			if h != nil {
				d.clearBreakpoint(h)
			}
			stop()
			require.NoError(t, <-ended)
			require.NotNil(t, h, "no host was blocked")
		})
	}
}
