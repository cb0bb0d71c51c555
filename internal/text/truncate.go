package text

import "strings"

// Truncate returns the first n bytes of a text that is longer, or up to three
// fewer so that it cuts no character.
func Truncate(s string, n int) string { return strings.ToValidUTF8(s[:n], "") }
