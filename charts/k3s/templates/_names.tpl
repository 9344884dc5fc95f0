{% define "k3s.server" %}{{ Release.Name }}-server-{{ index }}{% enddefine %}
{% define "k3s.agent" %}{{ Release.Name }}-agent-{{ index }}{% enddefine %}
{# The address of server `index`. #}
{% define "k3s.address" %}{{ include("common.address", dict("base", Values.network.base, "index", Values.network.first + index)) }}{% enddefine %}
