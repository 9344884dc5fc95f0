{# The files of the programs, as maps. #}
{% define "monitoring.prometheus" %}
global: { scrape_interval: {{ Values.prometheus.interval }}, evaluation_interval: {{ Values.prometheus.interval }} }
rule_files: [/etc/prometheus/rules.yaml]
{% if Values.prometheus.alertmanagers %}
alerting: { alertmanagers: [{ static_configs: [{ targets: {{ Values.prometheus.alertmanagers }} }] }] }
{% endif %}
scrape_configs:
  - job_name: prometheus
    static_configs: [{ targets: ["localhost:9090"] }]
{% if Values.metrics.enabled %}
  - job_name: proxmox
    static_configs: [{ targets: ["graphite:9108"] }]
{% endif %}
{% for name, hosts in Values.prometheus.targets | dictsort %}
  - job_name: {{ name }}
    static_configs: [{ targets: {{ hosts }} }]
{% endfor %}
{% enddefine %}

{% define "monitoring.compose" %}
services:
  prometheus:
    image: {{ Values.images.prometheus }}
    restart: unless-stopped
    user: root
    command:
      - --config.file=/etc/prometheus/prometheus.yaml
      - --storage.tsdb.path=/data
      - --storage.tsdb.retention.time={{ Values.prometheus.retention }}
    volumes: ["/etc/monitoring:/etc/prometheus:ro", "/srv/monitoring/prometheus:/data"]
  grafana:
    image: {{ Values.images.grafana }}
    restart: unless-stopped
    user: root
    ports: ["{{ Values.grafana.port }}:3000"]
    environment: { GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana, GF_USERS_ALLOW_SIGN_UP: "false" }
    volumes:
      - /etc/monitoring/grafana:/etc/grafana/provisioning:ro
      - /etc/monitoring/secret:/run/secrets/grafana:ro
      - /srv/monitoring/grafana:/var/lib/grafana
{% if Values.metrics.enabled %}
  graphite:
    image: {{ Values.images.graphite }}
    restart: unless-stopped
    command: ["--graphite.mapping-config=/etc/graphite/graphite.yaml", "--graphite.listen-address=:9109"]
    ports: ["{{ Values.metrics.port }}:9109/udp"]
    volumes: ["/etc/monitoring:/etc/graphite:ro"]
{% endif %}
{% enddefine %}
