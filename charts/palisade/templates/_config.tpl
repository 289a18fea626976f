{{- /* Who the ring part becomes; nothing where it stays root. In a static pod it does: its kubeconfig is a file of root's. */ -}}
{{- define "palisade.ringUser" -}}
{{- if and .Values.agent.ringUser (not .Values.agent.staticPod.render) }}{{ int64 .Values.agent.ringUser }}{{ end -}}
{{- end }}

{{- /* The agent's configuration file; its keys stand in docs/agent.md. */ -}}
{{- define "palisade.config" -}}
run_dir = {{ .Values.agent.runDir | quote }}
metrics_listen = {{ printf "%s:%v" .Values.agent.metrics.listen .Values.agent.metrics.port | quote }}
self_fence = {{ .Values.agent.selfFence | quote }}
realtime = {{ .Values.agent.realtime | quote }}
planned_absence_s = {{ .Values.agent.updateStrategy.absenceSeconds }}
{{- if .Values.agent.identity.systemUuidFile }}
system_uuid_file = "/etc/palisade/system-uuid"
{{- end }}
{{- if .Values.agent.identity.bootIdFile }}
boot_id_file = "/etc/palisade/boot-id"
{{- end }}
{{- if .Values.agent.processes.enabled }}
process_templates = {{ .Values.agent.processes.templates | quote }}
{{- if eq .Values.agent.processes.runtime "systemd" }}
process_runtime = "systemd"
system_bus = {{ printf "unix:path=%s/system_bus_socket" .Values.agent.processes.busDir | quote }}
{{- else }}
resource_cgroup = {{ .Values.agent.processes.cgroup | quote }}
{{- end }}
{{- end }}
{{- with .Values.agent.containers }}
{{- if .enabled }}
{{- if not $.Values.agent.processes.enabled }}
{{- fail "agent.containers.enabled: containers are resources of type Process: set agent.processes.enabled too" }}
{{- end }}

[containers]
socket = {{ printf "%s/containerd.sock" .socketDir | quote }}
namespace = {{ .namespace | quote }}
snapshotter = {{ .snapshotter | quote }}
{{- end }}
{{- end }}
{{- with include "palisade.ringUser" . }}

[ring_user]
uid = {{ . }}
gid = {{ . }}
{{- end }}
{{- if .Values.agent.watchdog.enabled }}

[watchdog]
device = {{ .Values.agent.watchdog.device | quote }}
timeout_s = {{ .Values.agent.watchdog.timeoutSeconds }}
{{- end }}
{{- with .Values.agent.interfaces }}

[interfaces]
{{- range $network, $interface := . }}
{{ $network | quote }} = {{ $interface | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The kubelet asks on the machine itself. */ -}}
{{- define "palisade.probeHost" -}}
{{- $listen := .Values.agent.metrics.listen -}}
{{- if eq $listen "0.0.0.0" }}127.0.0.1{{ else if eq $listen "[::]" }}"::1"{{ else }}{{ $listen | trimPrefix "[" | trimSuffix "]" | quote }}{{ end -}}
{{- end }}
