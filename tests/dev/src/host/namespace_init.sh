# The first process of a server's process namespace. Reads orders from standard input and starts or
# stops the server. Each order is answered with one line. Arguments: the directory; the paths to
# hide from the server, each optionally followed by `=` and a size; the server's command line. The
# variable CONTROL_GROUP names an engine's control group.

# Outside a process namespace `stop-all` would kill every process of the machine.
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
        # The process id in the old file may belong to another process by now.
        rm -f "$directory/pid"
        "$@" </dev/null >>"$directory/log" 2>&1 9>&- &
        pid=$!
        echo started
        ;;
    # From now on the host reports the load that the files contain.
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

# The processes of a paused container cannot be killed in control groups of version 1, and the
# namespace ends only with its last process.
for state in /sys/fs/cgroup/freezer/"${CONTROL_GROUP:-none}"/*/freezer.state; do
    [ ! -e "$state" ] || echo THAWED >"$state"
done
