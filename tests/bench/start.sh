# Sourced: measures the time from the start of the process to its first token, when another replica has already redeemed
# the grant.
# shellcheck shell=bash disable=SC2034,SC2154

end "$sidecar_pid"
measure_start() { # SOCKET
    load "$client" start --socket "$1" --request "$work/token.request" --times 5 -- "${command[@]}"
    took=$(jq .p50_ms "$work/load.log")
}
sidecar_folder sidecar-start
ours_command=("${command[@]}") ours_socket=$folder/shared/agent.sock
nginx_folder nginx-start "listen unix:$work/nginx-start/nginx.sock;"
mkdir -p "$folder/html/v1/token"
cp "$work/token.json" "$folder/html$token_path"
nginx_command "$folder"
reference_command=("${command[@]}") reference_socket=$folder/nginx.sock
for ((round = 0; round < rounds; round++)); do
    command=("${ours_command[@]}")
    measure_start "$ours_socket" && mine=$took
    command=("${reference_command[@]}")
    measure_start "$reference_socket" && echo "[$mine, $took]" >>"$work/start.pairs"
done
compared start_to_first_token ms "$work/start.pairs" "nginx $nginx_version, to its first response"
# No measurement redeemed the grant again.
redeemed=$(curl -sS --cacert "$work/provider-ca.pem" "https://$provider_address/test/log" | jq 'map(select(.kind == "presented")) | length')
[ "$redeemed" = 1 ] || fail "the state had no valid access token: $redeemed redemptions"
end "$provider" "$api_pid"
