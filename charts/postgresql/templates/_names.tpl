{# Machine 0 is the primary. #}
{% define "postgresql.machine" %}{{ Release.Name }}-pg-{{ index }}{% enddefine %}
{% define "postgresql.address" %}{{ include("common.address", dict("base", Values.network.base, "index", Values.network.first + index)) }}{% enddefine %}
