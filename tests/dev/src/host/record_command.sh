# Appends the SSH client's command to the file named by the argument, and runs it.
printf '%s\0' "${SSH_ORIGINAL_COMMAND-}" >>"$1"
[ -n "${SSH_ORIGINAL_COMMAND-}" ] || exec "${SHELL:-/bin/sh}"
exec "${SHELL:-/bin/sh}" -c "$SSH_ORIGINAL_COMMAND"
