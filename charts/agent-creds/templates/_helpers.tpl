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
