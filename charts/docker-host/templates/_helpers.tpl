{{/* The name of machine $index: include "docker.name" (list . $index) */}}
{{- define "docker.name" -}}
{{- $root := index . 0 -}}
{{- printf "%s-docker-%d" $root.Release.Name (int (index . 1)) -}}
{{- end -}}

{{/* The pool of the guests: the namespace, else one of the release's own. */}}
{{- define "docker.pool" -}}
{{- if or (ne .Release.Namespace "default") (not .Values.pool) -}}
{{ .Release.Namespace }}
{{- else -}}
{{ .Release.Name }}
{{- end -}}
{{- end -}}

{{/* A name for lists of the whole cluster: the release's, or its beginning and a hash if it is too long or not its alone. */}}
{{- define "docker.short" -}}
{{- $name := .Release.Name -}}
{{- if and (le (len $name) 10) (not (contains "." $name)) (eq .Release.Namespace "default") -}}
{{ $name }}
{{- else -}}
{{ $name | replace "." "-" | trunc 3 | trimSuffix "-" }}-{{ printf "%s/%s" .Release.Namespace $name | sha256sum | trunc 6 }}
{{- end -}}
{{- end -}}
