# Sourced: starts the scheduler, containerd, the kubelet, kube-proxy and DNS, and waits until the node "node" is ready.
# shellcheck shell=bash disable=SC2154

configuration=$here/configuration

# These directories of CNI and the kubelet are not configurable.
for place in /var/lib/cni /var/lib/kubelet /var/log; do
    mkdir -p "$place"
    mount -t tmpfs -o mode=755 tmpfs "$place"
done
# The kubelet would change these settings permanently for the whole machine, so it gets copies to write to.
for setting in vm/{overcommit_memory,panic_on_oom} kernel/{panic,panic_on_oops} kernel/keys/root_max{keys,bytes}; do
    copy=/run/${setting//\//.}
    cat "/proc/sys/$setting" >"$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
echo 1 >/proc/sys/net/ipv4/ip_forward

mkdir "$directory/cni"
cp "$configuration/pods.conflist" "$directory/cni"
start kube-scheduler "$kubernetes" kube-scheduler --kubeconfig="$keys/kube-scheduler.kubeconfig" \
    --leader-elect=false --secure-port=0
start containerd containerd --config "$configuration/containerd.toml"
await kube-apiserver 60 kubectl apply -f "$configuration/dns.yaml"
start dns "$(built dns)" -conf "$configuration/Corefile"
await containerd 60 ctr version
# shellcheck source=test-images.sh
source "$here/test-images.sh"

# shellcheck source=cgroups.sh
source "$here/cgroups.sh"
start kubelet "$kubernetes" kubelet --config="$configuration/kubelet.yaml" --kubeconfig="$keys/kubelet.kubeconfig" \
    --cgroup-root="/$(basename "$outside")" --hostname-override=node --node-ip="$AGENT_CREDS_NODE_ADDRESS"
start kube-proxy "$kubernetes" kube-proxy --kubeconfig="$keys/kube-proxy.kubeconfig" --hostname-override=node \
    --proxy-mode=iptables --cluster-cidr=10.244.0.0/16 --conntrack-max-per-core=0 \
    --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0

await dns 60 busybox wget -q -O - "http://$AGENT_CREDS_NODE_ADDRESS:8181/ready"
await kube-proxy 60 busybox wget -q -O - http://127.0.0.1:10256/healthz
await kubelet 120 kubectl wait --for=condition=Ready node/node --timeout=5s
# The controller manager removes the taint some time after the node is ready.
untainted() {
    [ -z "$(kubectl get node/node --output="jsonpath={.spec.taints}")" ]
}
export -f untainted
await kube-controller-manager 60 bash -c untainted
