// Package text checks texts that are stored and suggests names.
package text

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// The limits of Postgres's numeric type, in which jsonb keeps numbers.
const (
	maxIntegerDigits = 131072
	maxDecimals      = 16383
)

// CheckJSON returns an error if Postgres cannot store valid JSON as jsonb: it
// contains a NUL character, half of a surrogate pair, or a number out of range.
// The escaped text `\\u0000`, as in a regular expression, is not a NUL.
func CheckJSON(json []byte) error {
	for i := 0; i < len(json); {
		var n int
		var err error
		switch c := json[i]; {
		case c == '"':
			n, err = checkString(json[i:])
		case c == '-' || c >= '0' && c <= '9':
			n, err = checkNumber(json[i:])
		default:
			n = 1
		}
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// checkString checks the string that json begins with and returns its length.
func checkString(json []byte) (int, error) {
	for i := 1; i < len(json); i++ {
		switch json[i] {
		case '"':
			return i + 1, nil
		case '\\':
			i++
			if json[i] != 'u' {
				continue
			}
			unit, ok := codeUnit(json[i+1:])
			i += 4
			switch {
			case !ok || unit == 0:
				return 0, errors.New("a string contains a NUL character (\\u0000)")
			case unit >= 0xDC00 && unit <= 0xDFFF:
				return 0, fmt.Errorf("a string contains half of a surrogate pair (\\u%04x)", unit)
			case unit >= 0xD800 && unit <= 0xDBFF:
				low, ok := uint64(0), false
				if bytes.HasPrefix(json[i+1:], []byte(`\u`)) {
					low, ok = codeUnit(json[i+3:])
				}
				if !ok || low < 0xDC00 || low > 0xDFFF {
					return 0, fmt.Errorf("a string contains half of a surrogate pair (\\u%04x)", unit)
				}
				i += 6
			}
		}
	}
	return len(json), nil
}

// codeUnit parses the four hexadecimal digits of an escape.
func codeUnit(json []byte) (uint64, bool) {
	if len(json) < 4 {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(json[:4]), 16, 16)
	return unit, err == nil
}

// checkNumber checks the number that json begins with and returns its length.
func checkNumber(json []byte) (int, error) {
	end := bytes.IndexFunc(json, func(r rune) bool { return !bytes.ContainsRune([]byte("+-.eE0123456789"), r) })
	if end < 0 {
		end = len(json)
	}
	mantissa, exponentText := json[:end], "0"
	if e := bytes.IndexAny(mantissa, "eE"); e >= 0 {
		mantissa, exponentText = mantissa[:e], string(mantissa[e+1:])
	}
	integer, decimals, _ := bytes.Cut(bytes.TrimPrefix(mantissa, []byte("-")), []byte("."))
	exponent, err := strconv.ParseInt(exponentText, 10, 32)
	isZero := len(bytes.Trim(mantissa, "-0.")) == 0
	// leading is the number of digits before the point, written without an
	// exponent; negative for a small fraction.
	leading := int64(len(integer))
	if string(integer) == "0" {
		leading = -int64(len(decimals) - len(bytes.TrimLeft(decimals, "0")))
	}
	switch {
	case err != nil, !isZero && leading+exponent > maxIntegerDigits, int64(len(decimals))-exponent > maxDecimals:
		return 0, fmt.Errorf("the number %.40s is out of range", json[:end])
	}
	return end, nil
}
