# Prometheus, Grafana and the receiver of Proxmox VE's figures, in Docker. Safe to run again. JSON is YAML to all of them.
set -eu
export DEBIAN_FRONTEND=noninteractive
command -v cloud-init >/dev/null && cloud-init status --wait >/dev/null || true

# The data disk, scsi1: a file system is made only where there is none.
disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
mkdir -p /srv/monitoring
if ! mountpoint -q /srv/monitoring; then
    blkid "$disk" >/dev/null || mkfs.ext4 -q -L monitoring "$disk"
    grep -q '^LABEL=monitoring' /etc/fstab || echo 'LABEL=monitoring /srv/monitoring ext4 defaults,noatime 0 2' >> /etc/fstab
    mount /srv/monitoring
fi
resize2fs "$disk" >/dev/null 2>&1 || true
mkdir -p /srv/monitoring/prometheus /srv/monitoring/grafana

if ! command -v docker >/dev/null; then
    apt-get update -q
    apt-get install -qy docker.io docker-compose
fi

changed=""
put() {
    mkdir -p "$(dirname "$1")"
    printf '%s\n' "$2" > "$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1" && changed=yes; fi
}
provisioning=/etc/monitoring/grafana
put /etc/monitoring/prometheus.yaml "$PROMETHEUS"
put /etc/monitoring/rules.yaml "$RULES"
put /etc/monitoring/graphite.yaml "$GRAPHITE"
put /etc/monitoring/compose.yaml "$COMPOSE"
put "$provisioning/dashboards/proxmox.json" "$DASHBOARD"
put "$provisioning/dashboards/provider.yaml" \
    '{"apiVersion": 1, "providers": [{"name": "proxmox", "options": {"path": "/etc/grafana/provisioning/dashboards"}}]}'
put "$provisioning/datasources/prometheus.yaml" \
    '{"apiVersion": 1, "datasources": [{"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": "http://prometheus:9090", "isDefault": true}]}'
umask 077
put /etc/monitoring/secret "$PASSWORD"

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
compose -p monitoring -f /etc/monitoring/compose.yaml up -d --remove-orphans
# Files are mounted one by one or read at the start, so what reads them begins again.
if [ -n "$changed" ]; then compose -p monitoring -f /etc/monitoring/compose.yaml restart; fi
