# Prometheus, Grafana and the receiver of Proxmox VE's figures, in Docker. Safe to run again. JSON is YAML to all of them.
booted
data_disk monitoring /srv/monitoring
mkdir -p /srv/monitoring/prometheus /srv/monitoring/grafana

if ! command -v docker >/dev/null; then
    packages update
    packages install docker.io docker-compose
fi

provisioning=/etc/monitoring/grafana
put /etc/monitoring/prometheus.yaml <<END
$PROMETHEUS
END
put /etc/monitoring/rules.yaml <<END
$RULES
END
put /etc/monitoring/graphite.yaml <<END
$GRAPHITE
END
put /etc/monitoring/compose.yaml <<END
$COMPOSE
END
put "$provisioning/dashboards/proxmox.json" <<END
$DASHBOARD
END
put "$provisioning/dashboards/provider.yaml" <<'END'
{"apiVersion": 1, "providers": [{"name": "proxmox", "options": {"path": "/etc/grafana/provisioning/dashboards"}}]}
END
put "$provisioning/datasources/prometheus.yaml" <<'END'
{"apiVersion": 1, "datasources": [{"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": "http://prometheus:9090", "isDefault": true}]}
END
umask 077
put /etc/monitoring/secret <<END
$PASSWORD
END
umask 022

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
compose -p monitoring -f /etc/monitoring/compose.yaml up -d --remove-orphans
# Files are mounted one by one or read at the start, so what reads them begins again.
if [ -n "$changed" ]; then compose -p monitoring -f /etc/monitoring/compose.yaml restart; fi
