"""Guests from a few words: a manifest made of flags, applied as a set of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, Problem, RefusedError, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.pipeline import Result

SIZE = re.compile(r"\d+|\d+(\.\d+)?[KMGT](i?B)?", re.IGNORECASE)
# Fields of a spec and the flags that say them: of the same name, and of another one.
PLAIN = ("node", "vmid", "memory", "template", "image")
NAMED = {
    "cpu": "--cores",
    "disks": "--disk",
    "networks": "--net",
    "tags": "--tag",
    "description": "--notes",
    "power": "--start",
    "sshKeys": "--ssh-key",
    "unprivileged": "--privileged",
    "ide2": "--iso",
}


@dataclass(frozen=True)
class Guest:
    """What a new guest shall be. ``disks`` and ``networks`` as ``local-lvm:32G,discard=on`` and ``vmbr0,tag=20``;
    ``more`` are further fields of the spec, by path."""

    kind: str
    name: str
    namespace: str = ""
    node: str = ""
    vmid: int = 0
    cores: int = 0
    memory: str = ""
    disks: Sequence[str] = ()
    networks: Sequence[str] = ()
    tags: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    power: str = ""
    # Of machines: the clone source, an installation medium; of containers: the image.
    template: str = ""
    iso: str = ""
    image: str = ""
    privileged: bool = False
    user: str = ""
    ssh_keys: Sequence[str] = ()
    ip: str = ""
    gateway: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@action("local", "create-manifest")
def manifest(guest: Guest) -> Resource:
    """The manifest that a guest's flags stand for; its places are those flags. Raises UsageError for what makes no
    sense."""
    from dataclasses import replace

    from pvehelm.chart.manifest import Source, parse
    from pvehelm.chart.yaml import dump

    if guest.memory and not SIZE.fullmatch(guest.memory):
        raise UsageError(f"--memory {guest.memory}: that is no size", hint="2048 (MiB), 512M or 4G")
    spec: dict[str, Any] = {"node": guest.node} if guest.node else {}
    spec |= {"vmid": guest.vmid} if guest.vmid else {}
    spec |= {"cpu": {"cores": guest.cores}} if guest.cores else {}
    spec |= {"memory": int(guest.memory) if guest.memory.isdecimal() else guest.memory} if guest.memory else {}
    spec |= _machine(guest) if guest.kind == "VirtualMachine" else _container(guest)
    if guest.tags:
        spec["tags"] = [tag for text in guest.tags for tag in text.replace(";", ",").split(",") if tag]
    spec |= {"description": guest.description} if guest.description else {}
    spec |= {"power": guest.power} if guest.power else {}
    for name, value in guest.more.items():
        if name in spec and isinstance(spec[name], Mapping) and isinstance(value, Mapping):
            value = {**spec[name], **value}
        spec[name] = value
    metadata: dict[str, Any] = {"name": guest.name}
    metadata |= {"namespace": guest.namespace} if guest.namespace not in ("", "default") else {}
    metadata |= {"labels": dict(guest.labels)} if guest.labels else {}
    document = {"apiVersion": "proxmox.io/v1", "kind": guest.kind, "metadata": metadata, "spec": spec}
    marks = {place: Source(flag, 0) for place, flag in _flags(guest).items()}
    (resource,) = parse(dump(document, width=None), file=f"create {guest.name}")
    return replace(resource, source=Source(resource.ref, 0), marks=marks)


def _flags(guest: Guest) -> dict[tuple[str | int, ...], str]:
    """By which flag each part of the manifest is said."""
    given: dict[tuple[str | int, ...], str] = {("spec", name): f"--set {name}" for name in guest.more}
    disks = [f"--disk {text}" for text in guest.disks]
    cloud = {"user": "--user", "sshKeys": "--ssh-key", "ip": "--ip", "gateway": "--gateway"}
    said: dict[tuple[str | int, ...], str] = {("spec", name): f"--{name}" for name in PLAIN}
    said |= {("spec", place): flag for place, flag in NAMED.items()}
    said |= {("metadata", "name"): guest.name, ("metadata", "namespace"): "-n"}
    said |= {("spec", "networks", index): f"--net {text}" for index, text in enumerate(guest.networks)}
    if guest.kind == "VirtualMachine":
        said |= {("spec", "disks", index): text for index, text in enumerate(disks)}
        said |= {("spec", "cloudInit", name): flag for name, flag in cloud.items()}
    else:
        said |= {("spec", "rootfs"): disks[0] if disks else "--disk"}
        said |= {("spec", "mounts", f"mp{index}"): text for index, text in enumerate(disks[1:])}
        said |= {("spec", "networks", 0, name): f"--{flag}" for name, flag in (("ip", "ip"), ("gw", "gateway"))}
    return {**said, **given}


def _machine(guest: Guest) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": guest.template} if guest.template else {}
    disks = [_disk(text) for text in guest.disks]
    if disks:
        spec["disks"] = disks
    if guest.iso:
        spec["ide2"] = {"file": guest.iso, "media": "cdrom"}
    networks = [_network(text) for text in guest.networks]
    if networks:
        spec["networks"] = networks
    cloud = {"user": guest.user, "sshKeys": list(guest.ssh_keys), "ip": guest.ip, "gateway": guest.gateway}
    cloud = {name: value for name, value in cloud.items() if value}
    return spec | ({"cloudInit": cloud} if cloud else {})


def _container(guest: Guest) -> dict[str, Any]:
    if guest.user:
        raise UsageError("--user is for virtual machines", hint="a container's user is root: --ssh-key gives access")
    spec: dict[str, Any] = {"image": guest.image} if guest.image else {}
    spec["unprivileged"] = not guest.privileged
    disks = [_disk(text) for text in guest.disks]
    if disks:
        spec["rootfs"] = disks[0]
    if len(disks) > 1:
        spec["mounts"] = {f"mp{index}": disk for index, disk in enumerate(disks[1:])}
    networks = [_network(text) for text in guest.networks]
    if networks:
        networks[0] |= {"ip": guest.ip} if guest.ip else {}
        networks[0] |= {"gw": guest.gateway} if guest.gateway else {}
        spec["networks"] = networks
    elif guest.ip:
        raise UsageError("--ip needs a network", hint="--net vmbr0")
    return spec | ({"sshKeys": list(guest.ssh_keys)} if guest.ssh_keys else {})


def _disk(text: str) -> dict[str, Any]:
    """``local-lvm:32G,discard=on`` as a map; an empty size leaves it to the template."""
    first, *options = text.split(",")
    storage, colon, size = first.partition(":")
    if not colon or not storage:
        raise UsageError(f"--disk {text!r}: expected STORAGE:SIZE", hint="for example local-lvm:32G,discard=on")
    disk: dict[str, Any] = {"storage": storage, **({"size": f"{size}G" if size.isdecimal() else size} if size else {})}
    return disk | _options(options, f"--disk {text!r}")


def _network(text: str) -> dict[str, Any]:
    """``vmbr0,tag=20`` as a map."""
    first, *options = text.split(",")
    given = {"bridge": first} if "=" not in first else _options([first], f"--net {text!r}")
    return given | _options(options, f"--net {text!r}")


def _options(parts: Sequence[str], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"{what}: {part!r} is no NAME=VALUE")
        found[name] = int(value) if value.isdecimal() else value
    return found


@action("read", "create-place")
async def place(ctx: Context, guest: Guest) -> str:
    """The node for a guest without one: its template's, else the one with the most free memory.

    Raises NotFoundError where there is none.
    """
    client = await ctx.connect()
    rows = await client.get("/cluster/resources") or []
    if guest.template:
        source = next(
            (r for r in rows if r.get("type") == "qemu" and guest.template in (r.get("name"), str(r.get("vmid")))), None
        )
        if source is not None:
            return str(source["node"])
    nodes = [row for row in rows if row.get("type") == "node" and row.get("status", "online") == "online"]
    if not nodes:
        raise NotFoundError("no node is online that these credentials can see", hint="--node NAME")
    best = min(nodes, key=lambda row: (-(int(row.get("maxmem") or 0) - int(row.get("mem") or 0)), str(row["node"])))
    return str(best["node"])


@action("write", "create-guest")
async def create(ctx: Context, resource: Resource, options: Options | None = None, *, set_name: str = "") -> Result:
    """Make a guest: its manifest applied as a set of the guest's name. Raises RefusedError where one is there."""
    from pvehelm.actions.manifests import apply
    from pvehelm.release import sets
    from pvehelm.release.release import Status

    await ctx.connect()
    problems = ctx.kinds.get(resource.kind).validate(resource)
    if problems:
        named = [Problem(str(resource.where(path)), one.what, one.hint) for path, one in problems]
        raise InvalidError("the guest can't be made like this", named)
    name = set_name or resource.name.lower()
    release = ctx.store.find(ctx.key(name))
    if release is not None and release.current.status is not Status.uninstalled and not set_name:
        what = "set" if sets.is_set(release) else "release"
        raise RefusedError(
            f"there is a {what} {name!r} already", hint="--set-name NAME puts the guest into a set of another name"
        )
    return await apply(ctx, name, [resource], options, description=f"Created {resource.ref}")
