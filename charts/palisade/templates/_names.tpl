{{- define "palisade.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* One release is usual: `palisade` stays `palisade`. Another name of a release goes in front. */ -}}
{{- define "palisade.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "palisade.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "palisade.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- /* For objects without a namespace: two releases in two namespaces must not meet. */ -}}
{{- define "palisade.clusterwide" -}}
{{- printf "%s.%s" .Release.Namespace (include "palisade.fullname" .) -}}
{{- end }}

{{- define "palisade.selector" -}}
app.kubernetes.io/name: {{ include "palisade.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "palisade.labels" -}}
{{ include "palisade.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: palisade
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "palisade.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{- /* Labels of pods: no version of the chart, so that a chart with the same pods restarts none. */ -}}
{{- define "palisade.podLabels" -}}
{{ include "palisade.selector" . }}
app.kubernetes.io/part-of: palisade
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What every container is told about the API and the log. */ -}}
{{- define "palisade.env" -}}
- name: PALISADE_LOG
  value: {{ .Values.log.level | quote }}
{{- with .Values.api.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $.Values.api.port | quote }}
{{- end }}
{{- end }}

{{- /* Where client libraries look for a pod's account; mounted only into the container that speaks to the API. */ -}}
{{- define "palisade.token" -}}
- name: token
  projected:
    defaultMode: 0400
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{- define "palisade.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{- /* How a part of an agent that speaks to the API says who it is. */ -}}
{{- define "palisade.credentialsMount" -}}
{{- if .root.Values.agent.staticPod.render -}}
- {name: {{ .part }}-credentials, mountPath: {{ get .root.Values.agent.staticPod.credentials .part }}, readOnly: true}
{{- else -}}
{{ include "palisade.tokenMount" .root }}
{{- end }}
{{- end }}

{{- /* Arguments of the parts of an agent. */ -}}
{{- define "palisade.agentArgs" -}}
- agent
- --parts={{ .parts }}
- --node-name=$(NODE_NAME)
- --namespace={{ .root.Release.Namespace }}
- --cluster={{ .root.Values.cluster.name }}
- --state-dir={{ .root.Values.agent.stateDir }}
- --config=/etc/palisade/agent.toml
- --log-format={{ .root.Values.log.format }}
{{- if and .root.Values.agent.staticPod.render (ne .parts "executor") }}
- --kubeconfig={{ get .root.Values.agent.staticPod.credentials .parts }}/kubeconfig
{{- end }}
# A member that left for good (`palisade node leave`) stays out as long as its pod: take the label off its machine.
- --after-leave=stay
{{- end }}

{{- /* Whether the loop of a part turns, never whether the cluster is well. A part that ends is started again by the agent
itself, at once; this is for one that stands still. Patient: a kubelet's back-off is worse than a slow minute. */ -}}
{{- define "palisade.liveness" -}}
httpGet: {path: /healthz, port: {{ .port }}{{ with .host }}, host: {{ . }}{{ end }}}
initialDelaySeconds: 30
periodSeconds: 10
timeoutSeconds: 5
failureThreshold: 6
{{- end }}

{{- define "palisade.agentEnv" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{ include "palisade.env" . }}
{{- end }}

{{- define "palisade.configVolume" -}}
- name: config
{{- if .Values.agent.staticPod.render }}
  downwardAPI:
    items: [{path: agent.toml, fieldRef: {fieldPath: "metadata.annotations['palisade.dev/agent.toml']"}}]
{{- else if .Values.agent.machineConfig }}
  hostPath: {path: {{ .Values.agent.machineConfig }}, type: File}
{{- else }}
  configMap: {name: {{ include "palisade.fullname" . }}-agent}
{{- end }}
{{- with .Values.agent.identity.systemUuidFile }}
- name: system-uuid
  hostPath: {path: {{ . }}, type: File}
{{- end }}
{{- with .Values.agent.identity.bootIdFile }}
- name: boot-id
  hostPath: {path: {{ . }}, type: File}
{{- end }}
{{- end }}

{{- define "palisade.configMount" -}}
- {name: config, mountPath: /etc/palisade/agent.toml, readOnly: true{{ if or .Values.agent.staticPod.render (not .Values.agent.machineConfig) }}, subPath: agent.toml{{ end }}}
{{- if .Values.agent.identity.systemUuidFile }}
- {name: system-uuid, mountPath: /etc/palisade/system-uuid, readOnly: true}
{{- end }}
{{- if .Values.agent.identity.bootIdFile }}
- {name: boot-id, mountPath: /etc/palisade/boot-id, readOnly: true}
{{- end }}
{{- end }}
