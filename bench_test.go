package hourbell_test

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

// BenchmarkTick fires n schedules due at one instant, one job each.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("due=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				s := synced(b, db.DB, hourbell.Config{Definitions: manyHourly(n), Now: now.Now})
				now.Set(noon)
				for b.Loop() {
					require.Equal(b, n, tick(b, s).Fired)
					now.Advance(time.Hour)
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
				many := make([]hourbell.Job, n)
				for i := range many {
					many[i].Name = fmt.Sprintf("job%05d", i)
				}
				now := newClock(noon.Add(-time.Minute))
				all := hourly("all")
				all.Target = hourbell.AllJobs()
				s := synced(b, db.DB, hourbell.Config{Jobs: many, Definitions: []hourbell.Definition{all}, Now: now.Now})
				now.Set(noon)
				for b.Loop() {
					require.Equal(b, n, tick(b, s).Enqueued)
					now.Advance(time.Hour)
				}
			})
		})
	}
}

// BenchmarkIdle polls when nothing is due.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				now := newClock(noon.Add(-time.Minute))
				s := synced(b, db.DB, hourbell.Config{Definitions: manyHourly(n), Now: now.Now})
				for b.Loop() {
					require.Zero(b, tick(b, s).Claimed)
				}
			})
		})
	}
}

// BenchmarkClaim fires ten schedules due among n.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
				definitions := manyHourly(n)
				for i := range definitions[10:] {
					definitions[10+i].Cron = "0 0 1 1 *"
				}
				now := newClock(noon.Add(-time.Minute))
				s := synced(b, db.DB, hourbell.Config{Definitions: definitions, Now: now.Now})
				now.Set(noon)
				for b.Loop() {
					require.Equal(b, 10, tick(b, s).Fired)
					now.Advance(time.Hour)
				}
			})
		})
	}
}

// BenchmarkSync stores 10,000 definitions for the first time, and then again unchanged.
func BenchmarkSync(b *testing.B) {
	definitions := manyHourly(10_000)
	b.Run("first", func(b *testing.B) {
		eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
			for i := 0; b.Loop(); i++ {
				s := replica(b, db.DB, hourbell.Config{Definitions: definitions, Namespace: fmt.Sprintf("n%d", i)})
				require.NoError(b, s.Sync(b.Context()))
			}
		})
	})
	b.Run("unchanged", func(b *testing.B) {
		eachDatabase(b, func(b *testing.B, db *dbtest.DB) {
			s := synced(b, db.DB, hourbell.Config{Definitions: definitions})
			for b.Loop() {
				require.NoError(b, s.Sync(b.Context()))
			}
		})
	})
}
