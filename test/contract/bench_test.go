package contract_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// eachDatabase runs a benchmark on both databases.
func eachDatabase(b *testing.B, bench func(b *testing.B, db *dbtest.DB)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.Postgres(b)) })
}

// BenchmarkTick fires n schedules that are due at the same time, one job each.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("due=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				c := newClock(noon.Add(-time.Minute))
				s := newSyncedReplica(b, db.DB, hourbell.Config{Definitions: manyHourly(n), Now: c.Now})
				c.Set(noon)
				for b.Loop() {
					require.Equal(b, n, tick(b, s).Fired)
					c.Advance(time.Hour)
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "fired/s")
			})
		})
	}
}

// BenchmarkFanOut fires one schedule of n jobs.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{20, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				jobs := make([]hourbell.Job, n)
				for i := range jobs {
					jobs[i].Name = fmt.Sprintf("job%05d", i)
				}
				c := newClock(noon.Add(-time.Minute))
				all := hourly("all")
				all.Target = hourbell.AllJobs()
				s := newSyncedReplica(b, db.DB, hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{all}, Now: c.Now})
				c.Set(noon)
				for b.Loop() {
					require.Equal(b, n, tick(b, s).Enqueued)
					c.Advance(time.Hour)
				}
			})
		})
	}
}

// BenchmarkIdle ticks while no schedule is due.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				c := newClock(noon.Add(-time.Minute))
				s := newSyncedReplica(b, db.DB, hourbell.Config{Definitions: manyHourly(n), Now: c.Now})
				for b.Loop() {
					require.Zero(b, tick(b, s).Claimed)
				}
			})
		})
	}
}

// BenchmarkClaim fires ten due schedules out of n.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				definitions := manyHourly(n)
				for i := range definitions[10:] {
					definitions[10+i].Cron = "0 0 1 1 *"
				}
				c := newClock(noon.Add(-time.Minute))
				s := newSyncedReplica(b, db.DB, hourbell.Config{Definitions: definitions, Now: c.Now})
				c.Set(noon)
				for b.Loop() {
					require.Equal(b, 10, tick(b, s).Fired)
					c.Advance(time.Hour)
				}
			})
		})
	}
}

// BenchmarkSync stores 10,000 definitions, then syncs them unchanged.
func BenchmarkSync(b *testing.B) {
	definitions := manyHourly(10_000)
	b.Run("first", func(b *testing.B) {
		eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
			for i := 0; b.Loop(); i++ {
				s := newReplica(b, db.DB, hourbell.Config{Definitions: definitions, Namespace: fmt.Sprintf("n%d", i)})
				require.NoError(b, s.Sync(b.Context()))
			}
		})
	})
	b.Run("unchanged", func(b *testing.B) {
		eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
			s := newSyncedReplica(b, db.DB, hourbell.Config{Definitions: definitions})
			for b.Loop() {
				require.NoError(b, s.Sync(b.Context()))
			}
		})
	})
}
