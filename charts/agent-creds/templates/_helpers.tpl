{{- /*
Names do not contain the release's name: there is one release per cluster, and dashboards, network policies and the
webhook's certificate depend on the names.
Use: include "agent-creds.name" "admit".
*/}}
{{- define "agent-creds.name" -}}
agent-creds-{{ . }}
{{- end }}

{{- /*
The selector of a Deployment. It must never change: a selector is immutable, so an upgrade with another one would fail.
Use: include "agent-creds.selector" "admit".
*/}}
{{- define "agent-creds.selector" -}}
app.kubernetes.io/name: agent-creds
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- /*
Use: include "agent-creds.labels" (list . "admit").
*/}}
{{- define "agent-creds.labels" -}}
{{- $root := index . 0 -}}
{{ include "agent-creds.selector" (index . 1) }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /*
An image, by digest if one is set.
Use: include "agent-creds.image" (list . .Values.image.webhook).
*/}}
{{- define "agent-creds.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := printf "%s/%s" $root.Values.image.registry $image.name -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /*
The webhook's policy file. The webhook refuses to start with an unknown key.
*/}}
{{- define "agent-creds.policy" -}}
sidecar:
  image: {{ include "agent-creds.image" (list . .Values.image.sidecar) | quote }}
  imagePullPolicy: {{ .Values.sidecar.imagePullPolicy }}
  uid: {{ int64 .Values.sidecar.uid }}
  resources: {{ toJson .Values.sidecar.resources }}
apiServer: {{ .Values.apiServer | quote }}
identity:
  mode: {{ .Values.identity.mode }}
  {{- if eq .Values.identity.mode "exchange" }}
  server: https://{{ include "agent-creds.name" "identity" }}.{{ .Release.Namespace }}.svc
  caConfigMap: {{ .Release.Namespace }}/{{ include "agent-creds.name" "ca" }}
  {{- end }}
seal: {{ toJson .Values.seal }}
defaultGrants: {{ toJson .Values.defaultGrants }}
allowCapabilities: {{ toJson .Values.allowCapabilities }}
allowHostPaths: {{ toJson .Values.allowHostPaths }}
providerRoots: {{ toJson .Values.providerRoots }}
{{- end }}

{{- /*
The webhook's address for the API server. If manage writes the caBundle, it is omitted here, so that an upgrade does not
remove it.
Use: include "agent-creds.clientConfig" (list . "/mutate").
*/}}
{{- define "agent-creds.clientConfig" -}}
{{- $root := index . 0 -}}
service:
  name: {{ include "agent-creds.name" "admit" }}
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: 443
{{- if eq $root.Values.certificates.mode "secret" }}
caBundle: {{ printf "%s\n" (trim $root.Values.certificates.caBundle) | b64enc }}
{{- end }}
{{- end }}

{{- /*
Namespaces for which the webhook is never called: its own, so that it can start while it is down, and kube-system, so that
the cluster can.
*/}}
{{- define "agent-creds.excludedNamespaces" -}}
{{- concat (list .Release.Namespace "kube-system") .Values.excludedNamespaces | uniq | toJson -}}
{{- end }}

{{- /*
Selects the namespaces whose pods can have been injected at any time, independent of excludedNamespaces.
*/}}
{{- define "agent-creds.injectable" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ list .Release.Namespace "kube-system" | uniq | toJson }}
{{- end }}

{{- /*
Selects the namespaces that can contain injected or keep-alive pods: those of injectable, and the release's namespace and
kube-system if an account with a keep-alive CronJob is there.
*/}}
{{- define "agent-creds.guarded" -}}
{{- $root := . -}}
{{- $without := list .Release.Namespace "kube-system" | uniq -}}
{{- range .Values.grants -}}
{{- if .keepAlive -}}
{{- $without = without $without (include "agent-creds.credential" (list $root .) | fromJson).namespace -}}
{{- end -}}
{{- end -}}
{{- if $without -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ toJson $without }}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{- /*
CEL: all our annotations, as a list. Policies loop over this list and not over a pod's annotations, which can be 80,000: the
cost of a loop in the API server grows with the square of its steps (seconds for 20,000).
*/}}
{{- define "agent-creds.annotations" -}}
['agent-creds/containers', 'agent-creds/forward-proxy', 'agent-creds/grants', 'agent-creds/inject', 'agent-creds/metrics-port',
        'agent-creds/port', 'agent-creds/seal', 'agent-creds/service-account', 'agent-creds/status', 'agent-creds/strict-start']
{{- end }}

{{- /*
Whether templates can look objects up. They cannot under `helm template`, which most GitOps controllers use. Every cluster
has kube-system.
*/}}
{{- define "agent-creds.seesCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" }}true{{ end -}}
{{- end }}

