{{- /*
A Deployment of the release: the common parts of admit, identity and manage. A role's own parts are named templates in
<role>-deployment.yaml, with the chart's root as their context:

  agent-creds.<role>.rollout   replicas, and the strategy if it is not the default
  agent-creds.<role>.args      the program's arguments
  agent-creds.<role>.sources   additional sources of the projected volume with the role's files

Keys: root; role; volume, the name of that volume; mountPath; serves, whether the role has a Service.
Use: include "agent-creds.deployment" (dict "root" . "role" "admit" "serves" true "volume" "config" "mountPath" "/etc/agent-creds")
*/}}
{{- define "agent-creds.deployment" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "agent-creds.name" $role }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "agent-creds.labels" (list $root $role) | nindent 4 }}
spec:
  {{- include (printf "agent-creds.%s.rollout" $role) $root | nindent 2 }}
  selector:
    matchLabels: {{- include "agent-creds.selector" $role | nindent 6 }}
  template:
    metadata:
      labels: {{- include "agent-creds.labels" (list $root $role) | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ $role }}
        {{- if .serves }}
        # The program reads the policy only at its start.
        checksum/policy: {{ include "agent-creds.policy" $root | sha256sum }}
        {{- end }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "agent-creds.name" $role }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if .serves }}
      # A preference, so that a cluster with one node can run it too.
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "agent-creds.selector" $role | nindent 14 }}
        {{- end }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        # Only this group may read keys and tokens.
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ $role }}
          image: {{ include "agent-creds.image" (list $root $root.Values.image.webhook) | quote }}
          imagePullPolicy: {{ $values.imagePullPolicy }}
          command: [/agent-creds-webhook]
          args:
            {{- include (printf "agent-creds.%s.args" $role) $root | nindent 12 }}
          env:
            # The memory of a large request returns to the kernel when the request is answered. Without this, glibc keeps it.
            - name: GLIBC_TUNABLES
              value: glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072
          ports:
            {{- if .serves }}
            - name: https
              containerPort: {{ $values.port }}
              protocol: TCP
            {{- end }}
            - name: metrics
              containerPort: 8080
              protocol: TCP
          livenessProbe:
            httpGet:
              path: /healthz
              port: metrics
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 3
          readinessProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          {{- if .serves }}
          lifecycle:
            # The Service sends requests here until every node knows that this pod ends.
            preStop:
              sleep:
                seconds: 5
          {{- end }}
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities:
              drop: [ALL]
            privileged: false
            readOnlyRootFilesystem: true
            runAsNonRoot: true
            seccompProfile:
              type: RuntimeDefault
          volumeMounts:
            - name: {{ .volume }}
              mountPath: {{ .mountPath }}
              readOnly: true
      volumes:
        - name: {{ .volume }}
          projected:
            defaultMode: 0440
            sources:
              {{- if .serves }}
              - configMap:
                  name: {{ include "agent-creds.name" "policy" }}
                  items:
                    - key: policy.yaml
                      path: policy.yaml
              # The API server's CA, which is in every namespace.
              - configMap:
                  name: kube-root-ca.crt
                  items:
                    - key: ca.crt
                      path: api-ca/ca.crt
              {{- end }}
              {{- with include (printf "agent-creds.%s.sources" $role) $root }}
              {{- . | nindent 14 }}
              {{- end }}
              {{- if .serves }}
              # Optional, because it may be created after the installation; the program waits for it.
              - secret:
                  name: {{ include "agent-creds.certificateSecret" $root }}
                  optional: true
                  items:
                    - key: tls.crt
                      path: tls/tls.crt
                    - key: tls.key
                      path: tls/tls.key
              # Optional, because they are created after the installation; the program waits for them.
              - secret:
                  name: {{ include "agent-creds.name" "seal" }}
                  optional: true
                  items:
                    - key: current
                      path: seal/current
                    - key: previous
                      path: seal/previous
              {{- end }}
{{- end }}

{{- /*
Replicas and update strategy of a role with a Service.
Use: include "agent-creds.servedRollout" .Values.admit
*/}}
{{- define "agent-creds.servedRollout" -}}
replicas: {{ .replicas }}
strategy:
  type: RollingUpdate
  # The old pods serve until the new ones are ready.
  rollingUpdate:
    maxUnavailable: 0
    maxSurge: 1
{{- end }}
