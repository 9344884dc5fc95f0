{# The name of web machine `index`, of the database, and of what is shared by the release. #}
{% macro web(root, index) %}{{ root.Release.Name }}-web-{{ index }}{% endmacro %}
{% macro database(root) %}{{ root.Release.Name }}-db{% endmacro %}
{# The pool of the guests: the namespace, else one of the release's own. #}
{% macro pool(root) %}{{ root.Release.Namespace if root.Release.Namespace != "default" or not root.Values.pool else root.Release.Name }}{% endmacro %}
{# Groups and sets live in one cluster-wide list and have short names. #}
{% macro short(root) %}{{ root.Release.Name | replace(".", "-") | trunc(14) | trimSuffix("-") }}{% endmacro %}
