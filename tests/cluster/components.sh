# Sourced: functions that start the components of the cluster, wait for them, and report the one that failed.
# shellcheck shell=bash disable=SC2154

logs=$directory/logs
declare -A component

start() { # NAME COMMAND [ARG...]
    "${@:2}" </dev/null >"$logs/$1.log" 2>&1 9>&- &
    component[$1]=$!
}

failed() { # NAME WHAT
    echo "tests/cluster: $1 $2; the end of its log:" >&2
    tail -n 20 "$logs/$1.log" >&2
    exit 70
}

ended() { # prints the names of the components that have ended
    local name
    for name in "${!component[@]}"; do
        kill -0 "${component[$name]}" 2>/dev/null || echo "$name"
    done
}

await() { # NAME SECONDS CHECK [ARG...]: waits until the check succeeds
    local deadline=$((SECONDS + $2)) dead
    until timeout 10 "${@:3}" >"$logs/$1.check" 2>&1; do
        dead=$(ended | head -n 1)
        [ -z "$dead" ] || failed "$dead" "has ended"
        [ "$SECONDS" -lt "$deadline" ] || failed "$1" "is not ready after $2 seconds ($(tail -n 1 "$logs/$1.check"))"
        sleep 0.1
    done
}
