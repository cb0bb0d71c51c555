package cron_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/cron"
)

func Example() {
	s, err := cron.Parse("30 2 * * *", "America/New_York")
	if err != nil {
		fmt.Println(err)
		return
	}
	// On 8 March, the clock in New York moves from 02:00 to 03:00.
	slots, err := s.Between(
		time.Date(2026, 3, 8, 0, 0, 0, 0, s.Location()),
		time.Date(2026, 3, 10, 0, 0, 0, 0, s.Location()),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, slot := range slots {
		fmt.Println(slot.Format(time.RFC3339), "is", slot.In(s.Location()).Format("Mon 15:04"))
	}
	// Output:
	// 2026-03-08T07:00:00Z is Sun 03:00
	// 2026-03-09T06:30:00Z is Mon 02:30
}

func ExampleParse_errors() {
	for _, c := range [][2]string{
		{"61 * * * *", "UTC"},
		{"0 22-2 * * *", "UTC"},
		{"0 0 30 2 *", "UTC"},
		{"0 0 * * *", "Europe/Berln"},
	} {
		_, err := cron.Parse(c[0], c[1])
		switch {
		case errors.Is(err, cron.ErrZone):
			fmt.Println("zone:", err)
		case errors.Is(err, cron.ErrNever):
			fmt.Println("never:", err)
		default:
			fmt.Println("expression:", err)
		}
	}
	// Output:
	// expression: minute 61 is not in 0-59
	// expression: hour "22-2" wraps around; write "22-23,0-2"
	// never: day-of-month "30" does not exist in month "2": never comes due
	// zone: unknown time zone "Europe/Berln"
}

func ExampleSchedule_Count() {
	s, err := cron.Parse("*/15 * * * *", "UTC")
	if err != nil {
		fmt.Println(err)
		return
	}
	night := time.Date(2026, 5, 1, 22, 0, 0, 0, time.UTC)
	n, _ := s.Count(night, night.Add(8*time.Hour), 1000)
	fmt.Println(n)
	n, _ = s.Count(night, night.AddDate(1, 0, 0), 1000)
	fmt.Println("at least", n)
	// Output:
	// 33
	// at least 1000
}
