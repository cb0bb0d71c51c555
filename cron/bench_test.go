package cron_test

import (
	"testing"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// typical are the expressions that the figures are about, from the commonest to the most costly.
var typical = []string{
	"* * * * *", "*/15 * * * *", "0 2 * * *", "0 9 * * MON-FRI", "0 0 1 * *", "0 0 L * *", "0 0 29 2 *", "*/5 * * * * *",
}

var typicalZones = []string{"UTC", "America/New_York"}

// measure runs a benchmark for each typical expression and zone, from a summer day on which something is due.
func measure(b *testing.B, one func(s cron.Schedule, from time.Time) error) {
	from := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for _, zone := range typicalZones {
		for _, expr := range typical {
			b.Run(zone+" "+expr, func(b *testing.B) {
				s := parse(b, expr, zone)
				b.ReportAllocs()
				for b.Loop() {
					if err := one(s, from); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, zone := range typicalZones {
		for _, expr := range append(typical, "0 0 1-7,15W * MON#2") {
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
				b.Fatal("accepted")
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	measure(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Next(from)
		return err
	})
}

// BenchmarkPrev is the question after a fire: a few milliseconds after a slot, or a long time where the slot is rare.
func BenchmarkPrev(b *testing.B) {
	b.Run("just due", func(b *testing.B) {
		s := parse(b, "0 2 * * *", "America/New_York")
		from := time.Date(2026, 7, 1, 6, 0, 0, 5_000_000, time.UTC)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Prev(from); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("dense and long silent", func(b *testing.B) {
		s := parse(b, "* * * * 1 *", "UTC") // two and a half million slots, then none for eleven months
		from := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Prev(from); err != nil {
				b.Fatal(err)
			}
		}
	})
	measure(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Prev(from)
		return err
	})
}

// BenchmarkCount counts a thousand slots: what a schedule costs that was away for long (M3).
func BenchmarkCount(b *testing.B) {
	measure(b, func(s cron.Schedule, from time.Time) error {
		_, err := s.Count(from, from.AddDate(5, 0, 0), 1000)
		return err
	})
}
