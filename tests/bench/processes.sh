# Sourced: functions for processes. `running` contains every process that the benchmark starts. All are ended by their ids
# when the run ends.
# shellcheck shell=bash disable=SC2034,SC2154

declare -A running=()

cleanup() {
    # SIGTERM first, then SIGKILL for the processes that are still running.
    local pid
    for pid in "${!running[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${!running[@]}"; do gone "$pid" || kill -KILL "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
trap 'echo "bench: ${BASH_SOURCE[0]##*/}: $BASH_COMMAND failed" >&2' ERR
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
    local log
    echo "bench: $*" >&2
    for log in "$work"/*.log; do
        [ ! -s "$log" ] || { echo "--- ${log##*/}" && tail -n 5 "$log" | cut -c 1-500; } >&2
    done
    exit 1
}

# begin NAME COMMAND...: starts COMMAND with its output in NAME.log, and sets `pid`.
begin() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    pid=$!
    running[$pid]=$name
}

gone() { # PID: succeeds if the process ends within 5 s
    local n
    for ((n = 0; n < 50; n++)); do
        [ -e "/proc/$1" ] && [ "$(cut -d ' ' -f 3 "/proc/$1/stat" 2>/dev/null)" != Z ] || return 0
        sleep 0.1
    done
    return 1
}

end() { # PID...
    local pid
    kill "$@" 2>/dev/null || true
    for pid in "$@"; do
        gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        unset "running[$pid]"
    done
}

# until_true SECONDS COMMAND...: repeats COMMAND until it succeeds, at most for SECONDS.
until_true() {
    local tries=$(($1 * 20)) n
    shift
    for ((n = 0; n < tries; n++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    return 1
}

# load COMMAND...: runs a load generator, with its output in load.log. It runs in the background, so that a signal to this
# script takes effect at once.
load() {
    local mine
    begin load "$@"
    mine=$pid
    wait "$mine" || fail "$1 failed"
    unset "running[$mine]"
}

# rate PID URL WRK-ARGUMENT...: loads process PID with wrk (one thread, 16 connections). Sets `rate` to the requests per
# second, and `cpu` to the processor time of PID per request in microseconds.
rate() {
    local server=$1 url=$2 before
    shift 2
    before=$(nanoseconds "$server")
    load wrk -t 1 -c 16 -d "${seconds}s" "$url" "$@"
    cpu=$(($(nanoseconds "$server") - before))
    # Error responses are fast and must not count.
    ! grep -E 'Non-2xx|Socket errors' "$work/load.log" >&2 || fail "not every request to $url was answered with 200"
    rate=$(sed -n 's/^Requests\/sec: *//p' "$work/load.log")
    [ -n "$rate" ] || fail "wrk measured nothing at $url"
    cpu=$(jq -n "$cpu / 1000 / $(sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' "$work/load.log")")
}

# Both servers have one thread, so the main thread's processor time is the time of the process.
nanoseconds() { # PID
    cut -d ' ' -f 1 "/proc/$1/schedstat"
}

# paced PORT REQUEST RATE SECONDS ARGUMENT...: measures response times at a fixed rate, and sets `paced` to them as JSON.
paced() {
    local port=$1 request=$2 per_second=$3 for=$4
    shift 4
    load "$client" paced --port "$port" --request "$request" --rate "$per_second" --seconds "$for" "$@"
    paced=$(cat "$work/load.log")
}

port_of() { # LOG FIELD: prints the port of the address that a program logged in FIELD
    jq -ern --arg field "$2" 'first(inputs | select(has($field))) | .[$field] | split(":") | last' "$work/$1.log"
}
