{% define "monitoring.machine" %}{{ Release.Name }}-monitoring{% enddefine %}
{% define "monitoring.address" %}{{ include("common.address", dict("base", Values.network.base, "index", Values.network.first)) }}{% enddefine %}
