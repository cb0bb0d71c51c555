// Package zoneinfo loads the time zones of schedules.
package zoneinfo

import "time"

// Load loads a time zone by its IANA name. Everything that computes slots loads
// zones with it. Tests replace it to give a zone other rules, and restore it
// afterward.
var Load = time.LoadLocation
