# Sourced: creates the cluster's CA and the certificates that it signs. They are valid for 7 days.
# shellcheck shell=bash disable=SC2154

keys=$directory/keys

key() { # NAME
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$keys/$1.key"
}

certificate() { # NAME SUBJECT EXTENSION...
    key "$1"
    openssl req -new -key "$keys/$1.key" -subj "$2" |
        openssl x509 -req -days 7 -CA "$directory/ca.crt" -CAkey "$keys/ca.key" \
            -extfile <(printf '%s\n' "${@:3}") -out "$keys/$1.crt" 2>/dev/null
}

key ca
openssl req -x509 -new -key "$keys/ca.key" -days 7 -subj /CN=test-cluster -out "$directory/ca.crt"
key service-account
openssl pkey -in "$keys/service-account.key" -pubout -out "$keys/service-account.pub"
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate kube-apiserver /CN=kube-apiserver extendedKeyUsage=serverAuth \
    "subjectAltName=$names,DNS:localhost,IP:$AGENT_CREDS_NODE_ADDRESS,IP:10.96.0.1,IP:127.0.0.1"
certificate kubelet /CN=node extendedKeyUsage=serverAuth "subjectAltName=DNS:node,IP:$AGENT_CREDS_NODE_ADDRESS"
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client extendedKeyUsage=clientAuth
