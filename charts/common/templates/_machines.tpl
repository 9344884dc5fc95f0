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

{# A script that is run in `machine` after each installation and upgrade, machines of a low `weight` first. `variables` go before it, each as a shell variable, in here-documents so that quotes in a value do no harm. The script is read before it is run, for what it
   calls may read its input, too. #}
{% define "common.script" %}
apiVersion: proxmox.io/v1
kind: GuestExec
metadata: { name: {{ name }}, hook: [post-install, post-upgrade], hookWeight: {{ weight }} }
spec:
  guest: VirtualMachine/{{ machine }}
  command: [/bin/sh, -c, 'script=$(cat); exec </dev/null; eval "$script"']
  timeout: {{ Values.provision.timeout }}
  stdin: |
{% for key, value in variables | dictsort %}
    {{ key }}=$(cat <<'END-OF-VALUE'
    {{ value }}
    END-OF-VALUE
    )
{% endfor %}
{{ script | indent(4) }}
{% enddefine %}
