package simulation

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/zoneinfo"
)

// zone is a time zone whose rules change between the starts of processes. Each
// simulation has one of its own, with a unique name, because simulations run in
// parallel.
type zone struct {
	name     string
	versions []*time.Location
	rules    []string // identify the versions; as stored
	loaded   int      // the version that the running code loads
}

var (
	zones     sync.Map // *zone by name
	zoneCount atomic.Int64
)

// loadZones lets zoneinfo.Load load the zones of simulations.
var loadZones = sync.OnceFunc(func() {
	load := zoneinfo.Load
	zoneinfo.Load = func(name string) (*time.Location, error) {
		if z, ok := zones.Load(name); ok {
			return z.(*zone).versions[z.(*zone).loaded], nil
		}
		return load(name)
	}
})

// newZone returns a zone that cron.Parse accepts until it is closed.
// drawVersions sets its versions.
func newZone() *zone {
	loadZones()
	z := &zone{name: fmt.Sprint("Test/Town", zoneCount.Add(1))}
	zones.Store(z.name, z)
	return z
}

func (z *zone) close() { zones.Delete(z.name) }

// drawVersions draws one to three versions of the zone's rules. They differ in
// the first hours of a history.
func (z *zone) drawVersions(c *choices) {
	const hour, halfHour = 3600, 1800
	at := func(hours, minutes int) time.Time { return time.Date(2026, 3, 29, hours, minutes, 0, 0, time.UTC) }
	all := []*time.Location{
		z.location(hour, offsetChange{at(1, 0), 2 * hour}), // as in Berlin
		z.location(hour), // without daylight saving time
		z.location(hour, offsetChange{at(2, 0), 2 * hour}),
		z.location(hour + halfHour),
		z.location(hour, offsetChange{at(1, 15), hour + halfHour}),
		z.location(2*hour, offsetChange{at(1, 0), hour}),
		z.location(2 * hour),
	}
	for range 1 + c.draw(2, 3, 2) {
		i := c.draw(slices.Repeat([]int{1}, len(all))...)
		z.versions, z.rules = append(z.versions, all[i]), append(z.rules, cron.ZoneRules(all[i]))
		all = slices.Delete(all, i, i+1)
	}
}

// offsetChange is a time at which the clocks of a zone change.
type offsetChange struct {
	at     time.Time
	offset int // in seconds east of UTC, from then on
}

// location returns a version of the zone with an offset and later changes.
func (z *zone) location(offset int, changes ...offsetChange) *time.Location {
	// RFC 9636 describes the format. The header ends with the numbers of times,
	// of offsets and of the letters of their abbreviations.
	var times, indices, offsets []byte
	add := func(offset int) {
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(offset))
		offsets = append(offsets, 0, 0)
	}
	add(offset)
	for i, change := range changes {
		times = binary.BigEndian.AppendUint32(times, uint32(change.at.Unix()))
		indices = append(indices, byte(i+1))
		add(change.offset)
	}
	data := append([]byte("TZif"), make([]byte, 16+3*4)...)
	for _, n := range []int{len(changes), len(changes) + 1, len("X\x00")} {
		data = binary.BigEndian.AppendUint32(data, uint32(n))
	}
	location, err := time.LoadLocationFromTZData(z.name, slices.Concat(data, times, indices, offsets, []byte("X\x00")))
	if err != nil {
		panic(err)
	}
	return location
}

// load lets the code that runs next load the version with these rules, if any
// version has them.
func (z *zone) load(rules string) {
	if i := slices.Index(z.rules, rules); i >= 0 {
		z.loaded = i
	}
}
