package simulation

import "slices"

// shrink makes a tape simpler for as long as it breaks what it breaks: it wipes what was drawn, many steps at once at
// first, then single draws, until nothing is left that can go, or it was tried often enough.
func shrink(tape [][]uint8, breaks func([][]uint8) bool) [][]uint8 {
	tries := 600
	still := func(candidate [][]uint8) bool {
		tries--
		return tries >= 0 && breaks(candidate)
	}
	for {
		before := tape
		tape = cutOff(tape, still)
		tape = wipe(tape, steps(tape), still)
		tape = wipe(tape, draws(tape), still)
		if tries <= 0 || slices.EqualFunc(before, tape, slices.Equal[[]uint8]) {
			return tape
		}
	}
}

// cutOff shortens a tape.
func cutOff(tape [][]uint8, breaks func([][]uint8) bool) [][]uint8 {
	for cut := len(tape) / 2; cut > 0; cut /= 2 {
		for cut < len(tape) && breaks(tape[:len(tape)-cut]) {
			tape = tape[:len(tape)-cut]
		}
	}
	return tape
}

// place is a draw on a tape, or all of a step where at is negative.
type place struct{ step, at int }

// steps are those, but for the scenario, in which anything but the simplest was drawn.
func steps(tape [][]uint8) (list []place) {
	for i, drawn := range tape {
		if i > 0 && slices.ContainsFunc(drawn, notSimplest) {
			list = append(list, place{i, -1})
		}
	}
	return list
}

// draws are those that are not the simplest.
func draws(tape [][]uint8) (list []place) {
	for i, drawn := range tape {
		for j, option := range drawn {
			if notSimplest(option) {
				list = append(list, place{i, j})
			}
		}
	}
	return list
}

func notSimplest(option uint8) bool { return option > 0 }

// wipe makes what can be the simplest, by halves, quarters and so on of the places given.
func wipe(tape [][]uint8, places []place, breaks func([][]uint8) bool) [][]uint8 {
	for size := (len(places) + 1) / 2; size > 0; size /= 2 {
		var kept []place
		for chunk := range slices.Chunk(places, size) {
			if wiped := without(tape, chunk); breaks(wiped) {
				tape = wiped
			} else {
				kept = append(kept, chunk...)
			}
		}
		places = kept
	}
	return tape
}

func without(tape [][]uint8, places []place) [][]uint8 {
	wiped := slices.Clone(tape)
	for _, p := range places {
		if p.at < 0 {
			wiped[p.step] = nil
			continue
		}
		wiped[p.step] = slices.Clone(wiped[p.step])
		wiped[p.step][p.at] = 0
	}
	return wiped
}
