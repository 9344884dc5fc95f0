"""The scaffold: a small chart that works, to begin from."""

from __future__ import annotations

import json

from pvehelm.chart.metadata import NAME
from pvehelm.errors import Problem, UsageError


def scaffold(name: str) -> dict[str, str]:
    """The files of a new chart, by path below its directory. Raises UsageError when ``name`` is no chart name."""
    if not NAME.match(name):
        hint = "letters, digits, '-', '_' and '.', beginning with a letter or digit"
        raise UsageError(f"{name!r} is no chart name", [Problem("NAME", "is no chart name", hint)], hint=hint)
    files = {
        "Chart.yaml": _CHART,
        "values.yaml": _VALUES,
        "values.schema.json": json.dumps(_SCHEMA, indent=2) + "\n",
        "README.md": _README,
        ".helmignore": _IGNORE,
        "templates/_helpers.tpl": _HELPERS,
        "templates/vm.yaml": _VM,
        "templates/NOTES.txt": _NOTES,
        "ci/default-values.yaml": _CI,
    }
    return {path: text.replace("@NAME@", name) for path, text in files.items()}


_CHART = """\
apiVersion: v2
name: @NAME@
description: A virtual machine on Proxmox VE
type: application
# The version of this chart; raise it with every change.
version: 0.1.0
# The version of what the chart installs.
appVersion: "1.0.0"
# The template language: jinja2.
engine: jinja2
"""

_VALUES = """\
# Default values for @NAME@. Every value can be set with -f FILE or --set PATH=VALUE.

# The name of the machine; by default made of the release's name and the chart's.
fullnameOverride: ""

# The node that the machine is created on.
node: pve-node1

# The VM template that it is cloned from.
template: debian-12-template

cpu:
  cores: 2
  sockets: 1

# MiB
memory: 2048

disk:
  storage: local-lvm
  # At least the size of the template's disk.
  size: 10G

network:
  bridge: vmbr0

# Tags for people to find it by.
tags: []

# Start with the node.
onboot: true
"""

_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Values",
    "type": "object",
    "required": ["node", "template", "disk"],
    "additionalProperties": False,
    "properties": {
        "fullnameOverride": {"type": "string"},
        "node": {"type": "string", "minLength": 1},
        "template": {"type": "string", "minLength": 1},
        "cpu": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "cores": {"type": "integer", "minimum": 1},
                "sockets": {"type": "integer", "minimum": 1},
            },
        },
        "memory": {"type": "integer", "minimum": 16, "description": "MiB"},
        "disk": {
            "type": "object",
            "required": ["storage", "size"],
            "additionalProperties": False,
            "properties": {
                "storage": {"type": "string", "minLength": 1},
                "size": {"type": "string", "pattern": "^[0-9]+[MGT]$"},
            },
        },
        "network": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "bridge": {"type": "string", "minLength": 1},
                "tag": {"type": "integer", "minimum": 1, "maximum": 4094},
            },
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "onboot": {"type": "boolean"},
    },
}

_HELPERS = """\
{# Files that begin with an underscore render nothing; they hold what other templates share. #}

{# The name of the machine: what DNS allows, at most 63 characters. #}
{%- macro fullname(Release, Chart, Values) -%}
{%- if Values.fullnameOverride -%}
{{ Values.fullnameOverride }}
{%- elif Chart.Name in Release.Name -%}
{{ Release.Name | trunc(63) | trimSuffix("-") }}
{%- else -%}
{{ (Release.Name ~ "-" ~ Chart.Name) | lower | replace("_", "-") | trunc(63) | trimSuffix("-") }}
{%- endif -%}
{%- endmacro %}
"""

_VM = """\
{% import "_helpers.tpl" as helpers %}
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata:
  name: {{ helpers.fullname(Release, Chart, Values) }}
  namespace: {{ Release.Namespace }}
spec:
  node: {{ Values.node }}
  template: {{ Values.template }}
  cpu: {{ Values.cpu }}
  memory: {{ Values.memory }}
  disks:
    - storage: {{ Values.disk.storage }}
      size: {{ Values.disk.size }}
  networks:
    - {{ Values.network }}
{% if Values.tags %}
  tags: {{ Values.tags }}
{% endif %}
  onboot: {{ Values.onboot }}
"""

_NOTES = """\
{% import "_helpers.tpl" as helpers %}
{{ Chart.Name }} {{ Chart.Version }} is installed as {{ Release.Name }}.

The machine is {{ helpers.fullname(Release, Chart, Values) }} on {{ Values.node }}:

  pvehelm status {{ Release.Name }}
  pvehelm diff {{ Release.Name }}
"""

_README = """\
# @NAME@

A virtual machine on Proxmox VE, cloned from a template.

    pvehelm install my-release ./@NAME@
    pvehelm upgrade my-release ./@NAME@ --set memory=4096
    pvehelm uninstall my-release

| value | default | meaning |
|---|---|---|
| `node` | `pve-node1` | the node that the machine is created on |
| `template` | `debian-12-template` | the VM template that it is cloned from |
| `cpu.cores`, `cpu.sockets` | `2`, `1` | processors |
| `memory` | `2048` | MiB |
| `disk.storage`, `disk.size` | `local-lvm`, `10G` | the boot disk |
| `network.bridge`, `network.tag` | `vmbr0`, none | the network card |
| `tags` | none | tags |
| `onboot` | `true` | start with the node |
| `fullnameOverride` | | the name of the machine |

`ci/` holds values that `pvehelm lint` and your pipeline can try the chart with.
"""

_IGNORE = """\
# Patterns of files that are not part of the chart.
.DS_Store
.git/
.gitignore
.vscode/
.idea/
*.swp
*.bak
*.tmp
*.orig
*~
"""

_CI = """\
memory: 1024
tags:
  - ci
"""
