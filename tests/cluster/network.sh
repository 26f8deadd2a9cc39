# Sourced: the node's address, and names for host processes. There is no way out of this network.
# shellcheck shell=bash disable=SC2154

ip link set lo up
ip link add node type bridge
ip address add "$AGENT_CREDS_NODE_ADDRESS/24" dev node
ip link set node up
# Service addresses are rewritten after a route was found, so there has to be one.
ip route add default dev node

# One file for host processes and, through the cluster's DNS, for pods.
printf '%s\n' "127.0.0.1 localhost $(uname -n)" "$AGENT_CREDS_NODE_ADDRESS node" >"$directory/hosts"
mount --bind "$directory/hosts" /etc/hosts

echo "nameserver $AGENT_CREDS_NODE_ADDRESS" >"$directory/resolv.conf"
# Often a link into the /run that is hidden now.
resolver=$(readlink -m /etc/resolv.conf)
if [ ! -e "$resolver" ]; then
    mkdir -p "$(dirname "$resolver")"
    touch "$resolver"
fi
mount --bind "$directory/resolv.conf" "$resolver"
