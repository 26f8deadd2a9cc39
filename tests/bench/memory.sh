# Sourced: measures the sidecar's memory after its first token, first idle and then under load.
# shellcheck shell=bash disable=SC2034,SC2154

kilobytes() { # FIELD
    awk -v field="$1:" '$1 == field {print $2}' "/proc/$sidecar_pid/status"
}
mebibytes() { # KILOBYTES
    jq -n "$1 / 1024"
}

sleep 1
idle=$(kilobytes VmRSS)
echo "idle: VmRSS $idle kB, of that RssAnon $(kilobytes RssAnon) kB"
row memory_idle MiB "$(mebibytes "$idle")" 8

watch_memory() {
    local most=0 now
    while sleep 0.1; do
        now=$(kilobytes VmRSS)
        ((now <= most)) || most=$now
        echo "$most" >"$work/most"
    done
}
watch_memory &
watching=$!
running["$watching"]=watching
paced "$sidecar_port" "$work/token.request" 1000 "$((seconds * 2))" --connections 16
most=$(cat "$work/most")
end "$watching"
jq -r --arg most "$most" --arg anonymous "$(kilobytes RssAnon)" '
    "at \(.per_second | round) requests/s: VmRSS \($most) kB at most, RssAnon \($anonymous) kB; response times: median \(.p50_ms) ms, p99 \(.p99_ms) ms"' <<<"$paced"
jq -e '.per_second > 900' <<<"$paced" >/dev/null || fail "the load was not 1000 requests/s"
row memory_at_1000_per_second MiB "$(mebibytes "$most")" 12
