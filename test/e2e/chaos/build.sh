#!/bin/sh
# build.sh PROGRAM: builds the chaos run so that each of its processes can be given a wrong clock.
#
# The library's own clock cannot be set, and should not be: nobody needs that but this run. So the compiler is handed
# another clock.go for this one build, which differs in the line that says what the clock is. (Shifting the clock of a
# process from outside does not work: a Go program asks the kernel by itself, and the kernel has one wall clock for all.)
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
awk '
	/^import \($/ { print; print "\t\"os\""; next }
	/^var wallClock = time.Now$/ {
		print "var wrong, _ = time.ParseDuration(os.Getenv(\"HOURBELL_CHAOS_CLOCK\"))\n"
		print "var wallClock = func() time.Time { return time.Now().Add(wrong) }"
		found = 1
		next
	}
	{ print }
	END { if (!found) { print "build.sh: clock.go no longer says what the clock is in one line" > "/dev/stderr"; exit 1 } }
' "$root/clock.go" >"$made/clock.go"
printf '{"Replace": {"%s": "%s"}}\n' "$root/clock.go" "$made/clock.go" >"$made/overlay.json"
cd "$root/test/e2e" && "${GO:-go}" build -overlay "$made/overlay.json" -o "$1" ./chaos
