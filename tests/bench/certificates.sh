# Sourced: creates a certificate authority for this run, and a server certificate for loopback.
# shellcheck shell=bash disable=SC2154

elliptic=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
{
    openssl req -x509 "${elliptic[@]}" -days 1 -subj "/CN=bench CA" -keyout "$work/ca.key" -out "$work/ca.pem"
    openssl req "${elliptic[@]}" -subj "/CN=127.0.0.1" -keyout "$work/tls.key" -out "$work/tls.csr"
    openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 1 -out "$work/tls.pem" \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE')
} 2>"$work/openssl.log" || fail "openssl could not create the certificates"
