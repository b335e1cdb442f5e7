# Gives one server (an sshd, a Docker Engine) namespaces of its own, and leaves nothing of it behind.
# Our standard input is a pipe from the owner. It closes when the owner ends, however it ends, and then
# the first process in there (inside.sh) ends too; the kernel kills whatever else runs in a process
# namespace whose first process is gone: sessions, containers, their shims.
#
# Standard error is the lock of the directory: held for as long as any of us lives.
# Arguments: `run` or `clean`, the directory, and for an engine its address pool and its control group;
# for `run` then the options of unshare, the text of inside.sh, the places to hide, the server's command.
todo=$1
directory=$2
pool=$3
group=$4

# What namespaces do not take with them.
clean() {
    if [ -n "$pool" ]; then
        ip -o -4 address show to "$pool" | while read -r _ bridge _; do
            ip link delete "$bridge"
        done
    fi
    if [ -n "$group" ]; then
        for parent in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ -d "$parent/$group" ] || continue
            find "$parent/$group" -depth -type d -exec rmdir {} ';'
        done
    fi
    # Last: as long as something is in it, the next to take this place knows that it has to clean.
    rm -rf "${directory:?}"/*
}

if [ "$todo" = clean ]; then
    clean
    exit
fi

options=$5
inside=$6
hidden=$7
shift 7
# Not ignored, which the server would inherit.
trap : INT TERM HUP
exec 9>&2 2>>"$directory/log"
# shellcheck disable=SC2086 # the options are words
unshare $options -- sh -c "$inside" inside "$directory" "$hidden" "$@"
clean
rmdir "$directory"
