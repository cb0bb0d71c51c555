package cron

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// ZoneRules covers the UTC offsets from rulesFrom to rulesUntil.
var (
	rulesFrom  = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	rulesUntil = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// ZoneRules returns 16 hexadecimal digits that identify the rules of a time
// zone: its UTC offsets from 2020 to 2039, and the times at which they change.
// The result does not depend on names or abbreviations. Two zones with the same
// offsets in these years have the same digits. So do two versions of a zone's
// data that differ in other years only.
//
// ZoneRules visits every clock change of these years, so callers with many
// schedules cache the result for each zone.
func ZoneRules(location *time.Location) string {
	p := periodAt(location, rulesFrom)
	rules := binary.BigEndian.AppendUint64(nil, uint64(p.offset))
	for p.end < rulesUntil {
		next := periodAt(location, p.end)
		// The data of a zone can divide the time between two changes into
		// periods with the same offset. The division depends on the program
		// that compiled the data, so it does not count.
		if next.offset != p.offset {
			rules = binary.BigEndian.AppendUint64(rules, uint64(p.end))
			rules = binary.BigEndian.AppendUint64(rules, uint64(next.offset))
		}
		p = next
	}
	sum := sha256.Sum256(rules)
	return hex.EncodeToString(sum[:8])
}
