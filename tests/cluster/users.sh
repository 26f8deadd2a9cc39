# Sourced: writes a kubeconfig for each user of the API server. Tokens are random, so that a pod cannot guess them.
# shellcheck shell=bash disable=SC2154

user() { # KUBECONFIG USER [GROUP]
    local token
    token=$(openssl rand -hex 16)
    echo "$token,$2,$2${3:+,$3}" >>"$directory/keys/tokens.csv"
    cat >"$1" <<END
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
users: [{name: test, user: {token: $token}}]
clusters:
- name: test
  cluster:
    server: https://$AGENT_CREDS_NODE_ADDRESS:6443
    certificate-authority-data: $(base64 -w 0 "$directory/ca.crt")
END
}

umask 077
user "$KUBECONFIG" admin system:masters
for component_user in kube-controller-manager kube-scheduler kube-proxy dns; do
    user "$directory/keys/$component_user.kubeconfig" "system:$component_user"
done
user "$directory/keys/kubelet.kubeconfig" system:node:node system:nodes
umask 022
