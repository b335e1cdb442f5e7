# Runs one server (an sshd, a Docker Engine) in its own namespaces and removes everything it leaves.
# Standard input is a pipe from the owner. It closes when the owner ends, however it ends, and then
# the first process of the namespace (namespace_init.sh) exits too. The kernel kills all other
# processes of that namespace: sessions, containers, their shims.
#
# Standard error is the locked directory: the lock is held as long as any process inherits it.
# Arguments: `run` or `clean`; the directory; for an engine its address pool and its control group;
# for `run` also the options of unshare, the text of namespace_init.sh, the paths to hide, and the
# server's command.
mode=$1
directory=$2
pool=$3
group=$4

# Removes what does not disappear with the namespaces.
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
    # Last: as long as the directory is not empty, the next owner of the slot knows that it has to
    # clean.
    rm -rf "${directory:?}"/*
}

if [ "$mode" = clean ]; then
    clean
    exit
fi

options=$5
init=$6
hidden=$7
shift 7
# A handler instead of `trap ''`: the server would inherit ignored signals.
trap : INT TERM HUP
exec 9>&2 2>>"$directory/log"
# shellcheck disable=SC2086 # the options are words
CONTROL_GROUP=$group unshare $options -- sh -c "$init" namespace_init "$directory" "$hidden" "$@"
clean
rmdir "$directory"
