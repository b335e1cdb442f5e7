# The first process of a server's own process namespace: starts and stops the server as it is told on
# standard input. What it says on `alive` and after each order is one line.
# Arguments: the directory, the places to hide from the server, each with `=` and a size where it has
# one, then the server's command line.

# Outside such a namespace `stop-all` would hit the whole machine.
[ "$$" = 1 ] || exit 1
directory=$1
hidden=$2
shift 2
for place in $hidden; do
    size=
    case $place in *=*) size=${place##*=} place=${place%=*} ;; esac
    mkdir -p "$place" && mount -t tmpfs -o "size=${size:-50%}" tmpfs "$place"
done
pid=

alive() {
    [ -n "$pid" ] || return 1
    read -r _ _ state _ <"/proc/$pid/stat" || return 1
    [ "$state" != Z ]
}

while read -r order; do
    case $order in
    start)
        # A number in it may have been given to another process since.
        rm -f "$directory/pid"
        "$@" </dev/null >>"$directory/log" 2>&1 9>&- &
        pid=$!
        echo started
        ;;
    # From now on the host says of its load what the files say.
    load)
        mount --bind "$directory/loadavg" /proc/loadavg
        [ ! -e /proc/pressure/io ] || mount --bind "$directory/pressure" /proc/pressure/io
        echo loaded
        ;;
    alive) if alive; then echo yes; else echo no; fi ;;
    stop)
        [ -z "$pid" ] || kill -s KILL "$pid"
        wait
        pid=
        echo stopped
        ;;
    stop-all)
        kill -s KILL -- -1
        wait
        pid=
        echo stopped
        ;;
    esac
done
