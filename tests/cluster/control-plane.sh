# Sourced: starts etcd, the API server and the controller manager.
# shellcheck shell=bash disable=SC2154

kubernetes=$(built kubernetes)
admission=NodeRestriction
# AlwaysPullImages changes our container after our webhook, which the tests should cover. A node cannot pull images here.
[ "$level" = node ] || admission+=,AlwaysPullImages

start etcd "$kubernetes" etcd --data-dir=/run/etcd --unsafe-no-fsync
start kube-apiserver "$kubernetes" kube-apiserver \
    --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address="$AGENT_CREDS_NODE_ADDRESS" \
    --tls-cert-file="$keys/kube-apiserver.crt" --tls-private-key-file="$keys/kube-apiserver.key" \
    --client-ca-file="$directory/ca.crt" --token-auth-file="$keys/tokens.csv" \
    --authorization-mode=Node,RBAC --enable-admission-plugins="$admission" --allow-privileged \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file="$keys/service-account.key" \
    --service-account-key-file="$keys/service-account.pub" \
    --service-cluster-ip-range=10.96.0.0/16 \
    --kubelet-client-certificate="$keys/kubelet-client.crt" --kubelet-client-key="$keys/kubelet-client.key" \
    --kubelet-certificate-authority="$directory/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$here/configuration/audit.yaml" --audit-log-path="$directory/audit.log" \
    --audit-log-maxsize=10000 # no rotation, which by default happens at 100 MB and would take the file away from readers
await kube-apiserver 120 kubectl get --raw /readyz

start kube-controller-manager "$kubernetes" kube-controller-manager \
    --kubeconfig="$keys/kube-controller-manager.kubeconfig" --use-service-account-credentials \
    --service-account-private-key-file="$keys/service-account.key" --root-ca-file="$directory/ca.crt" \
    --cluster-signing-cert-file="$directory/ca.crt" --cluster-signing-key-file="$keys/ca.key" \
    --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 --leader-elect=false --secure-port=0 \
    --kube-api-qps=500 --kube-api-burst=1000
# The controllers create these two objects last, and the API server admits no pod before they exist.
await kube-controller-manager 120 kubectl get serviceaccount/default configmap/kube-root-ca.crt
