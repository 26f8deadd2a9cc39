# Sourced: what a grant costs when many replicas share it, beside a real API server: the sidecar out of the image, and
# the same machine many times in one process. It takes some six minutes, whatever BENCH_SECONDS and BENCH_ROUNDS are: that
# is what the lives of some tokens last.
# shellcheck shell=bash disable=SC2034,SC2154

cargo build --quiet --locked -p agent-creds-sidecar
cargo test --quiet --locked -p agent-creds-tests --test api --no-run
begin scale env BENCH_SCALE="$scale" BENCH_SCALE_SIMULATED="$simulated" SCALE_SIDECAR="$sidecar" SCALE_ROWS="$work/scale.rows" \
    "$root/tests/cluster/with" api \
    cargo test --quiet --locked --offline -p agent-creds-tests --test api scale:: -- --ignored --nocapture
scale_pid=$pid scale_status=0
wait "$scale_pid" || scale_status=$?
unset "running[$scale_pid]"
case $scale_status in
    0)
        grep -E '^[0-9]+ (sidecars|simulated)' "$work/scale.log"
        cat "$work/scale.rows" >>"$work/rows"
        ;;
    69) echo "left out: $(tail -n 1 "$work/scale.log")" ;;
    *) fail "the replicas could not be counted" ;;
esac
