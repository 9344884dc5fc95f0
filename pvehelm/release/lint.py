"""Lint of what a chart makes: what fits the schema and is a mistake on Proxmox VE all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pvehelm.api.kind import Kind, Wanted, leaves
from pvehelm.api.kinds import Kinds
from pvehelm.chart.manifest import Resource
from pvehelm.chart.plain import at
from pvehelm.chart.rules import Finding, Rule
from pvehelm.chart.rules import finding as _finding
from pvehelm.errors import PvehelmError
from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.secrets import has_secret

RULES: dict[str, Rule] = {
    "pve-vmid-pinned": Rule("warning", "A guest has a fixed VMID: the chart can be installed once, where it is free."),
    "pve-fixed-name": Rule(
        "warning", "A guest's name stands in the template: a second release would want the same one."
    ),
    "pve-fixed-node": Rule("warning", "A node stands in the template and not in values."),
    "pve-fixed-storage": Rule("warning", "A storage stands in the template and not in values."),
    "pve-fixed-bridge": Rule("warning", "A bridge stands in the template and not in values."),
    "pve-no-storage": Rule("warning", "A disk has no storage, and nothing that says which it would get."),
    "pve-plain-secret": Rule("warning", "A password or key stands in a manifest as it is."),
    "pve-deprecated": Rule("warning", "A field that Proxmox VE has given up or ignores."),
    "pve-privileged-container": Rule("warning", "A container's root is root of the node."),
    "pve-ha-local-storage": Rule(
        "warning", "A guest under HA has disks on a local storage: no other node can start it."
    ),
    "pve-ha-placement": Rule("info", "Several guests under HA, and no rule that says where they may run."),
    "pve-unprotected-data": Rule("info", "A guest with data disks has no lifecycle: its data go when it goes."),
    "pve-no-agent": Rule("info", "A virtual machine without guest agent: no addresses, no clean snapshots."),
    "pve-privileged": Rule("info", "A kind or field that users have to allow."),
    "pve-experimental": Rule("info", "A kind that nobody has watched on a real server."),
}
#: Storages that every node has of its own, by Proxmox's installer.
_LOCAL = frozenset({"local", "local-lvm", "local-zfs"})

#: Fields by kind that the schema says nothing of, or names nothing instead of.
_DEPRECATED: dict[str, dict[str, str]] = {
    "VirtualMachine": {
        "bootdisk": 'boot: "order=scsi0" says what is booted',
        "autostart": "it has no effect; onboot starts a guest with its node",
    },
    "BackupJob": {
        "mailto": "notification targets and matchers",
        "mailnotification": "notification targets and matchers",
        "notification-policy": "notification matchers",
        "notification-target": "notification matchers",
    },
}
_VOLUME = re.compile(r"(?:scsi|virtio|sata|ide|mp)\d+|rootfs|efidisk0|tpmstate0")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")


def findings(resources: Sequence[Resource], kinds: Kinds, templates: Mapping[str, str]) -> list[Finding]:
    """What is found in rendered resources, once a line: loops make the same mistake many times.

    ``templates`` are their sources by full name, where it is seen whether a text was written there or came from values.
    """
    found: dict[tuple[str, str], Finding] = {}
    for one in _Rules(resources, kinds, templates).all():
        found.setdefault((one.rule, one.where), one)
    return list(found.values())


def finding(rule: str, resource: Resource, path: Sequence[str | int], what: str, hint: str = "") -> Finding:
    return _finding(rule, str(resource.where(path)), f"{resource.ref}: {what}", hint, RULES)


class _Rules:
    def __init__(self, resources: Sequence[Resource], kinds: Kinds, templates: Mapping[str, str]) -> None:
        self.resources = resources
        self.kinds = kinds
        self.lines = {name: text.split("\n") for name, text in templates.items()}
        self.local: dict[str, str] = {}

    def all(self) -> Iterator[Finding]:
        for resource in self.resources:
            kind = self.kinds.get(resource.kind)
            try:
                wanted = kind.lower(resource, lambda ref: "100")
            except PvehelmError:
                continue
            yield from self.any(resource, kind, wanted)
            if resource.kind in GUEST_KINDS:
                yield from self.guest(resource, wanted)
        yield from self.availability()

    def fixed(self, resource: Resource, path: Sequence[str | int], text: Any) -> bool:
        """Whether a text stands in the template itself, outside of what is computed there."""
        source = resource.where(path)
        lines = self.lines.get(source.file, [])
        if not isinstance(text, str) or not text or not 0 < source.line <= len(lines):
            return False
        line = lines[source.line - 1]
        return re.search(rf"(?<![\w.-]){re.escape(text)}(?![\w.-])", _EXPRESSION.sub(" ", line)) is not None

    # -- rules -------------------------------------------------------------------------------------------------

    def any(self, resource: Resource, kind: Kind, wanted: Wanted) -> Iterator[Finding]:
        for what in wanted.privileged:
            told = f"{what} is privileged" if what != kind.name else "it reaches past its release"
            told = "the kind is privileged" if kind.privileged else told
            yield finding(
                "pve-privileged",
                resource,
                ("kind",),
                told,
                f"users need --allow-privileged {what}: say so in the notes",
            )
        if kind.evidence == "schema":
            yield finding("pve-experimental", resource, ("kind",), f"{kind.name} is known from the schema alone")
        fields = kind.fields()
        known = _DEPRECATED.get(resource.kind, {})
        for field in resource.spec:
            instead = fields[field].facts.get("deprecated") if field in fields else None
            if (instead or field in known) and resource.spec[field] is not None:
                hint = known.get(field) or (f"use {instead}" if isinstance(instead, str) else "leave it out")
                yield finding("pve-deprecated", resource, ("spec", field), f"{field} is given up", hint)
        secret = [leaf for leaf in leaves(wanted.fields) if kind.write_only(leaf)]
        secret += [f"once.{name}" for name in wanted.once if name in fields and fields[name].write_only]
        for leaf in secret:
            path = wanted.origins.get(leaf) or ("spec", *leaf.removeprefix("once.").split("."))
            value = at(resource.spec, path[1:])
            if isinstance(value, str) and value and not has_secret(value) and self.fixed(resource, path, value):
                hint = "a value that is a reference (secret://env/NAME), or generate(...)"
                yield finding("pve-plain-secret", resource, path, f"{path[-1]} is a plain secret", hint)
        storage = resource.spec.get("storage")
        if resource.kind not in (*GUEST_KINDS, "Storage") and self.fixed(resource, ("spec", "storage"), storage):
            yield self._fixed("storage", resource, ("spec", "storage"), storage)

    def guest(self, resource: Resource, wanted: Wanted) -> Iterator[Finding]:
        spec = resource.spec
        if spec.get("vmid") is not None:
            hint = "leave vmid out, and the next free one is taken"
            yield finding("pve-vmid-pinned", resource, ("spec", "vmid"), f"the VMID is {spec['vmid']}", hint)
        if self.fixed(resource, ("metadata", "name"), resource.name):
            hint = "make it of the release's name: {{ Release.Name }}-" + resource.name
            yield finding("pve-fixed-name", resource, ("metadata", "name"), "the name is written in the template", hint)
        node = spec.get("node")
        if self.fixed(resource, ("spec", "node"), node):
            yield self._fixed("node", resource, ("spec", "node"), node)
        fields = leaves(wanted.fields)
        volumes: dict[str, dict[str, Any]] = {}
        for leaf, value in fields.items():
            name, _, part = leaf.partition(".")
            if _VOLUME.fullmatch(name):
                volumes.setdefault(name, {})[part] = value
            path = wanted.origins.get(leaf)
            if path is None:
                continue
            if re.fullmatch(r"net\d+\.bridge", leaf) and self.fixed(resource, path, value):
                yield self._fixed("bridge", resource, path, value)
            if leaf.endswith(".storage") and self.fixed(resource, path, value):
                yield self._fixed("storage", resource, path, value)
        yield from self.volumes(resource, wanted, volumes)
        if spec.get("unprivileged") is False:
            yield finding(
                "pve-privileged-container", resource, ("spec", "unprivileged"), "the container is not unprivileged"
            )
        if resource.kind == "VirtualMachine" and not any(leaf.partition(".")[0] == "agent" for leaf in fields):
            yield finding("pve-no-agent", resource, ("spec",), "there is no guest agent", "agent: true")

    def volumes(
        self, resource: Resource, wanted: Wanted, volumes: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Finding]:
        # Beside clones, which have the boot disk of their template, the first disk is the machine's own.
        disks = [name for name, parts in volumes.items() if parts.get("media") != "cdrom" and "size" in parts]
        boot = str(wanted.once.get("boot") or next(iter(sorted(disks)), ""))
        boot = "rootfs" if "rootfs" in volumes else boot.partition(";")[0].removeprefix("order=")
        for name in disks:
            known = {"storage", "import-from", "file", "volume"} & volumes[name].keys()
            if not known and not (name == boot and wanted.once.get("template")):
                path = wanted.origins.get(f"{name}.size", ("spec",))[:-1]
                yield finding(
                    "pve-no-storage", resource, path, f"{name} has no storage", "storage: a value of the chart"
                )
            if volumes[name].get("storage") in _LOCAL:
                self.local[resource.ref] = str(volumes[name]["storage"])
        data = sorted(name for name in disks if name != boot and name not in ("efidisk0", "tpmstate0"))
        if data and not resource.metadata.get("lifecycle"):
            path = wanted.origins.get(f"{data[0]}.size", ("spec",))[:-1]
            hint = "metadata.lifecycle: protect asks before they are destroyed, keep leaves them"
            yield finding(
                "pve-unprotected-data",
                resource,
                path,
                f"without a lifecycle its data go with it: {', '.join(data)}",
                hint,
            )

    def availability(self) -> Iterator[Finding]:
        found = [resource for resource in self.resources if resource.kind == "HAResource"]
        for resource in found:
            storage = self.local.get(str(resource.spec.get("guest")))
            if storage:
                what = f"{resource.spec['guest']} has disks on {storage}, which other nodes do not see"
                hint = "a shared storage, or replication on ZFS"
                yield finding("pve-ha-local-storage", resource, ("spec", "guest"), what, hint)
        rules = {"HARule", "HAGroup"}
        placed = any(resource.kind in rules for resource in self.resources) or not rules & set(self.kinds.names())
        if len(found) > 1 and not placed and not any(resource.spec.get("group") for resource in found):
            hint = "kind HARule: node-affinity, or resource-affinity that keeps them apart"
            yield finding("pve-ha-placement", found[0], (), f"{len(found)} guests under HA and no HARule", hint)

    def _fixed(self, noun: str, resource: Resource, path: Sequence[str | int], value: Any) -> Finding:
        hint = f"make it a value, with {value} for its default"
        return finding(f"pve-fixed-{noun}", resource, path, f"the {noun} {value} is written in the template", hint)
