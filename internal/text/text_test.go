package text

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckJSON(t *testing.T) {
	for _, c := range []struct{ json, mistake string }{
		{`{"a":[1,-2.5e3,"x",true,null]}`, ""},
		{`"\\u0000 in a regular expression"`, ""},
		{`"\\\\u0000"`, ""},
		{`"\u0000"`, "NUL"},
		{`"\\\u0000"`, "NUL"},
		{`{"\u0000":1}`, "NUL"},
		{`"\ud83d\ude00"`, ""},
		{`"\ud83d"`, `half of a surrogate pair (\ud83d)`},
		{`"\ud83d\u0041"`, "half of a surrogate pair"},
		{`"\ude00\ud83d"`, `half of a surrogate pair (\ude00)`},
		{`["\ud83dx"]`, "half of a surrogate pair"},
		{`1e131071`, ""},
		{`1.5e131071`, ""},
		{`1e131072`, "1e131072 is out of range"},
		{`-1E999999`, "out of range"},
		{`{"a":[1e999999]}`, "1e999999 is out of range"},
		{`1e99999999999999999999`, "out of range"},
		{`0e999999`, ""},
		{`1e-16383`, ""},
		{`1e-16384`, "out of range"},
		{`0.001e131074`, ""},
		{`0.001e131075`, "out of range"},
		{`0.0e-20000`, "out of range"},
		{`"1e999999"`, ""},
		{strings.Repeat("9", 131072), ""},
		{strings.Repeat("9", 131073), "out of range"},
	} {
		require.True(t, json.Valid([]byte(c.json)), c.json)
		err := CheckJSON([]byte(c.json))
		if c.mistake == "" {
			require.NoError(t, err, "%.60s", c.json)
		} else {
			require.ErrorContains(t, err, c.mistake, "%.60s", c.json)
		}
	}
}

// No valid JSON makes CheckJSON panic.
func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":["\ud83d\ude00",1.5e-7]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if json.Valid(text) {
			_ = CheckJSON(text)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"refresh-prices", "refresh-stock", "match"}
	for name, want := range map[string]string{
		"refresh-price": "refresh-prices", "Refresh-Prices": "refresh-prices", "refresh-stick": "refresh-stock",
		"mtch": "match", "something-else": "", "x": "",
	} {
		require.Equal(t, want, Nearest(name, known), name)
	}
}
