"""What the sweeps install: twelve resources of all sorts; a guest with hooks."""

from __future__ import annotations

TWELVE = """
{% set name = Release.Name %}
apiVersion: proxmox.io/v1
kind: Pool
metadata: { name: {{ name }}-pool }
spec: { comment: {{ Values.comment | default("one") }} }
---
kind: SecurityGroup
metadata: { name: {{ name }} }
spec: { comment: web, rules: [{ type: in, action: ACCEPT, macro: {{ Values.macro | default("HTTPS") }} }] }
---
kind: IPSet
metadata: { name: {{ name }}-admins }
spec: { scope: cluster, entries: [{ cidr: 10.0.0.0/24 }, { cidr: {{ Values.admin | default("10.1.0.7") }} }] }
---
kind: Zone
metadata: { name: {{ name }}z }
spec: { type: simple }
---
kind: VNet
metadata: { name: {{ name }}net }
spec: { zone: {{ name }}z, alias: {{ Values.comment | default("one") }} }
{% for i in range(Values.replicas | default(2) | int) %}
---
kind: VirtualMachine
metadata: { name: {{ name }}-{{ i }}, namespace: {{ name }}-pool }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(1024) }}
  disks: [{ storage: local-lvm, size: 4G }]
  networks: [{ bridge: vmbr0, firewall: true }]
{% endfor %}
---
kind: FirewallOptions
metadata: { name: {{ name }}-options }
spec: { scope: VirtualMachine/{{ name }}-0, enable: true, policy_in: {{ Values.policy | default("DROP") }} }
---
kind: FirewallRules
metadata: { name: {{ name }}-rules }
spec: { scope: VirtualMachine/{{ name }}-0, rules: [{ type: group, action: {{ name }} }] }
---
kind: Container
metadata: { name: {{ name }}-ct }
spec:
  node: pve-node2
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  memory: {{ Values.memory | default(1024) }}
  rootfs: { storage: local-lvm, size: 4G }
---
kind: HAResource
metadata: { name: {{ name }}-ha }
spec: { guest: VirtualMachine/{{ name }}-0, state: started, max_restart: {{ Values.restarts | default(2) }} }
---
kind: BackupJob
metadata: { name: {{ name }}-nightly }
spec:
  schedule: {{ Values.schedule | default("02:30") | tojson }}
  storage: shared-nfs
  guests: [VirtualMachine/{{ name }}-0, Container/{{ name }}-ct]
  mode: snapshot
"""

HOOKED = """
kind: VirtualMachine
metadata: { name: web }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(512) }}
  agent: true
  networks: [{ bridge: vmbr0 }]
  cloudInit: { ip: 10.0.0.5/24 }
---
kind: Pool
metadata: { name: hook-pool, hook: "pre-install,pre-upgrade", hookDeletePolicy: before-hook-creation }
---
kind: Snapshot
metadata: { name: before, hook: pre-upgrade, hookWeight: 1 }
spec: {}
---
kind: GuestExec
metadata: { name: migrate, hook: "post-install,post-upgrade", hookWeight: 1 }
spec: { guest: VirtualMachine/web, command: [echo, done] }
---
kind: TcpCheck
metadata: { name: ssh, hook: "post-install,post-upgrade", hookWeight: 2 }
spec: { guest: VirtualMachine/web, port: 22 }
---
kind: Backup
metadata: { name: last, hook: pre-delete }
spec: { storage: shared-nfs }
"""
CHARTS = {"twelve": TWELVE, "hooked": HOOKED}
