{% define "jlib.name" %}{{ Values.name }}-{{ Chart.Name }}-{{ Template.Name | base }}{% enddefine %}
{% define "jlib.told" %}{{ include("jlib.name", context) }} {{ n }} {{ list | toJson }}{% enddefine %}
