{# Named templates that the others share. A file that begins with an underscore prints nothing itself. #}

{# The name that all objects begin with. #}
{% define "web-app.fullname" -%}
{{ (Values.fullnameOverride | default(Release.Name, true)) | lower | replace("_", "-") | replace(".", "-") | trunc(40) | trimSuffix("-") }}
{%- enddefine %}

{# A name for a security group, which has 18 characters at most: short names stay, long ones end with a checksum. #}
{% define "web-app.group" -%}
{%- set name = include("web-app.fullname", root) ~ "-" ~ suffix -%}
{{ name if name | length <= 18 else (name | trunc(11)) ~ "-" ~ (name | sha256sum | trunc(6)) }}
{%- enddefine %}

{# The pool of the guests: the release's own, or its namespace. #}
{% define "web-app.pool" -%}
{%- if not Values.pool.create -%}
{{ Release.Namespace }}
{%- elif Values.pool.name -%}
{{ Values.pool.name }}
{%- elif Release.Namespace == "default" -%}
{{ include("web-app.fullname") }}
{%- else -%}
{{ Release.Namespace }}/{{ include("web-app.fullname") }}
{%- endif -%}
{%- enddefine %}

{# The names of all guests, as references. #}
{% define "web-app.guests" %}
{% for i in range(Values.replicas) %}
- VirtualMachine/{{ include("web-app.fullname") }}-{{ i }}
{% endfor %}
{% if Values.database.enabled %}
- Container/{{ include("web-app.fullname") }}-db
{% endif %}
{% enddefine %}

{# Tags: the release's name and the chart's own. #}
{% define "web-app.tags" %}
{{ prepend(Values.tags, include("web-app.fullname")) | uniq | toYaml }}
{% enddefine %}