{{- /*
The ServiceAccount that may read the grants of an entry, as JSON. With identity.mode=pod it is the agent's own.
Use: include "agent-creds.credential" (list . $grant) | fromJson.
*/}}
{{- define "agent-creds.credential" -}}
{{- $root := index . 0 -}}
{{- $grant := index . 1 -}}
{{- if eq $root.Values.identity.mode "pod" -}}
{{ toJson $grant.agent }}
{{- else -}}
{{ $grant.credential | default (dict "namespace" $grant.agent.namespace "name" (printf "%s-creds" $grant.agent.name)) | toJson }}
{{- end -}}
{{- end }}

{{- /*
Annotations of objects that manage writes (certificates, seal keys, CA, Lease). The chart creates them without data, for the
reasons in grant-state-secret.yaml: by a hook if they do not exist, or as ordinary objects if templates cannot look objects
up. They are kept when the release is uninstalled, because running pods are sealed with these keys.
The release's name allows the ConfigMap to become part of the release (certificates.mode=secret) and to leave it again.
Use: include "agent-creds.kept" .
*/}}
{{- define "agent-creds.kept" -}}
{{- if include "agent-creds.seesCluster" . -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: hook-failed
meta.helm.sh/release-name: {{ .Release.Name }}
meta.helm.sh/release-namespace: {{ .Release.Namespace }}
{{ end -}}
helm.sh/resource-policy: keep
argocd.argoproj.io/sync-options: Prune=false,Delete=false
kustomize.toolkit.fluxcd.io/prune: disabled
{{- end }}

{{- /*
Labels of kept objects. They contain no version, because an upgrade would then change the objects.
*/}}
{{- define "agent-creds.keptLabels" -}}
{{ include "agent-creds.selector" "manage" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /*
The Secret with the certificate of admit and identity.
*/}}
{{- define "agent-creds.certificateSecret" -}}
{{- if eq .Values.certificates.mode "self-managed" -}}
{{ include "agent-creds.name" "certificates" }}
{{- else -}}
{{ .Values.certificates.secretName }}
{{- end -}}
{{- end }}

{{- /*
The arguments of every keep-alive program, as a JSON list; the grants follow them. The CronJob uses them, and the policy about
credential accounts allows no others.
Use: include "agent-creds.keepAliveArguments" . | fromJsonArray.
*/}}
{{- define "agent-creds.keepAliveArguments" -}}
{{- $arguments := list "refresh" "--once" "--store=kubernetes" -}}
{{- /* The program runs as the account that may read the grants, so it exchanges no token. */}}
{{- $arguments = append $arguments "--identity=pod" -}}
{{- $arguments = append $arguments (printf "--api-server=%s" .Values.apiServer) -}}
{{- $arguments = append $arguments "--api-ca-file=/run/agent-creds-identity/api-ca.crt" -}}
{{- with .Values.providerRoots -}}
{{- $arguments = append $arguments (printf "--provider-roots-data=%s" (b64enc .)) -}}
{{- end -}}
{{ toJson $arguments }}
{{- end }}

{{- /*
The credential accounts of the value grants that the policies protect, as a JSON list of "namespace/name". The list is empty
with identity.mode=pod, where the account is the agent's own.
Use: include "agent-creds.guardedAccounts" . | fromJsonArray.
*/}}
{{- define "agent-creds.guardedAccounts" -}}
{{- $accounts := list -}}
{{- if and .Values.policies.enabled .Values.policies.credentialAccounts (eq .Values.identity.mode "exchange") -}}
{{- $root := . -}}
{{- range .Values.grants -}}
{{- $account := include "agent-creds.credential" (list $root .) | fromJson -}}
{{- $accounts = append $accounts (printf "%s/%s" $account.namespace $account.name) -}}
{{- end -}}
{{- end -}}
{{ toJson (sortAlpha $accounts) }}
{{- end }}

{{- /*
CEL variables: `isCredential` is true if variables.account ("namespace/name") is a protected account. An expression may have
100,000 characters, so the list is split.
Use: include "agent-creds.accountVariables" $accounts.
*/}}
{{- define "agent-creds.accountVariables" -}}
{{- $pieces := chunk 300 . -}}
{{- $found := list -}}
{{- range $i, $piece := $pieces }}
- name: accounts{{ $i }}
  expression: >-
    {{ toJson $piece }}
{{- $found = append $found (printf "variables.account in variables.accounts%d" $i) }}
{{- end }}
- name: isCredential
  expression: >-
    {{ join " || " $found }}
{{- end }}

{{- /*
Selects the namespaces of the protected accounts.
Use: include "agent-creds.accountNamespaces" $accounts.
*/}}
{{- define "agent-creds.accountNamespaces" -}}
{{- $namespaces := list -}}
{{- range . -}}
{{- $namespaces = append $namespaces (splitList "/" . | first) -}}
{{- end -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values: {{ uniq $namespaces | toJson }}
{{- end }}
