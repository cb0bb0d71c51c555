# watchdog.sh BIN DIR SETTING...: makes a cluster in DIR, runs its server and
# takes both away when standard input ends, which is when the process that
# started us has closed its end of the pipe or is gone. Says "ready" once it
# runs, and then repeats each word it has obeyed: immediate and fast stop the
# server, start starts it again.
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

# start SETTING...: runs the server and returns once it takes connections.
start() {
	"$bin/postgres" -D "$dir/data" "$@" >&2 </dev/null 3>&- &
	server=$!
	until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; do
		kill -0 "$server" 2>/dev/null || exit 1
		sleep 0.05
	done
}

# stop SIGNAL: ends the server and returns once it is gone.
stop() {
	kill -"$1" "$server"
	wait "$server"
	server=
	rm -f "$dir/data/postmaster.pid" # its last word could be taken for the next server's
}

exec 3>&1 >&2
start "$@"
# If nobody is left to hear us, go on to the clean-up instead of dying of it.
trap '' PIPE
echo ready >&3

while read -r word; do
	case $word in
	immediate) stop QUIT ;;
	fast) stop INT ;;
	start) start "$@" ;;
	esac
	echo "$word" >&3
done
exit 0
