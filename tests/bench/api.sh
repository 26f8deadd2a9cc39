# Sourced: starts the sidecar as it runs in a pod, with its Secrets in an API server. nginx serves as the API server: it
# answers the two GETs, and two watches that begin with the current object and then stay open.
# shellcheck shell=bash disable=SC2034,SC2154

begin_nginx nginx-api "listen @PORT@ ssl;
        ssl_certificate $work/tls.pem;
        ssl_certificate_key $work/tls.key;
        location = /api/v1/namespaces/ops/secrets {
            limit_rate_after 8192;
            limit_rate 1;
            try_files /watch/\$arg_fieldSelector =404;
        }"
api_pid=$pid api_port=$port
mkdir -p "$folder/html/watch" "$folder/html/api/v1/namespaces/ops/secrets"
for name in "$grant" "$state"; do
    object=$folder/html/api/v1/namespaces/ops/secrets/$name
    jq -c --arg document "$document" --arg state "$state" '
        .metadata += {namespace: "ops", uid: "uid-of-\(.metadata.name)", resourceVersion: "1"} |
        .data = (if .metadata.name == $state then {state: $document} else .stringData | map_values(@base64) end) | del(.stringData)
        ' "$work/$name.json" >"$object"
    # One event, padded with blanks to 8 KiB and sent at once. Then one blank per second.
    printf '%-8191s\n%4096s' "$(jq -c '{type: "ADDED", object: .}' "$object")" '' >"$folder/html/watch/metadata.name%3D$name"
done
mkdir "$work/identity"
printf token >"$work/identity/api-token"

# sidecar_folder NAME: creates the directories of a sidecar, and sets `folder` and `command`, which runs it with them.
sidecar_folder() {
    folder=$work/$1
    mkdir -p "$folder/shared" "$folder/spool"
    command=("$sidecar" serve --store kubernetes --api-server "https://127.0.0.1:$api_port"
        --api-ca-data "$(base64 -w0 "$work/ca.pem")" --identity pod --identity-dir "$work/identity" --grant "pagerduty=ops/$grant"
        --port 0 --metrics-port 0 --shared-dir "$folder/shared" --spool-dir "$folder/spool"
        --provider-roots-data "$roots" --strict-start)
}

sidecar_folder sidecar-files
begin sidecar "${command[@]}"
sidecar_pid=$pid
until_true 30 "$sidecar" probe startup --spool-dir "$folder/spool" || fail "no token within 30 s"
sidecar_port=$(port_of sidecar api)
authorization="Authorization: Bearer $(cat "$folder/shared/caller-key")"
token_path=/v1/token/pagerduty
curl -sS --fail-with-body -H "$authorization" -o "$work/token.json" "http://127.0.0.1:$sidecar_port$token_path" ||
    fail "the sidecar refused the request: $(cat "$work/token.json")"
jq -e '.access_token and .token_type == "Bearer"' "$work/token.json" >/dev/null || fail "the response contains no token"
token_bytes=$(stat -c %s "$work/token.json")
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n' "$token_path" "$authorization" >"$work/token.request"
echo "the response of GET $token_path has $token_bytes bytes"
