{{- /*
The containers of an agent, for the DaemonSets and for the static pod: the same parts with the same rights. A static pod may name no account, Secret or
ConfigMap, so there credentials are a folder of the machine, and the configuration is a part of the pod's file.
*/ -}}
{{- define "palisade.executor" -}}
# A sidecar, which the kubelet starts before the ring and ends after it: the ring says good-bye while the executor
# still listens. No token.
- name: executor
  restartPolicy: Always
  image: {{ include "palisade.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    {{- include "palisade.agentArgs" (dict "root" . "parts" "executor") | nindent 4 }}
    - --health-listen=127.0.0.1:{{ .Values.agent.health.executorPort }}
  env: {{- include "palisade.agentEnv" . | nindent 4 }}
  livenessProbe: {{- include "palisade.liveness" (dict "host" "127.0.0.1" "port" .Values.agent.health.executorPort) | nindent 4 }}
  resources: {{- toYaml .Values.agent.resources.executor | nindent 4 }}
  securityContext:
    readOnlyRootFilesystem: true
    {{- $inPod := and .Values.agent.processes.enabled (eq .Values.agent.processes.runtime "pod") }}
    {{- if and $inPod .Values.agent.processes.privileged }}
    # Processes leave the cgroups of this container; see agent.processes in values.yaml.
    privileged: true
    {{- else }}
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
      # NET_ADMIN: addresses. NET_RAW: announcing them, asking whether somebody has them. SYS_BOOT: taking the own
      # machine down. IPC_LOCK: not to be paged out.
      {{- if $inPod }}
      # KILL, SETUID, SETGID: processes of other users.
      add: [NET_ADMIN, NET_RAW, SYS_BOOT, IPC_LOCK, KILL, SETUID, SETGID]
      {{- else }}
      add: [NET_ADMIN, NET_RAW, SYS_BOOT, IPC_LOCK]
      {{- end }}
    {{- end }}
  volumeMounts:
    {{- include "palisade.configMount" . | nindent 4 }}
    # Its records, and the folders of its own sockets. Not those of ring and fencer.
    - {name: run, mountPath: {{ .Values.agent.runDir }}}
    - {name: nothing, mountPath: {{ .Values.agent.runDir }}/agent, readOnly: true}
    - {name: nothing, mountPath: {{ .Values.agent.runDir }}/fencer, readOnly: true}
    {{- if .Values.agent.processes.enabled }}
    - {name: templates, mountPath: {{ .Values.agent.processes.templates }}, readOnly: true}
    {{- if $inPod }}
    - {name: cgroups, mountPath: /sys/fs/cgroup}
    {{- else }}
    - {name: bus, mountPath: {{ .Values.agent.processes.busDir }}}
    {{- end }}
    {{- end }}
    {{- if .Values.agent.containers.enabled }}
    # What containers have mounted below it goes when they go, and is not held by this pod. A socket that is read-only can be
    # spoken to all the same.
    - {name: containerd, mountPath: {{ .Values.agent.containers.socketDir }}, readOnly: true, mountPropagation: HostToContainer}
    {{- end }}
    {{- with .Values.agent.extraExecutorVolumeMounts }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{- define "palisade.ring" -}}
- name: ring
  image: {{ include "palisade.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: {{- include "palisade.agentArgs" (dict "root" . "parts" "ring") | nindent 4 }}
  env:
    {{- include "palisade.agentEnv" . | nindent 4 }}
    # For `kubectl exec ... -- /palisade status`
    - name: PALISADE_AGENT
      value: {{ .Values.agent.runDir }}/agent/agent.sock
  ports:
    - {name: metrics, containerPort: {{ .Values.agent.metrics.port }}, hostPort: {{ .Values.agent.metrics.port }}}
  # Ready: this member is in an open era, holds its state on a whole disk, and its executor has reported. Not ready
  # before the HACluster exists.
  readinessProbe:
    httpGet: {host: {{ include "palisade.probeHost" . }}, path: /readyz, port: {{ .Values.agent.metrics.port }}}
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 3
  livenessProbe: {{- include "palisade.liveness" (dict "host" (include "palisade.probeHost" .) "port" .Values.agent.metrics.port) | nindent 4 }}
  resources: {{- toYaml .Values.agent.resources.ring | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
      # NET_RAW: asking silent machines by ICMP. IPC_LOCK, SYS_NICE: to be run in time. All are tried, and a refusal is a
      # condition.
      {{- if include "palisade.ringUser" . }}
      # SETUID, SETGID: the ring part gives root up, and keeps IPC_LOCK alone; KILL: its supervisor, which reads nothing
      # from anybody, ends it.
      add: [NET_RAW, IPC_LOCK, SYS_NICE, SETUID, SETGID, KILL]
      {{- else }}
      add: [NET_RAW, IPC_LOCK, SYS_NICE]
      {{- end }}
  volumeMounts:
    {{- include "palisade.configMount" . | nindent 4 }}
    # Its own socket, for people, and those of the parts that it speaks to.
    - {name: run-agent, mountPath: {{ .Values.agent.runDir }}/agent}
    - {name: run-executor, mountPath: {{ .Values.agent.runDir }}/executor}
    - {name: run-fencer, mountPath: {{ .Values.agent.runDir }}/fencer}
    - {name: state, mountPath: {{ .Values.agent.stateDir }}}
    # What the fencer keeps, BMC credentials among it, is not here.
    - {name: nothing, mountPath: {{ .Values.agent.stateDir }}/fencer, readOnly: true}
    {{- include "palisade.credentialsMount" (dict "root" . "part" "ring") | nindent 4 }}
{{- end }}

{{- define "palisade.fencer" -}}
{{- $onMachine := or .Values.fencer.hostNetwork .Values.agent.staticPod.render -}}
- name: fencer
  image: {{ include "palisade.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    {{- include "palisade.agentArgs" (dict "root" . "parts" "fencer") | nindent 4 }}
    # Where the pod has a network of its own the kubelet comes from outside.
    - --health-listen={{ ternary "127.0.0.1" "0.0.0.0" $onMachine }}:{{ .Values.agent.health.fencerPort }}
  env: {{- include "palisade.agentEnv" . | nindent 4 }}
  livenessProbe: {{- include "palisade.liveness" (dict "host" (ternary "127.0.0.1" "" $onMachine) "port" .Values.agent.health.fencerPort) | nindent 4 }}
  resources: {{- toYaml .Values.fencer.resources | nindent 4 }}
  securityContext:
    readOnlyRootFilesystem: true
    {{- if .Values.agent.watchdog.enabled }}
    # A container that is not privileged cannot open a device of the machine.
    privileged: true
    {{- else }}
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
      # Passwords are not paged out.
      add: [IPC_LOCK]
    {{- end }}
  volumeMounts:
    {{- include "palisade.configMount" . | nindent 4 }}
    # Its own socket, for the ring, and the executor's, whose answers feed the watchdog. Not the agent's.
    - {name: run-fencer, mountPath: {{ .Values.agent.runDir }}/fencer}
    - {name: run-watch, mountPath: {{ .Values.agent.runDir }}/watch}
    # Credentials for when the API is away. Not the ring's state, nor its key.
    - {name: fencer-state, mountPath: {{ .Values.agent.stateDir }}/fencer}
    {{- include "palisade.credentialsMount" (dict "root" . "part" "fencer") | nindent 4 }}
{{- end }}

{{- define "palisade.agentVolumes" -}}
- name: state
  hostPath: {path: {{ .Values.agent.stateDir }}, type: DirectoryOrCreate}
- name: run
  hostPath: {path: {{ .Values.agent.runDir }}, type: DirectoryOrCreate}
{{- include "palisade.runVolumes" (dict "root" . "folders" (list "agent" "executor" "fencer")) | trim | nindent 0 }}
- name: nothing
  emptyDir: {sizeLimit: 1Mi}
{{- if .Values.agent.processes.enabled }}
- name: templates
  hostPath: {path: {{ .Values.agent.processes.templates }}, type: DirectoryOrCreate}
{{- if eq .Values.agent.processes.runtime "pod" }}
- name: cgroups
  hostPath: {path: /sys/fs/cgroup, type: Directory}
{{- else }}
# The folder and not the socket: the bus makes that anew when it is restarted.
- name: bus
  hostPath: {path: {{ .Values.agent.processes.busDir }}, type: Directory}
{{- end }}
{{- end }}
{{- if .Values.agent.containers.enabled }}
# The folder and not the socket: containerd makes that anew when it is restarted.
- name: containerd
  hostPath: {path: {{ .Values.agent.containers.socketDir }}, type: Directory}
{{- end }}
{{- with .Values.agent.extraVolumes }}{{ toYaml . | nindent 0 }}{{ end }}
{{- end }}

{{- define "palisade.fencerState" -}}
- name: fencer-state
  hostPath: {path: {{ .Values.agent.stateDir }}/fencer, type: DirectoryOrCreate}
{{- end }}

{{- /* Folders of sockets: each container has those that its part must reach. */ -}}
{{- define "palisade.runVolumes" -}}
{{- range .folders }}
- name: run-{{ . }}
  hostPath: {path: {{ $.root.Values.agent.runDir }}/{{ . }}, type: DirectoryOrCreate}
{{- end }}
{{- end }}
