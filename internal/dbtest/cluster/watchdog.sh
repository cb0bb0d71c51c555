# watchdog.sh BIN DIR SETTING...: makes a cluster in DIR, runs its server and
# takes both away when standard input ends, which is when the process that
# started us has closed its end of the pipe or is gone. Says "ready" once.
bin=$1 dir=$2
shift 2
server=

cleanup() {
	trap '' HUP INT TERM
	if [ -n "$server" ]; then
		# At once: nobody wants this data.
		kill -QUIT "$server"
		wait "$server"
	fi
	cd / && rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

"$bin/initdb" -D "$dir/data" -U postgres --pwfile "$dir/password" -A scram-sha-256 \
	-E UTF8 --no-locale --no-sync --no-instructions >&2 </dev/null || exit 1
"$bin/postgres" -D "$dir/data" "$@" >&2 </dev/null &
server=$!

# If nobody is left to hear "ready", go on to the clean-up instead of dying of it.
trap '' PIPE
until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; do
	kill -0 "$server" 2>/dev/null || exit 1
	sleep 0.05
done
echo ready
exec >&2

read -r _
exit 0
