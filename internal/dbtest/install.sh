#!/bin/sh
# install.sh: installs a Postgres server through the package manager of this
# machine. The tests start it themselves, as often as they need one; a server
# that the package starts is neither needed nor touched.
set -eu

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "install.sh: '$*' needs root, and there is no sudo" >&2
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
	brew install --quiet postgresql # brew refuses root
else
	echo "install.sh: none of apt-get, dnf, apk and brew is here." >&2
	echo "Install a Postgres server, or name one in TEST_DATABASE_URL." >&2
	exit 1
fi </dev/null
