{# What DNS allows, at most 63 characters. #}
{% define "single-container.name" -%}
{{ Values.nameOverride | default(Release.Name, true) | replace("_", "-") | trunc(63) | trimSuffix("-") }}
{%- enddefine %}
