package simulation

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// TestZoneVersionsHaveDifferentSlots checks that the versions of a zone's rules
// differ in the simulated hours, and that closing the zone removes it.
func TestZoneVersionsHaveDifferentSlots(t *testing.T) {
	start := time.Date(2026, 3, 29, 0, 29, 30, 0, time.UTC)
	for seed := range uint64(100) {
		z := newZone()
		z.drawVersions(newChoices(seed))
		seen := map[string]bool{}
		for i, rules := range z.rules {
			z.loaded = i
			schedule, err := cron.Parse("*/5 2-3 * * *", z.name)
			require.NoError(t, err)
			require.Equal(t, rules, cron.ZoneRules(schedule.Location()))
			slots, err := schedule.Between(start, start.Add(4*time.Hour))
			require.NoError(t, err)
			text := fmt.Sprint(slots)
			require.False(t, seen[text], "seed %d, rules %d: %s", seed, i, text)
			seen[text] = true
		}
		z.close()
		_, err := cron.Parse("@daily", z.name)
		require.ErrorIs(t, err, cron.ErrZone)
	}
}
