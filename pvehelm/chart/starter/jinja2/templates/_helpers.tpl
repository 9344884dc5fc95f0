{# Files that begin with an underscore render nothing; they hold what other templates share. #}

{# The name of the machine: what DNS allows, at most 63 characters. #}
{%- macro fullname(root) -%}
{%- if root.Values.fullnameOverride -%}
{{ root.Values.fullnameOverride }}
{%- elif root.Chart.Name in root.Release.Name -%}
{{ root.Release.Name | trunc(63) | trimSuffix("-") }}
{%- else -%}
{{ (root.Release.Name ~ "-" ~ root.Chart.Name) | lower | replace("_", "-") | trunc(63) | trimSuffix("-") }}
{%- endif -%}
{%- endmacro %}
