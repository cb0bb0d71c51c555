#!/bin/sh
# setup.sh installs what the end-to-end tests need and this machine lacks:
# Chromium and, through npm, the accessibility checker for the tests of the admin
# page, and PgBouncer. The tests start a PgBouncer of their own and ignore one
# that the package manager has started.
# With -check it installs nothing, and fails if something is missing.
set -eu
cd "$(dirname "$0")/page/testdata"

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "setup.sh: '$*' needs root, and there is no sudo" >&2
		return 1
	fi
}

have_browser() {
	[ -n "${CHROMIUM:-}" ] && return
	for name in chromium chromium-browser google-chrome google-chrome-stable; do
		command -v "$name" >/dev/null 2>&1 && return
	done
	return 1
}

have_pooler() { PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null 2>&1; }

# The checker is complete and of the version that package-lock.json pins.
have_checker() {
	[ -f node_modules/axe-core/axe.min.js ] && [ -f node_modules/.package-lock.json ] &&
		[ ! package-lock.json -nt node_modules/.package-lock.json ]
}

install() {
	if command -v apt-get >/dev/null 2>&1; then
		as_root apt-get update -qq
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf install -y -q "$@"
	elif command -v apk >/dev/null 2>&1; then
		as_root apk add --quiet "$@"
	elif command -v brew >/dev/null 2>&1; then
		brew install --quiet "$@" # brew refuses to run as root
	else
		echo "setup.sh: found none of apt-get, dnf, apk and brew; install $* yourself." >&2
		return 1
	fi
}

if [ "${1:-}" = -check ]; then
	have_browser && have_checker && have_pooler
	exit
fi

have_browser || install chromium </dev/null
have_pooler || install pgbouncer </dev/null
if ! have_checker; then
	command -v npm >/dev/null 2>&1 || install npm </dev/null
	npm ci --silent --no-audit --no-fund </dev/null
fi
