#!/bin/sh
# install.sh: installs a Postgres server with the package manager of this
# machine. The tests start servers of their own from its binaries. They do not
# use a server that the package starts.
set -eu

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "install.sh: '$*' needs root, and sudo is missing" >&2
		return 1
	fi
}

if command -v apt-get >/dev/null 2>&1; then
	as_root apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
elif command -v dnf >/dev/null 2>&1; then
	as_root dnf install -y -q postgresql-server
elif command -v apk >/dev/null 2>&1; then
	as_root apk add --quiet postgresql
elif command -v brew >/dev/null 2>&1; then
	brew install --quiet postgresql # brew refuses to run as root
else
	echo "install.sh: found none of apt-get, dnf, apk and brew." >&2
	echo "Install a Postgres server, or set TEST_DATABASE_URL." >&2
	exit 1
fi </dev/null
