# Sourced after common.sh: work beside other work. Needs the folder $scratch.

# begin_lane COMMAND: runs it in the background. What it prints is kept until `end_lane`.
begin_lane() {
    mkdir -p "$scratch/lane"
    "$@" >"$scratch/lane/log" 2>&1 </dev/null &
    lane=$!
}

# end_lane: waits for the lane, shows what it printed, and ends the script if it failed.
end_lane() {
    local status=0
    wait "$lane" || status=$?
    lane=
    cat "$scratch/lane/log"
    return "$status"
}

# stop_lane: where the script ends before the lane, the lane ends too, and what it printed is shown.
stop_lane() {
    kill $(descendants "$lane") "$lane" 2>/dev/null || true
    wait "$lane" || true
    cat "$scratch/lane/log"
}
