# Sourced: creates the node's address and the host names of the cluster. This network has no connection to the outside.
# shellcheck shell=bash disable=SC2154

ip link set lo up
ip link add node type bridge
ip address add "$AGENT_CREDS_NODE_ADDRESS/24" dev node
ip link set node up
# kube-proxy rewrites Service addresses after the kernel has found a route, so a route has to exist.
ip route add default dev node

# Processes on the node read this file, and the cluster's DNS serves it to pods.
printf '%s\n' "127.0.0.1 localhost $(uname -n)" "$AGENT_CREDS_NODE_ADDRESS node" >"$directory/hosts"
mount --bind "$directory/hosts" /etc/hosts

echo "nameserver $AGENT_CREDS_NODE_ADDRESS" >"$directory/resolv.conf"
# Often a symbolic link into the machine's /run, which is hidden here.
resolver=$(readlink -m /etc/resolv.conf)
if [ ! -e "$resolver" ]; then
    mkdir -p "$(dirname "$resolver")"
    touch "$resolver"
fi
mount --bind "$directory/resolv.conf" "$resolver"
