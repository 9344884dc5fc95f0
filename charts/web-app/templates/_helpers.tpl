{# The name of web machine `index`, of the database, and of what is shared by the release. #}
{% macro web(root, index) %}{{ root.Release.Name }}-web-{{ index }}{% endmacro %}
{% macro database(root) %}{{ root.Release.Name }}-db{% endmacro %}
{# The pool of the guests: the namespace, else one of the release's own. #}
{% macro pool(root) %}{{ root.Release.Namespace if root.Release.Namespace != "default" or not root.Values.pool else root.Release.Name }}{% endmacro %}
{# Groups, rules and jobs live in lists of the whole cluster and have short names: the release's, or if that is too long or
   not its alone (another namespace, a dot), its beginning and a hash. #}
{% macro short(root) %}
{%- set name = root.Release.Name -%}
{%- set whole = root.Release.Namespace ~ "/" ~ name -%}
{%- if name | length <= 14 and "." not in name and root.Release.Namespace == "default" -%}
{{ name }}
{%- else -%}
{{ name | replace(".", "-") | trunc(7) | trimSuffix("-") }}-{{ whole | sha256sum | trunc(6) }}
{%- endif -%}
{% endmacro %}
