"""Manifests that several tests of the engine use."""

VM = """
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  cpu: { cores: {{ Values.cores | default(2) }} }
  memory: {{ Values.memory | default(1024) }}
  disks: [{ storage: local-lvm, size: {{ Values.size | default("5G") }} }]
  networks: [{ bridge: vmbr0, tag: {{ Values.tag | default(10) }} }]
  description: {{ Values.text | default("the text") }}
  tags: [web, prod]
"""

SCALED = """
{% for i in range(Values.replicas | default(2) | int) %}
---
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: {{ Release.Name }}-{{ i }} }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(512) }}
{% endfor %}
"""

CT = """
apiVersion: proxmox.io/v1
kind: Container
metadata: { name: ct }
spec:
  node: pve-node2
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  memory: {{ Values.memory | default(512) }}
  rootfs: { storage: local-lvm, size: {{ Values.size | default("4G") }} }
  networks: [{ bridge: vmbr0, ip: dhcp }]
"""

MIXED = """
apiVersion: proxmox.io/v1
kind: Pool
metadata: { name: {{ Release.Name }}-pool }
spec: { comment: {{ Values.comment | default("one") }} }
---
apiVersion: proxmox.io/v1
kind: SecurityGroup
metadata: { name: {{ Release.Name }} }
spec: { comment: web, rules: [{ type: in, action: ACCEPT, macro: {{ Values.macro | default("HTTPS") }} }] }
---
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: { name: {{ Release.Name }}-vm, namespace: {{ Release.Name }}-pool }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(1024) }}
  cpu: { cores: {{ Values.cores | default(2) }} }
  networks: [{ bridge: vmbr0, firewall: true }]
---
apiVersion: proxmox.io/v1
kind: FirewallRules
metadata: { name: {{ Release.Name }}-rules }
spec: { scope: VirtualMachine/{{ Release.Name }}-vm, rules: [{ type: group, action: {{ Release.Name }} }] }
---
apiVersion: proxmox.io/v1
kind: Container
metadata: { name: {{ Release.Name }}-ct }
spec:
  node: pve-node2
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  memory: {{ Values.memory | default(1024) }}
  rootfs: { storage: local-lvm, size: {{ Values.size | default("4G") }} }
---
apiVersion: proxmox.io/v1
kind: BackupJob
metadata: { name: {{ Release.Name }}-nightly }
spec:
  schedule: "02:30"
  storage: shared-nfs
  guests: [VirtualMachine/{{ Release.Name }}-vm, Container/{{ Release.Name }}-ct]
  mode: snapshot
"""
