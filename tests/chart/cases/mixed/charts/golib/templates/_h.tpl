{{- define "golib.name" }}{{ .Values.name }}-{{ .Chart.Name }}-{{ .Release.Name }}{{ end }}
{{- define "golib.told" }}{{ include "golib.name" .context }} {{ .n }} {{ .list | toJson }} {{ end }}
{{- define "golib.back" }}{{ include "jlib.name" . }}{{ end }}
