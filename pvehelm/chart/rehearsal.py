"""The rehearsal: a small chart of our own, rendered by a child that waits for its work.

What a process does for the first time is slow: code that was never run, memory that is still its parent's. So this
chart has a little of all that charts have.
"""

from __future__ import annotations

from pvehelm.chart.dialects import GOTPL
from pvehelm.chart.model import Chart, Metadata

VALUES = {
    "name": "",
    "labels": {"tier": "front", "app.kubernetes.io/part-of": "all"},
    "image": {"repository": "example.com/web", "tag": "", "pullPolicy": "IfNotPresent"},
    "replicas": 2,
    "service": {"enabled": True, "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
    "resources": {"limits": {"cpu": "100m", "memory": "128Mi"}},
    "nodeSelector": {},
    "tolerations": [],
}
_GOTPL = {
    "templates/_helpers.tpl": """\
{{/* The name. */}}
{{- define "sample.name" -}}
{{- default .Chart.Name .Values.name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sample.fullname" -}}
{{- $name := include "sample.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 }}
{{- else if eq $name "" }}
{{- fail "no name" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end -}}

{{- define "sample.labels" -}}
chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Chart.AppVersion }}
version: {{ . | quote }}
{{- end }}
managed-by: {{ .Release.Service }}
{{- end }}
""",
    "templates/deployment.yaml": """\
{{- if or .Values.service.enabled (and .Values.name (not .Values.tolerations)) }}
apiVersion: {{ if .Capabilities.APIVersions.Has "apps/v1" }}apps/v1{{ else }}v1{{ end }}
metadata:
  name: {{ include "sample.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
  labels:
    {{- include "sample.labels" . | nindent 4 }}
    {{- range $key, $value := .Values.labels }}
    {{ $key }}: {{ tpl $value $ | quote }}
    {{- end }}
spec:
  replicas: {{ int .Values.replicas }}
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- range .Values.service.ports }}
  - {name: {{ .name }}, port: {{ .port }}, {{- if gt (int .port) 100 }} high: true{{ end }}}
  {{- end }}
  {{- $all := merge (dict "a" 1) .Values.nodeSelector }}
  {{- toYaml (list $all "x" | first) | nindent 2 }}
{{- end }}
""",
}
_JINJA2 = {
    "templates/_helpers.tpl": "{% define 'sample.name' %}{{ Values.name or Chart.Name }}{% enddefine %}",
    "templates/vm.yaml": """\
{% if Values.service.enabled %}
metadata:
  name: {{ include('sample.name') }}
  labels: {{ Values.labels | toYaml | nindent(4) }}
spec:
  cores: {{ Values.replicas | int }}
{% for port in Values.service.ports %}
  {{ port.name }}: {{ port.port | default(80) | quote }}
{% endfor %}
{% set all = dict(a=1) %}
{% endif %}
""",
}


def chart(dialect: str) -> Chart:
    """The chart in a dialect; ``VALUES`` are its values."""
    return Chart(
        metadata=Metadata("sample", "1.0.0", engine=dialect, app_version="1.0"),
        values={},
        values_text="",
        values_marks={},
        schema=None,
        schema_text="",
        templates=_GOTPL if dialect == GOTPL else _JINJA2,
        files={},
        raw={},
        dependencies=(),
        path="",
    )
