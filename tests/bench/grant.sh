# Sourced: a grant, and a sidecar that redeemed it at the stand-in provider. From here on the state is warm, and the
# provider is not asked any more.
# shellcheck shell=bash disable=SC2034,SC2154

mkdir "$work/secrets"
# It ends when this pipe does.
mkfifo "$work/alive"
"$standin" --ca "$work/provider-ca.pem" --token-life 86400 --client \
    '{"provider":"generic","id":"bench","secret":"bench-secret","auth":"post","scopes":["incidents.read"]}' \
    <"$work/alive" >"$work/provider.log" 2>&1 &
provider=$!
running["$provider"]=provider
exec 8>"$work/alive"
until_true 10 grep -q '"ready":true' "$work/provider.log" || fail "the stand-in provider did not start"
provider_address=$(jq -r .address "$work/provider.log")
seed=$(curl -sS --fail-with-body --cacert "$work/provider-ca.pem" "https://$provider_address/test/seed" \
    --json '{"provider":"generic","client_id":"bench","scope":"incidents.read"}' | jq -er .refresh_token) ||
    fail "the stand-in provider gave no login"
cat >"$work/secrets/agent-pagerduty.yaml" <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: agent-pagerduty
  labels: {agent-creds/provider: oauth2}
stringData:
  client_id: bench
  client_secret: bench-secret
  refresh_token: "$seed"
  grant.yaml: |
    token_url: https://$provider_address/oauth/token
    client_auth: post
    allow_private: true
    scopes: [incidents.read]
YAML
cat >"$work/secrets/agent-pagerduty-state.yaml" <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: agent-pagerduty-state
  labels: {agent-creds/state-of: agent-pagerduty}
YAML

# sidecar_folder NAME: the folders of a sidecar, and the command that runs it in them.
sidecar_folder() {
    folder=$work/$1
    mkdir -p "$folder/shared" "$folder/spool"
    command=("$sidecar" serve --store "dir:$work/secrets" --grant pagerduty=agent-pagerduty --port 0 --metrics-port 0
        --shared-dir "$folder/shared" --spool-dir "$folder/spool"
        --provider-roots-data "$(base64 -w0 "$work/provider-ca.pem")" --strict-start)
}

sidecar_folder sidecar-files
begin sidecar "${command[@]}"
sidecar_pid=$pid
until_true 30 "$sidecar" probe startup --spool-dir "$folder/spool" || fail "no token within 30 s"
sidecar_port=$(port_of sidecar api)
authorization="Authorization: Bearer $(cat "$folder/shared/caller-key")"
token_path=/v1/token/pagerduty
curl -sS --fail-with-body -H "$authorization" -o "$work/token.json" "http://127.0.0.1:$sidecar_port$token_path" ||
    fail "the sidecar refuses: $(cat "$work/token.json")"
jq -e '.access_token and .token_type == "Bearer"' "$work/token.json" >/dev/null || fail "the answer holds no token"
token_bytes=$(stat -c %s "$work/token.json")
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n' "$token_path" "$authorization" >"$work/token.request"
echo "redeemed once; the answer of GET $token_path has $token_bytes bytes"
