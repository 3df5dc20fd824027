# Sourced by the scripts: messages, free ports, other users, waiting. Bash on Linux; needs nothing that a bare Debian lacks.

# say TEXT...: what is being done, on stderr, so that stdout stays for results.
say() { printf '== %s\n' "$*" >&2; }

# die TEXT...: says what is wrong and ends the script.
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# port_taken PORT: whether any socket of this machine, in whatever state, holds the TCP port.
port_taken() {
    local hex
    printf -v hex '%04X' "$1"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -Eq "^ *[0-9]+: [0-9A-F]+:$hex "
}

# free_port: prints a free port below the range the kernel hands out itself, so that no client socket takes it between two starts.
free_port() {
    local port
    for _ in $(seq 200); do
        port=$((10000 + RANDOM % 20000))
        port_taken "$port" || { echo "$port"; return; }
    done
    die "found no free TCP port between 10000 and 29999"
}

# as_user USER COMMAND...: runs the command as that user; an empty USER means the present one.
as_user() {
    local user=$1; shift
    if [ -z "$user" ] || [ "$(id -un)" = "$user" ]; then "$@"; return; fi
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"
}

# give_folder USER DIR: makes DIR, gives it to the user, and checks that the user can reach it.
give_folder() {
    local user=$1 dir=$2
    mkdir -p "$dir"
    chmod 700 "$dir"
    [ -z "$user" ] && return
    chown -R "$user": "$dir"
    as_user "$user" test -x "$dir" || die "user $user cannot enter $dir: every folder above it must be open to others (a folder directly in /tmp is)"
}

# wait_until SECONDS COMMAND...: polls the command until it succeeds; fails after that many seconds.
wait_until() {
    local end=$((SECONDS + $1)); shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# alive PID, gone PID: whether the process runs (a zombie has ended).
alive() { [ -n "${1:-}" ] && [ -r "/proc/$1/stat" ] && ! grep -q '^[0-9]* (.*) Z' "/proc/$1/stat" 2>/dev/null; }
gone() { ! alive "$1"; }

# lives_in PID DIR: whether the process runs and has its working folder in DIR, so that a reused number is not taken for it.
lives_in() { alive "${1:-}" && [[ "$(readlink "/proc/$1/cwd")/" == "$2"/* ]]; }

# descendants PID: every process below it, one a line.
descendants() {
    local child
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        descendants "$child"
        echo "$child"
    done
}
