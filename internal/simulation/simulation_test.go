package simulation

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hourbell/hourbell/internal/simulation/model"
)

func TestX(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	start := time.Now()
	var total Stats
	for seed := range uint64(n) {
		r := Run(seed, model.Without{})
		total.Steps += r.Steps
		total.Fires += r.Fires
		total.Mishaps += r.Mishaps
		if r.Violation != nil {
			e := Explain(seed, model.Without{})
			t.Fatalf("seed %d: %v\nshrunk: %v\n%s", seed, r.Violation, e.Violation, e.History)
		}
	}
	t.Logf("%+v in %v", total, time.Since(start))
}

func TestY(t *testing.T) {
	for name, without := range map[string]model.Without{
		"fence": {Fence: true}, "fence+index": {Fence: true, UniqueIndex: true}, "index": {UniqueIndex: true}, "debt": {Debt: true}, "settling": {Settling: true},
		"cas": {CompareAndSet: true}, "idle": {IdleLimit: true}, "clock": {OwnClock: true}, "definition": {Definition: true},
	} {
		t.Run(name, func(t *testing.T) {
			kinds := map[string][]uint64{}
			for seed := range uint64(300) {
				if r := Run(seed, without); r.Violation != nil {
					kinds[r.Violation.Kind] = append(kinds[r.Violation.Kind], seed)
				}
			}
			for k, s := range kinds {
				t.Log(k, len(s), "first", s[0])
			}
		})
	}
}
