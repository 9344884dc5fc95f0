"""What a user or token may not do: the calls of a plan held against the schema's permission checks. Pure.

``permissions`` is what ``GET /access/permissions`` answers: ``{path: {privilege: 1 when it propagates, else 0}}``.
What depends on more than that (groups of the user that is changed, parameters not known yet) counts as allowed: the
server has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pvehelm.api.kind import Step
from pvehelm.api.kinds import tables
from pvehelm.api.schema import Schema
from pvehelm.api.table import Table
from pvehelm.errors import Problem

ROOT = "root@pam"
_VOLUME = re.compile(r"(ide|sata|scsi|virtio|mp)\d+|rootfs|efidisk0|tpmstate0")
_NEW_VOLUME = re.compile(r"(?:file=|volume=)?([^:/,]+):(?:\d|cloudinit)")
_NET = re.compile(r"net\d+")
_BRIDGE = re.compile(r"(?:^|,)bridge=([^,]+)")
Permissions = Mapping[str, Mapping[str, int]]


def problems(
    schema: Schema, changes: Iterable[tuple[str, str, Sequence[Step]]], permissions: Permissions, who: str
) -> list[Problem]:
    """What ``who`` (``user@realm``, ``user@realm!token``) can't do of ``(ref, kind, steps)``; nothing for root@pam."""
    if who == ROOT:
        return []
    found: dict[tuple[str, str], Problem] = {}
    for ref, kind, steps in changes:
        for step in steps:
            for what, hint in _of_step(schema, kind, step, permissions, who):
                found.setdefault((ref, what), Problem(ref, what, hint))
    return list(found.values())


def _of_step(schema: Schema, kind: str, step: Step, permissions: Permissions, who: str) -> Iterator[tuple[str, str]]:
    matched = schema.match(step.method, step.path) if step.method else None
    if matched is None:
        return
    operation, in_path = matched
    title = step.note or f"{step.method} {step.path}"
    itself = "log in as root@pam with its password; a token is not enough, not even root's"
    if operation.permissions is None:
        yield f"{title}: only root@pam may do that", itself
        return
    if "!" in who and not operation.allow_token:
        yield f"{title}: a token may not do that", "log in with a user's password"
        return
    for name in root_only(kind, step.params):
        yield f"only root@pam may set {name}", itself
    table = tables().get(kind)
    check = (table.rights if table else {}).get(f"{operation.method} {operation.path}")
    check = check or operation.permissions.get("check")
    args = {**step.params, **in_path}
    lacking = [_missing(check, args, permissions)] if check else []
    lacking += [_missing(one, args, permissions) for one in _options_of(table, step, permissions)]
    for missing in dict.fromkeys(filter(None, lacking)):
        yield f"{title}: {who} lacks {missing}", "give it a role with that privilege there, or use other credentials"


def root_only(kind: str, params: Mapping[str, Any]) -> Iterator[str]:
    """The parameters that only root@pam may set, as the kind's table says."""
    table = tables().get(kind)
    yield from _named(table.root if table else (), params)


def _named(rules: Iterable[str], params: Mapping[str, Any]) -> Iterator[str]:
    """The parameters that rules speak of: ``NAME``, ``FAMILY[n]``, with ``~REGEX`` for their values."""
    for rule in rules:
        family, _, values = rule.partition("~")
        names = re.compile(re.escape(family).replace(r"\[n\]", r"\d+"))
        for name, value in params.items():
            if names.fullmatch(name) and (not values or re.match(values, str(value), re.IGNORECASE)):
                yield name


def _options_of(table: Table | None, step: Step, permissions: Permissions) -> Iterator[Sequence[Any]]:
    """The checks that single parameters of a guest ask for: its options, new volumes, bridges."""
    if table is None or not table.options or not re.search(r"/(qemu|lxc)(/[^/]+/config)?\Z", step.path):
        return
    params = dict(step.params) | dict.fromkeys(str(step.params.get("delete") or "").split(","), "")
    new = "/config" not in step.path
    for privilege, rules in table.options.items():
        if any(_named(rules, params)):
            wanted = ["perm", "/vms/{vmid}", privilege.split("|"), "any", 1]
            in_pool = ["perm", "/pool/{pool}", privilege.split("|"), "any", 1, "require_param", "pool"]
            yield ["or", wanted, in_pool] if new else wanted
    for name, value in params.items():
        volume = _NEW_VOLUME.match(str(value)) if _VOLUME.fullmatch(name) else None
        if volume:
            yield ["perm", f"/storage/{volume[1]}", ["Datastore.AllocateSpace"]]
        bridge = _BRIDGE.search(str(value)) if _NET.fullmatch(name) else None
        if bridge and not _any_zone(bridge[1], permissions):
            yield ["perm", f"/sdn/zones/localnetwork/{bridge[1]}", ["SDN.Use"]]


def _any_zone(bridge: str, permissions: Permissions) -> bool:
    """Whether the bridge may be used as a network of some zone: which one it is in can't be told from here."""
    zones = {path.split("/")[3] for path in permissions if path.startswith("/sdn/zones/")} - {"localnetwork"}
    return any("SDN.Use" in privileges(permissions, f"/sdn/zones/{zone}/{bridge}") for zone in zones)


def _missing(check: Sequence[Any], args: Mapping[str, Any], permissions: Permissions) -> str:
    """What a check lacks, in words; '' when it passes or can't be told from here."""
    head, rest = check[0], check[1:]
    if head == "and":
        lacking = [text for part in rest if (text := _missing(part, args, permissions))]
        return " and ".join(dict.fromkeys(lacking))
    if head == "or":
        lacking = [_missing(part, args, permissions) for part in rest if _applies(part, args)]
        return " or ".join(dict.fromkeys(lacking)) if all(lacking) else ""
    if head != "perm":
        return ""
    options = _options(check)
    path = _path(str(rest[0]), args)
    if path is None:
        return ""
    have = privileges(permissions, path)
    lacking = [priv for priv in rest[1] if priv not in have]
    if options.get("any"):
        return "" if len(lacking) < len(rest[1]) else f"{' or '.join(lacking)} on {path}"
    return f"{', '.join(lacking)} on {path}" if lacking else ""


def _options(check: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(check[3::2], check[4::2], strict=False)) if check[0] == "perm" else {}


def _applies(check: Sequence[Any], args: Mapping[str, Any]) -> bool:
    needed = _options(check).get("require_param")
    return not needed or args.get(needed) not in (None, "")


def _path(template: str, args: Mapping[str, Any]) -> str | None:
    """The path that is checked, None when a variable of it is not sent; what is not known yet is ``new``."""
    names = re.findall(r"\{([^}]+)\}", template)
    if any(args.get(name) in (None, "") for name in names):
        return None
    filled = {name: "new" if "${" in str(args[name]) else str(args[name]) for name in names}
    return re.sub(r"\{([^}]+)\}", lambda found: filled[found[1]], template)


def privileges(permissions: Permissions, path: str) -> set[str]:
    """The privileges at a path: its own row, else what the nearest one above passes on."""
    if path in permissions:
        return set(permissions[path])
    parts = [part for part in path.split("/") if part]
    for length in reversed(range(len(parts))):
        above = "/" + "/".join(parts[:length])
        if above in permissions:
            return {priv for priv, spreads in permissions[above].items() if spreads}
    return set()
