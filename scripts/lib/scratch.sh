# Sourced after common.sh (and lane.sh where there are lanes): a folder for private servers that leaves nothing behind when the script ends, however it ends.

# make_scratch: makes the folder $scratch. Servers started in its `postgres`, `rabbitmq` and `lane/rabbitmq` end with the script.
make_scratch() {
    scratch=$(mktemp -d /tmp/ringback.XXXXXX)
    chmod 711 "$scratch" # the servers' users pass through it
    trap remove_scratch EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

remove_scratch() {
    local status=$?
    trap - EXIT
    [ -z "${lane:-}" ] || stop_lane
    say "removing the private servers"
    scripts/servers/postgres kill "$scratch/postgres" || true
    scripts/servers/rabbitmq kill "$scratch/rabbitmq" || true
    scripts/servers/rabbitmq kill "$scratch/lane/rabbitmq" || true
    rm -rf "$scratch"
    exit "$status"
}
