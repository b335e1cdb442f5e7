# Runs what an SSH client asked for, and writes it down first. The argument is the file.
printf '%s\0' "${SSH_ORIGINAL_COMMAND-}" >>"$1"
[ -n "${SSH_ORIGINAL_COMMAND-}" ] || exec "${SHELL:-/bin/sh}"
exec "${SHELL:-/bin/sh}" -c "$SSH_ORIGINAL_COMMAND"
