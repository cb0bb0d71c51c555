# watchdog.sh BIN DIR SETTING...: creates a Postgres cluster in DIR, runs its
# server, and prints "ready" when the server accepts connections. Then it reads
# commands from standard input and prints each one when it is done: "immediate"
# and "fast" stop the server, and "start" starts it again. At the end of the
# input, which is also when the parent process ends, it stops the server and
# removes DIR.
bin=$1 dir=$2
shift 2
server=

cleanup() {
	trap '' HUP INT TERM
	if [ -n "$server" ]; then
		kill -QUIT "$server" # at once: the data is removed anyway
		wait "$server"
	fi
	cd / && rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

"$bin/initdb" -D "$dir/data" -U postgres --pwfile "$dir/password" -A scram-sha-256 \
	-E UTF8 --no-locale --no-sync --no-instructions >&2 </dev/null || exit 1

# start SETTING...: runs the server and returns when it accepts connections.
start() {
	"$bin/postgres" -D "$dir/data" "$@" >&2 </dev/null 3>&- &
	server=$!
	until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; do
		kill -0 "$server" 2>/dev/null || exit 1
		sleep 0.05
	done
}

# stop SIGNAL: stops the server and returns when it has ended.
stop() {
	kill -"$1" "$server"
	wait "$server"
	server=
	rm -f "$dir/data/postmaster.pid" # start would read its old state
}

exec 3>&1 >&2
start "$@"
# If the parent has ended, writing to it must not end this script before it has
# cleaned up.
trap '' PIPE
echo ready >&3

while read -r command; do
	case $command in
	immediate) stop QUIT ;;
	fast) stop INT ;;
	start) start "$@" ;;
	esac
	echo "$command" >&3
done
exit 0
