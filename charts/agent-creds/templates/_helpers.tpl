{{- /*
Names do not contain the release's name: there is one release per cluster, and the names are public (dashboards,
network policies and the webhook's certificate depend on them).
Use: include "agent-creds.name" "admit".
*/}}
{{- define "agent-creds.name" -}}
agent-creds-{{ . }}
{{- end }}

{{- /*
What a Deployment selects its pods by. Frozen: a selector can't be changed on a living Deployment, so no upgrade may
add, drop or change one of these.
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
An image by digest where one is known.
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
The webhook's policy file. It knows every key of it and refuses to start with any other.
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
How the API server reaches a path of the webhook. Where manage writes the caBundle there is none here, so that an upgrade
never takes it away.
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
Namespaces that the webhook is never asked for. Its own, or it could not start while it is down; kube-system, or the
cluster might not.
*/}}
{{- define "agent-creds.excludedNamespaces" -}}
{{- concat (list .Release.Namespace "kube-system") .Values.excludedNamespaces | uniq | toJson -}}
{{- end }}

{{- /*
Selects the namespaces whose pods may have been injected at some time, whatever excludedNamespaces says today.
*/}}
{{- define "agent-creds.injectable" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: {{ list .Release.Namespace "kube-system" | uniq | toJson }}
{{- end }}

{{- /*
Selects the namespaces where pods may be that were injected, or that keep grants alive: those of injectable, and the release's
own and kube-system where an account is whose grants a CronJob keeps alive.
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
CEL: every annotation of ours, as a list. Policies go through this list and not through a pod's annotations, of which there
may be 80,000: the time that the API server takes for a loop grows with the square of the steps (seconds for 20,000).
*/}}
{{- define "agent-creds.annotations" -}}
['agent-creds/containers', 'agent-creds/forward-proxy', 'agent-creds/grants', 'agent-creds/inject', 'agent-creds/metrics-port',
        'agent-creds/port', 'agent-creds/seal', 'agent-creds/service-account', 'agent-creds/status', 'agent-creds/strict-start']
{{- end }}

{{- /*
Whether templates can see the cluster: not under `helm template`, which most GitOps controllers use. kube-system is
in every cluster.
*/}}
{{- define "agent-creds.seesCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" }}true{{ end -}}
{{- end }}

{{- /*
The ServiceAccount that may read the grants of an entry, as JSON: with identity.mode=pod the agent's own.
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
What manage writes into (the certificates, the seal keys, the CA, the Lease) is made without data, for the reasons given in
grant-state-secret.yaml: by a hook, once, where it does not exist; as an ordinary object where templates can't see the
cluster. Kept when the release goes: living pods are sealed with these keys.
With the release's name, so that the ConfigMap can become a part of the release (certificates.mode=secret) and be none again.
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
Labels of what is kept. No version among them: a new one would be a write to a living object.
*/}}
{{- define "agent-creds.keptLabels" -}}
{{ include "agent-creds.selector" "manage" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /*
The Secret that admit and identity mount their certificate from.
*/}}
{{- define "agent-creds.certificateSecret" -}}
{{- if eq .Values.certificates.mode "self-managed" -}}
{{ include "agent-creds.name" "certificates" }}
{{- else -}}
{{ .Values.certificates.secretName }}
{{- end -}}
{{- end }}

{{- /*
Arguments of every keep-alive program, as a JSON list; the grants come after them. The CronJob has them, and the policy about
credential accounts lets no others pass.
Use: include "agent-creds.keepAliveArguments" . | fromJsonArray.
*/}}
{{- define "agent-creds.keepAliveArguments" -}}
{{- $arguments := list "refresh" "--once" "--store=kubernetes" -}}
{{- /* The program runs as the account that may read the grants, so there is nothing to exchange. */}}
{{- $arguments = append $arguments "--identity=pod" -}}
{{- $arguments = append $arguments (printf "--api-server=%s" .Values.apiServer) -}}
{{- $arguments = append $arguments "--api-ca-file=/run/agent-creds-identity/api-ca.crt" -}}
{{- with .Values.providerRoots -}}
{{- $arguments = append $arguments (printf "--provider-roots-data=%s" (b64enc .)) -}}
{{- end -}}
{{ toJson $arguments }}
{{- end }}

{{- /*
Credential accounts of the value grants that policies guard, as a JSON list of "namespace/name". With identity.mode=pod there
are none: the account is the agent's own.
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
CEL variables: `isCredential` tells whether variables.account ("namespace/name") is a guarded account. An expression has at
most 100,000 characters, so the list is cut into pieces.
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
Selects the namespaces of the guarded accounts.
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
