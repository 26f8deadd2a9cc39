# Sourced: counts the requests of many replicas that share a grant, with a real API server: first real sidecars from the
# image, then many state machines in one process. It takes about six minutes, independent of BENCH_SECONDS and
# BENCH_ROUNDS, because it waits for several token lifetimes.
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
    69) echo "skipped: $(tail -n 1 "$work/scale.log")" ;;
    *) fail "the scale test failed" ;;
esac
