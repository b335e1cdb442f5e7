# Runs one Postgres server as long as standard input stays open. The owner holds the other end of
# that pipe. The kernel closes it when the owner ends, even after kill -9, and the server is then
# stopped. Arguments: the directory to remove at the end (empty: keep everything), the log file, the
# server's command line.
trap '' INT TERM HUP
remove=$1
log=$2
shift 2
pid=

alive() {
    [ -n "$pid" ] || return 1
    if [ -r "/proc/$pid/stat" ]; then
        read -r _ _ state _ <"/proc/$pid/stat" || return 1
        [ "$state" != Z ]
    else
        kill -0 "$pid" 2>/dev/null
    fi
}

# Signals the server and kills it if it does not end within ten seconds.
stop() {
    alive || return 0
    kill -s "$1" "$pid"
    left=100
    while alive && [ "$left" -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
    alive && kill -s KILL "$pid"
    wait "$pid" 2>/dev/null
    pid=
}

while read -r order; do
    case $order in
    start)
        "$@" </dev/null >>"$log" 2>&1 &
        pid=$!
        echo started
        ;;
    alive) if alive; then echo yes; else echo no; fi ;;
    crash)
        # QUIT is Postgres' immediate shutdown: no checkpoint, recovery at the next start.
        stop QUIT
        echo stopped
        ;;
    esac
done

stop INT
[ -z "$remove" ] || rm -rf "$remove"
