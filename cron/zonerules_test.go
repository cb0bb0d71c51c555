package cron_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/zoneinfo"
)

// zoneChange is a time from which a zone has a UTC offset, in seconds.
type zoneChange struct {
	at     time.Time
	offset int32
}

// newZone returns a zone from the data of a zone file. The zone has the first
// offset from the start of time, and then those of the changes. After the last
// change it follows the rule, in POSIX notation, if there is one.
func newZone(t *testing.T, offset int32, changes []zoneChange, rule string) *time.Location {
	t.Helper()
	var data bytes.Buffer
	write := func(values ...any) {
		for _, value := range values {
			require.NoError(t, binary.Write(&data, binary.BigEndian, value))
		}
	}
	offsets := []int32{offset}
	var indexes []uint8
	for _, c := range changes {
		if !slices.Contains(offsets, c.offset) {
			offsets = append(offsets, c.offset)
		}
		indexes = append(indexes, uint8(slices.Index(offsets, c.offset)))
	}
	magic := [20]byte{'T', 'Z', 'i', 'f', '2'}
	write(magic, [6]uint32{4: 1, 5: 1}, [6]byte{}, byte(0)) // the 32-bit part: one offset, one abbreviation
	write(magic, [6]uint32{3: uint32(len(changes)), 4: uint32(len(offsets)), 5: 4})
	for _, c := range changes {
		write(c.at.Unix())
	}
	write(indexes)
	for _, offset := range offsets {
		write(offset, [2]byte{})
	}
	data.WriteString("XXX\x00\n" + rule + "\n")
	location, err := time.LoadLocationFromTZData("Test/Zone", data.Bytes())
	require.NoError(t, err)
	return location
}

// rulesOf returns the ZoneRules of a schedule whose zone has been replaced.
func rulesOf(t *testing.T, location *time.Location) string {
	t.Helper()
	load := zoneinfo.Load
	defer func() { zoneinfo.Load = load }()
	zoneinfo.Load = func(string) (*time.Location, error) { return location, nil }
	return cron.ZoneRules(mustParse(t, "0 2 * * *", "Test/Zone").Location())
}

// berlinChanges lists the clock changes of Berlin from January 2019 to December
// 2045.
func berlinChanges(t *testing.T) (changes []zoneChange) {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	offset := int32(3600)
	for at := time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2046; at = at.Add(time.Hour) {
		if _, now := at.In(berlin).Zone(); int32(now) != offset {
			offset = int32(now)
			changes = append(changes, zoneChange{at, offset})
		}
	}
	require.Len(t, changes, 2*27)
	return changes
}

// D4: the rules of a zone do not depend on how its data is written, on names,
// or on years before 2020 and after 2039.
func TestZoneRulesIgnoreSpelling(t *testing.T) {
	const rule = "CET-1CEST,M3.5.0,M10.5.0/3"
	rules := func(zone string) string { return cron.ZoneRules(mustParse(t, "0 2 * * *", zone).Location()) }
	berlin := rules("Europe/Berlin")
	assert.Regexp(t, "^[0-9a-f]{16}$", berlin)

	changes := berlinChanges(t)
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes, rule)), "every change, and a rule")
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes, "")), "every change, no rule")
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes[:2], rule)), "few changes and a rule")
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes[:21], rule)), "the rule begins in summer")
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes[2:], "")), "no change in 2019")
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, changes[:2*21], "")), "no change in 2040")
	// A zone file may list a change of the name or of nothing.
	idle := zoneChange{time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), 3600}
	assert.Equal(t, berlin, rulesOf(t, newZone(t, 3600, slices.Insert(slices.Clone(changes), 2*8, idle), "")))

	assert.Equal(t, berlin, rules("Europe/Paris"))
	assert.Equal(t, rules("UTC"), rules("Etc/UTC"))
	assert.Equal(t, rules("UTC"), cron.ZoneRules(cron.Schedule{}.Location()))
	assert.Equal(t, rules("UTC"), cron.ZoneRules(mustParse(t, "*/5 * * * MON", "").Location()))
}

// D4: zones with different rules have different digits.
func TestZoneRulesDetectEveryChange(t *testing.T) {
	changes := berlinChanges(t)
	seen := map[string]string{}
	requireNew := func(rules, name string) {
		t.Helper()
		require.Empty(t, seen[rules], "has the rules of %s", name)
		seen[rules] = name
	}
	requireNew(rulesOf(t, newZone(t, 3600, changes, "")), "Berlin")
	for i, change := range changes {
		if year := change.at.Year(); year < 2020 || year > 2039 {
			continue
		}
		for _, shift := range []time.Duration{-time.Hour, time.Second, 7 * 24 * time.Hour} {
			other := slices.Clone(changes)
			other[i].at = change.at.Add(shift)
			requireNew(rulesOf(t, newZone(t, 3600, other, "")), change.at.String()+" moved by "+shift.String())
		}
		other := slices.Clone(changes)
		other[i].offset += 1800
		requireNew(rulesOf(t, newZone(t, 3600, other, "")), change.at.String()+" to another offset")
		requireNew(rulesOf(t, newZone(t, 3600, changes[:i], "")), "none from "+change.at.String())
	}
	for _, zone := range []string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"} {
		requireNew(cron.ZoneRules(mustParse(t, "0 2 * * *", zone).Location()), zone)
	}
}
