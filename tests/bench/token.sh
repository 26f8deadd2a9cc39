# Sourced: measures reads of a token from the sidecar. The reference is nginx, which serves a file of the same size to the
# same requests.
# shellcheck shell=bash disable=SC2034,SC2154

begin_nginx nginx-token 'listen @PORT@;'
nginx_pid=$pid nginx_port=$port
mkdir -p "$folder/html/v1/token"
head -c "$token_bytes" /dev/zero | tr '\0' x >"$folder/html$token_path"
read_tokens() { # PID PORT
    rate "$1" "http://127.0.0.1:$2$token_path" -H "$authorization"
}
# Warm-up.
read_tokens "$sidecar_pid" "$sidecar_port"
read_tokens "$nginx_pid" "$nginx_port"
for ((round = 0; round < rounds; round++)); do
    read_tokens "$sidecar_pid" "$sidecar_port"
    ours=$rate ours_cpu=$cpu
    read_tokens "$nginx_pid" "$nginx_port"
    echo "[$ours, $rate]" >>"$work/token.pairs"
    echo "[$ours_cpu, $cpu]" >>"$work/token-cpu.pairs"
done
static="nginx $nginx_version, one process, a file of $token_bytes bytes"
compared token_read requests/s "$work/token.pairs" "$static" 1
compared token_read_cpu us "$work/token-cpu.pairs" "$static"
end "$nginx_pid"
