package simulation

import "slices"

// shrink simplifies choices while violates accepts the result. It cuts off the
// end, then resets steps and single choices to the simplest option, until
// nothing more can be reset or it has tried often enough.
func shrink(list [][]uint8, violates func([][]uint8) bool) [][]uint8 {
	attempts := 600
	accepts := func(candidate [][]uint8) bool {
		attempts--
		return attempts >= 0 && violates(candidate)
	}
	for {
		before := list
		list = truncate(list, accepts)
		list = reset(list, complexSteps(list), accepts)
		list = reset(list, complexChoices(list), accepts)
		if attempts <= 0 || slices.EqualFunc(before, list, slices.Equal[[]uint8]) {
			return list
		}
	}
}

// truncate removes steps from the end.
func truncate(list [][]uint8, accepts func([][]uint8) bool) [][]uint8 {
	for n := len(list) / 2; n > 0; n /= 2 {
		for n < len(list) && accepts(list[:len(list)-n]) {
			list = list[:len(list)-n]
		}
	}
	return list
}

// position identifies a choice, or a whole step if index is negative.
type position struct{ step, index int }

// complexSteps returns the steps in which an option other than the simplest was
// chosen, without step 0, the scenario.
func complexSteps(list [][]uint8) (positions []position) {
	for i, options := range list {
		if i > 0 && slices.ContainsFunc(options, isComplex) {
			positions = append(positions, position{i, -1})
		}
	}
	return positions
}

// complexChoices returns the choices of an option other than the simplest.
func complexChoices(list [][]uint8) (positions []position) {
	for i, options := range list {
		for j, option := range options {
			if isComplex(option) {
				positions = append(positions, position{i, j})
			}
		}
	}
	return positions
}

func isComplex(option uint8) bool { return option > 0 }

// reset sets positions to the simplest option where accepts allows it: first
// half of them at once, then quarters, and so on.
func reset(list [][]uint8, positions []position, accepts func([][]uint8) bool) [][]uint8 {
	for size := (len(positions) + 1) / 2; size > 0; size /= 2 {
		var kept []position
		for chunk := range slices.Chunk(positions, size) {
			if candidate := simplified(list, chunk); accepts(candidate) {
				list = candidate
			} else {
				kept = append(kept, chunk...)
			}
		}
		positions = kept
	}
	return list
}

// simplified returns a copy of list with the simplest option at the positions.
func simplified(list [][]uint8, positions []position) [][]uint8 {
	result := slices.Clone(list)
	for _, p := range positions {
		if p.index < 0 {
			result[p.step] = nil
			continue
		}
		result[p.step] = slices.Clone(result[p.step])
		result[p.step][p.index] = 0
	}
	return result
}
