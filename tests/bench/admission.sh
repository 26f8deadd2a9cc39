# Sourced: measures admission over TLS, with the requests of an API server. The reference is nginx, which sends the same
# response over TLS and does not parse the request.
# shellcheck shell=bash disable=SC2034,SC2154

cat >"$work/policy.yaml" <<YAML
sidecar: {image: "registry.example.com/agent-creds/sidecar@sha256:$(printf '0%.0s' {1..64})"}
identity: {server: "https://agent-creds-identity.agent-creds-system.svc", caConfigMap: agent-creds-system/agent-creds-ca}
YAML
mkdir "$work/seal"
head -c 32 /dev/urandom >"$work/seal/current"
begin admit "$webhook" admit --policy "$work/policy.yaml" --api-ca "$work/ca.pem" --tls-cert "$work/tls.pem" \
    --tls-key "$work/tls.key" --seal-keys "$work/seal" --listen 127.0.0.1:0 --probe-listen 127.0.0.1:0
admit_pid=$pid
until_true 10 port_of admit address || fail "admit did not start"
admit_port=$(port_of admit address)

jq -c . "$here/review.json" >"$work/review.json"
printf 'POST /mutate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n' \
    "$(stat -c %s "$work/review.json")" | cat - "$work/review.json" >"$work/review.request"
curl -sS --fail-with-body --cacert "$work/ca.pem" -o "$work/answer.json" -H 'Content-Type: application/json' \
    --data-binary "@$work/review.json" "https://127.0.0.1:$admit_port/mutate" || fail "admit refused the review"
jq -e '.response | .allowed and .patch' "$work/answer.json" >/dev/null || fail "the pod was not injected: $(cat "$work/answer.json")"
echo "request: $(stat -c %s "$work/review.json") bytes, response: $(stat -c %s "$work/answer.json") bytes"

begin_nginx nginx-admission "listen @PORT@ ssl;
        ssl_certificate $work/tls.pem;
        ssl_certificate_key $work/tls.key;
        ssl_protocols TLSv1.3;
        error_page 405 =200 \$uri;"
nginx_pid=$pid nginx_port=$port
cp "$work/answer.json" "$folder/html/mutate"

admit_all() { # PID PORT
    rate "$1" "https://127.0.0.1:$2/mutate" -s "$here/post.lua" -- "$work/review.json"
}
admit_500() { # PORT
    paced "$1" "$work/review.request" 500 "$seconds" --ca "$work/ca.pem"
    jq -e '.per_second > 400' <<<"$paced" >/dev/null || fail "the load was not 500 requests/s"
}
# Warm-up.
admit_500 "$admit_port"
admit_500 "$nginx_port"
for ((round = 0; round < rounds; round++)); do
    admit_500 "$admit_port"
    ours=$paced
    admit_500 "$nginx_port"
    jq -c -n --argjson ours "$ours" --argjson reference "$paced" '[$ours.p50_ms, $reference.p50_ms]' >>"$work/p50.pairs"
    jq -c -n --argjson ours "$ours" --argjson reference "$paced" '[$ours.p99_ms, $reference.p99_ms]' >>"$work/p99.pairs"
    admit_all "$admit_pid" "$admit_port"
    ours=$rate ours_cpu=$cpu
    admit_all "$nginx_pid" "$nginx_port"
    echo "[$ours, $rate]" >>"$work/admission.pairs"
    echo "[$ours_cpu, $cpu]" >>"$work/admission-cpu.pairs"
done
static="nginx $nginx_version, TLS 1.3, a static response of the same size"
compared admission_p50_at_500_per_second ms "$work/p50.pairs" "$static"
# The goal is absolute, so the row has no reference. The line shows nginx, too, because load on the machine affects both.
jq -rs 'def ms: map(. * 1000 | round / 1000) | sort; "p99 of the rounds: \(map(.[0]) | ms) ms; nginx: \(map(.[1]) | ms) ms"' "$work/p99.pairs"
row admission_p99_at_500_per_second ms "$(jq -s 'map(.[0]) | sort | .[length / 2 | floor]' "$work/p99.pairs")" 2
compared admission_throughput requests/s "$work/admission.pairs" "$static"
compared admission_cpu us "$work/admission-cpu.pairs" "$static"
end "$admit_pid" "$nginx_pid"
