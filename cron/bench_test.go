package cron_test

import (
	"testing"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// typicalExprs are common expressions, cheap and expensive ones.
var typicalExprs = []string{
	"* * * * *", "*/15 * * * *", "0 2 * * *", "0 9 * * MON-FRI", "0 0 1 * *", "0 0 L * *", "0 0 29 2 *", "*/5 * * * * *",
}

var typicalZones = []string{"UTC", "America/New_York"}

// benchmark measures a call for each typical expression and zone.
func benchmark(b *testing.B, call func(s cron.Schedule, from time.Time) error) {
	from := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for _, zone := range typicalZones {
		for _, expr := range typicalExprs {
			b.Run(zone+" "+expr, func(b *testing.B) {
				s := mustParse(b, expr, zone)
				b.ReportAllocs()
				for b.Loop() {
					if err := call(s, from); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, zone := range typicalZones {
		for _, expr := range append(typicalExprs, "0 0 1-7,15W * MON#2") {
			b.Run(zone+" "+expr, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := cron.Parse(expr, zone); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("never", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cron.Parse("0 0 31 4,6,9,11 *", "UTC"); err == nil {
				b.Fatal("Parse accepted an impossible date")
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	benchmark(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Next(from)
		return err
	})
}

// BenchmarkPrev searches from just after a slot, from long after many slots,
// and from a fixed time.
func BenchmarkPrev(b *testing.B) {
	b.Run("just due", func(b *testing.B) {
		s := mustParse(b, "0 2 * * *", "America/New_York")
		from := time.Date(2026, 7, 1, 6, 0, 0, 5_000_000, time.UTC)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Prev(from); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("long after many slots", func(b *testing.B) {
		s := mustParse(b, "* * * * 1 *", "UTC") // every second of January, then none for eleven months
		from := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Prev(from); err != nil {
				b.Fatal(err)
			}
		}
	})
	benchmark(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Prev(from)
		return err
	})
}

// BenchmarkCount counts as many slots as the loop does after a long gap (M3).
func BenchmarkCount(b *testing.B) {
	benchmark(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Count(from, from.AddDate(5, 0, 0), 1000)
		return err
	})
}

func BenchmarkZoneRules(b *testing.B) {
	for _, zone := range typicalZones {
		b.Run(zone, func(b *testing.B) {
			s := mustParse(b, "@daily", zone)
			b.ReportAllocs()
			for b.Loop() {
				cron.ZoneRules(s.Location())
			}
		})
	}
}
