{# A pool for the guests of the release, where none is given. #}
{% define "common.pool.manifest" %}
{% if Values.pool and Release.Namespace == "default" %}
apiVersion: proxmox.io/v1
kind: Pool
metadata: { name: {{ Release.Name }} }
spec: { comment: {{ Chart.Name }} release {{ Release.Name }} }
{% endif %}
{% enddefine %}

{# A machine cloned from Values.template.
   name, role: its name and what it is for; index: chooses the node; number: its place in the network (Values.network.first on);
   size: { cores, memory, disk, storage }; data: { storage, size } of a second disk, or {}; protect: guard it against removal. #}
{% define "common.machine" %}
{% set room = 2 ** (32 - Values.network.prefix) %}
{% if include("common.number", dict("base", Values.network.base)) | int % room + number >= room - 1 %}
{{ fail("the address of " ~ name ~ ", " ~ Values.network.base ~ " and " ~ number ~ " on, is not in a network of /" ~ Values.network.prefix) }}
{% endif %}
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata:
  name: {{ name }}
  namespace: {{ include("common.pool") }}
  labels: { app: {{ Chart.Name }}, release: {{ Release.Name }}, role: {{ role }} }
{% if protect %}
  lifecycle: protect
{% endif %}
spec:
  node: {{ include("common.node", dict("index", index)) }}
  template: {{ Values.template }}
  cpu: { cores: {{ size.cores }} }
  memory: {{ size.memory }}
  agent: true
  disks:
    - size: {{ size.disk }}
{% if size.storage %}
      storage: {{ size.storage }}
{% endif %}
{% if data %}
    - { slot: scsi1, storage: {{ data.storage }}, size: {{ data.size }}, discard: true, backup: true }
{% endif %}
  networks:
    - bridge: {{ Values.network.bridge }}
      firewall: {{ Values.firewall.enabled }}
{% if Values.network.vlan %}
      tag: {{ Values.network.vlan }}
{% endif %}
  cloudInit:
    user: {{ Values.cloudInit.user }}
{% if Values.cloudInit.sshKeys %}
    sshKeys: {{ Values.cloudInit.sshKeys }}
{% endif %}
{% if Values.cloudInit.password %}
    password: {{ Values.cloudInit.password }}
{% endif %}
{% if Values.cloudInit.vendor %}
    custom: vendor={{ Values.cloudInit.vendor }}
{% endif %}
{% if Values.network.nameserver %}
    nameserver: {{ Values.network.nameserver }}
{% endif %}
    ip: {{ include("common.address", dict("base", Values.network.base, "index", number)) }}/{{ Values.network.prefix }}
{% if Values.network.gateway %}
    gateway: {{ Values.network.gateway }}
{% endif %}
  onboot: {{ Values.onboot }}
  tags: {{ concat([role], Values.tags) }}
{% enddefine %}

{# What is let into `guest` (VirtualMachine/NAME): `rules`, and SSH from Values.firewall.ssh. All else is dropped. #}
{% define "common.firewall" %}
apiVersion: proxmox.io/v1
kind: FirewallRules
metadata: { name: {{ guest | splitList("/") | last }} }
spec:
  scope: {{ guest }}
  rules:
{% for rule in rules %}
    - {{ rule }}
{% endfor %}
{% for source in Values.firewall.ssh %}
    - { type: in, action: ACCEPT, macro: SSH, source: {{ source }} }
{% endfor %}
---
apiVersion: proxmox.io/v1
kind: FirewallOptions
metadata: { name: {{ guest | splitList("/") | last }} }
spec: { scope: {{ guest }}, enable: true, policy_in: DROP }
{% enddefine %}

{# HA for the guests `guests`, and from 9.0 on a rule that keeps them on different nodes. #}
{% define "common.ha" %}
{% for guest in guests %}
---
apiVersion: proxmox.io/v1
kind: HAResource
metadata: { name: {{ guest | splitList("/") | last }} }
spec: { guest: {{ guest }}, state: started, max_restart: {{ Values.ha.maxRestart }} }
{% endfor %}
{% if Values.ha.keepApart and guests | length > 1 and semverCompare(">=9.0-0", Capabilities.PVEVersion) %}
{% if guests | length > Values.nodes | length %}
{{ fail("ha.keepApart needs a node for each of the " ~ (guests | length) ~ " machines: name more nodes, or set ha.keepApart to false") }}
{% endif %}
---
apiVersion: proxmox.io/v1
kind: HARule
metadata: { name: {{ include("common.short") }}-apart }
spec: { type: resource-affinity, affinity: negative, resources: {{ guests }} }
{% endif %}
{% enddefine %}

{# A backup job for the guests `guests` by Values.backup. #}
{% define "common.backup" %}
apiVersion: proxmox.io/v1
kind: BackupJob
metadata: { name: {{ include("common.short") }}-backup }
spec:
  schedule: {{ Values.backup.schedule | quote }}
  storage: {{ Values.backup.storage }}
  mode: snapshot
  prune-backups: { keep-daily: {{ Values.backup.keepDaily }}, keep-weekly: {{ Values.backup.keepWeekly }} }
  guests: {{ guests }}
{% enddefine %}

{# A script that is run in `machine` after each installation and upgrade, machines of a low `weight` first. Before it go the functions of
   common.shell and `variables`, each as a shell variable, in here-documents so that quotes in a value do no harm. The script is read
   before it is run, for what it calls may read its input, too. #}
{% define "common.script" %}
apiVersion: proxmox.io/v1
kind: GuestExec
metadata: { name: {{ name }}, hook: [post-install, post-upgrade], hookWeight: {{ weight }} }
spec:
  guest: VirtualMachine/{{ machine }}
  command: [/bin/sh, -c, 'script=$(cat); exec </dev/null; eval "$script"']
  timeout: {{ Values.provision.timeout }}
  stdin: |
{{ include("common.shell") | indent(4) }}
{% for key, value in variables | dictsort %}
    {{ key }}=$(cat <<'END-OF-VALUE'
{{ value | toString | indent(4) }}
    END-OF-VALUE
    )
{% endfor %}
{{ script | indent(4) }}
{% enddefine %}

{# What the scripts of machines have in common. #}
{% define "common.shell" %}
set -eu
export DEBIAN_FRONTEND=noninteractive

# The first start is over, and with it what cloud-init does.
booted() {
    if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi
}

# apt-get ARGUMENTS..., again after a while: a new machine's daily updates hold its locks, and mirrors are not always there.
packages() {
    left=10
    until apt-get -qy -o DPkg::Lock::Timeout=300 "$@"; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then return 1; fi
        sleep 10
    done
}

# data_disk LABEL FOLDER: the disk scsi1 is mounted there. A file system is made only where nothing is.
data_disk() {
    disk=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1
    left=30
    until [ -b "$disk" ]; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then echo "there is no disk scsi1" >&2; return 1; fi
        sleep 1
    done
    mkdir -p "$2"
    if ! mountpoint -q "$2"; then
        found=0
        blkid -p "$disk" >/dev/null || found=$?
        case $found in
            0) ;;
            2) mkfs.ext4 -q -L "$1" "$disk" ;;
            *) echo "scsi1 holds something that cannot be told: look at it with blkid -p" >&2; return 1 ;;
        esac
        grep -q "^LABEL=$1 " /etc/fstab || echo "LABEL=$1 $2 ext4 defaults,noatime 0 2" >> /etc/fstab
        mount "$2"
    fi
    resize2fs "$disk" >/dev/null 2>&1 || true
}

# put FILE [OWNER]: replaced by what comes in, and `changed` set, where it differs.
changed=""
put() {
    mkdir -p "$(dirname "$1")"
    cat > "$1.new"
    if cmp -s "$1.new" "$1"; then
        rm "$1.new"
    else
        if [ -n "${2:-}" ]; then chown "$2" "$1.new"; fi
        mv "$1.new" "$1"
        changed=yes
    fi
}
{% enddefine %}
