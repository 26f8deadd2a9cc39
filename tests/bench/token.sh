# Sourced: reading a token from the sidecar, beside nginx that serves a file of the same size; the same requests.
# shellcheck shell=bash disable=SC2034,SC2154

begin_nginx nginx-token 'listen @PORT@;'
nginx_pid=$pid nginx_port=$port
mkdir -p "$folder/html/v1/token"
head -c "$token_bytes" /dev/zero | tr '\0' x >"$folder/html$token_path"
ours=http://127.0.0.1:$sidecar_port$token_path reference=http://127.0.0.1:$nginx_port$token_path
read_tokens() { # URL
    rate "$1" 16 -H "$authorization"
}
for url in "$ours" "$reference"; do read_tokens "$url"; done # to warm up
for ((round = 0; round < rounds; round++)); do
    read_tokens "$ours" && mine=$rate
    read_tokens "$reference" && echo "[$mine, $rate]" >>"$work/token.pairs"
done
compared token_read requests/s "$work/token.pairs" "nginx $nginx_version, one process, a file of $token_bytes bytes" 1
end "$nginx_pid"
