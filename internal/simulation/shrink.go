package simulation

import "slices"

// shrink makes a tape simpler for as long as it still breaks what it breaks: it cuts off its end, leaves out parts, and
// wipes what was drawn in them. It may be run on any tape that does.
func shrink(tape []uint8, breaks func([]uint8) bool) []uint8 {
	for rounds := 0; rounds < 8; rounds++ {
		before := slices.Clone(tape)
		tape = truncate(tape, breaks)
		for size := max(len(tape)/2, 1); size > 0; size /= 2 {
			tape = wipe(tape, size, breaks)
			if size <= 8 {
				tape = leaveOut(tape, size, breaks)
			}
		}
		if slices.Equal(before, tape) {
			break
		}
	}
	return tape
}

// truncate cuts off the end of a tape.
func truncate(tape []uint8, breaks func([]uint8) bool) []uint8 {
	for cut := len(tape) / 2; cut > 0; cut /= 2 {
		for cut <= len(tape) && breaks(tape[:len(tape)-cut]) {
			tape = tape[:len(tape)-cut]
		}
	}
	return tape
}

// wipe makes runs of draws the simplest, those alone that are not.
func wipe(tape []uint8, size int, breaks func([]uint8) bool) []uint8 {
	for from := 0; from < len(tape); from += size {
		to := min(from+size, len(tape))
		if !slices.ContainsFunc(tape[from:to], func(drawn uint8) bool { return drawn > 0 }) {
			continue
		}
		wiped := slices.Clone(tape)
		clear(wiped[from:to])
		if breaks(wiped) {
			tape = wiped
		}
	}
	return tape
}

// leaveOut takes runs of draws out, where something was drawn in them.
func leaveOut(tape []uint8, size int, breaks func([]uint8) bool) []uint8 {
	for from := 0; from+size <= len(tape); from++ {
		if tape[from] == 0 {
			continue
		}
		shorter := slices.Delete(slices.Clone(tape), from, from+size)
		if breaks(shorter) {
			tape = shorter
			from--
		}
	}
	return tape
}
