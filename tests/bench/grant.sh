# Sourced: creates a grant and redeems it once at a provider for tests. Later measurements find a valid access token in
# the state, like every replica after the first one, and do not call the provider.
# shellcheck shell=bash disable=SC2034,SC2154

grant=agent-pagerduty state=agent-pagerduty-state
mkdir "$work/secrets" "$work/redeeming" "$work/redeeming"/{shared,spool}
# The provider ends when this pipe closes.
mkfifo "$work/alive"
"$standin" --ca "$work/provider-ca.pem" --token-life 86400 --client \
    '{"provider":"generic","id":"bench","secret":"bench-secret","auth":"post","scopes":["incidents.read"]}' \
    <"$work/alive" >"$work/provider.log" 2>&1 &
provider=$!
running["$provider"]=provider
exec 8>"$work/alive"
until_true 10 grep -q '"ready":true' "$work/provider.log" || fail "the provider did not start"
provider_address=$(jq -r .address "$work/provider.log")
seed=$(curl -sS --fail-with-body --cacert "$work/provider-ca.pem" "https://$provider_address/test/seed" \
    --json '{"provider":"generic","client_id":"bench","scope":"incidents.read"}' | jq -er .refresh_token) ||
    fail "the provider issued no refresh token"
jq -n --arg name "$grant" --arg seed "$seed" --arg url "https://$provider_address/oauth/token" '
    {apiVersion: "v1", kind: "Secret", metadata: {$name, labels: {"agent-creds/provider": "oauth2"}}, stringData: {
        client_id: "bench", client_secret: "bench-secret", refresh_token: $seed,
        "grant.yaml": ({token_url: $url, client_auth: "post", allow_private: true, scopes: ["incidents.read"]} | tojson)}}
    ' >"$work/$grant.json"
jq -n --arg name "$state" --arg grant "$grant" '
    {apiVersion: "v1", kind: "Secret", metadata: {$name, labels: {"agent-creds/state-of": $grant}}}' >"$work/$state.json"
# Every JSON document is also a YAML document.
for name in "$grant" "$state"; do cp "$work/$name.json" "$work/secrets/$name.yaml"; done

roots=$(base64 -w0 "$work/provider-ca.pem")
begin redeeming "$sidecar" serve --store "dir:$work/secrets" --grant "pagerduty=$grant" --port 0 --metrics-port 0 \
    --shared-dir "$work/redeeming/shared" --spool-dir "$work/redeeming/spool" --provider-roots-data "$roots" --strict-start
until_true 30 "$sidecar" probe startup --spool-dir "$work/redeeming/spool" || fail "no token within 30 s"
end "$pid"
document=$(sed -n 's/^ *state: *//p' "$work/secrets/$state.yaml" | tr -d "\"'")
base64 -d <<<"$document" | jq -e .access.token >/dev/null || fail "the state contains no access token"
echo "redeemed once at $provider_address"
