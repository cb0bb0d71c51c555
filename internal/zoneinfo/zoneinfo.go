// Package zoneinfo loads the time zones of schedules.
package zoneinfo

import (
	"sync"
	"time"
)

// Load loads a time zone by its IANA name. Everything that computes slots loads
// zones with it. A process reads a zone only once, so that it computes all
// slots with the same rules, even if the zone's file is replaced meanwhile.
// Tests replace Load to give a zone other rules.
var Load = loadOnce

// zones are the zones that this process has read, by name.
var zones sync.Map

func loadOnce(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	first, _ := zones.LoadOrStore(name, zone)
	return first.(*time.Location), nil
}
