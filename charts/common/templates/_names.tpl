{# Names and places. Every template takes what it needs as a map: include("common.short", root). #}

{# The pool of the guests: the namespace, else one of the release's own where `pool` says so. #}
{% define "common.pool" %}
{{- Release.Namespace if Release.Namespace != "default" or not Values.pool else Release.Name -}}
{% enddefine %}

{# Groups, sets and jobs live in lists of the whole cluster and have short names: the release's, or if that is too long or
   not its alone (another namespace, a dot), its beginning and a hash. #}
{% define "common.short" %}
{%- set name = Release.Name -%}
{%- if name | length <= 10 and "." not in name and Release.Namespace == "default" -%}
{{ name }}
{%- else -%}
{{ name | replace(".", "-") | trunc(3) | trimSuffix("-") }}-{{ (Release.Namespace ~ "/" ~ name) | sha256sum | trunc(6) }}
{%- endif -%}
{% enddefine %}

{# The node of guest `index`: Values.nodes in turn. #}
{% define "common.node" %}
{{- Values.nodes[index % (Values.nodes | length)] -}}
{% enddefine %}

{# The IPv4 address `base` as a number. #}
{% define "common.number" %}
{%- set octets = base | splitList(".") -%}
{{ ((octets[0] | int * 256 + octets[1] | int) * 256 + octets[2] | int) * 256 + octets[3] | int -}}
{% enddefine %}

{# The IPv4 address `index` steps above `base`; carries go over into the next octet. #}
{% define "common.address" %}
{%- set number = include("common.number", dict("base", base)) | int + index -%}
{{ number // 16777216 }}.{{ number // 65536 % 256 }}.{{ number // 256 % 256 }}.{{ number % 256 -}}
{% enddefine %}

{# The release as an argument of commands, with its namespace where that is not the default. #}
{% define "common.release" %}{{ Release.Name }}{{ " -n " ~ Release.Namespace if Release.Namespace != "default" else "" }}{% enddefine %}
