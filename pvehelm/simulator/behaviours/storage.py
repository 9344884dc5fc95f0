"""Storage definitions, and their state on a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.simulator.behaviours import properties, storages
from pvehelm.simulator.core import MODIFIED, Call, Failure, bad_parameters, handler
from pvehelm.simulator.permissions import drop_entries

GIB = 1 << 30
_LISTS = ("content", "nodes")


# -- definitions ---------------------------------------------------------------------------------------------------


def _shown(storage: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """A definition as a reader gets it."""
    answer: dict[str, Any] = {**found, "storage": storage, "content": ",".join(sorted(storages.contents(found)))}
    if not answer["content"]:
        del answer["content"]
    if found["type"] in storages.SHARED_TYPES:
        answer["shared"] = 1
    if isinstance(answer.get("content-dirs"), str):
        pairs = (part.partition("=") for part in answer["content-dirs"].split(","))
        answer["content-dirs"] = {key: value for key, _, value in pairs}
    return answer


def _digest(call: Call) -> str:
    return call.digest(call.state.collection("storage").items())


@handler("GET", "/storage")
def listed(call: Call) -> list[dict[str, Any]]:
    digest = _digest(call)
    return [
        {**_shown(name, found), "digest": digest}
        for name, found in call.state.collection("storage").items()
        if call.str("type", found["type"]) == found["type"]
        and call.may(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace")
    ]


@handler("GET", "/storage/{storage}")
def show(call: Call) -> dict[str, Any]:
    storage = call.str("storage")
    return {**_shown(storage, storages.definition(call.state, storage)), "digest": _digest(call)}


def _checked(call: Call, type: str, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options of a type in the shape that is stored. Raises Failure."""
    facts = storages.types()[type]
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in facts["options"]:
            raise Failure(500, f"{prefix}unexpected property '{name}'")
        if name in _LISTS:
            words = sorted(set(storages.words(value)))
            if name == "content":
                _check_content(words, facts, prefix)
            found[name] = ",".join(words)
        elif value != "":
            found[name] = properties.typed(call.operation, name, value)
    if str(found.get("base", "")).count(":") and not re.search(r":\d+\.\d+\.\d+\.\S+\Z", str(found["base"])):
        name = str(found["base"]).partition(":")[2]
        raise Failure(500, f"{prefix}unable to parse iscsi volume name '{name}'")
    return found


def _check_content(words: list[str], facts: Mapping[str, Any], prefix: str) -> None:
    if "none" in words and len(words) > 1:
        raise Failure(500, f"{prefix}unable to combine 'none' with other content types")
    for word in words:
        if word not in facts["content_allowed"]:
            raise Failure(500, f"{prefix}storage does not support content type '{word}'")


@handler("POST", "/storage")
def create(call: Call) -> dict[str, Any]:
    values = dict(call.args)
    storage, type = str(values.pop("storage")), str(values.pop("type"))
    if not values.get("nodes"):
        values.pop("nodes", None)
    facts = storages.types()[type]
    found = _checked(call, type, values)
    for name in facts["required"]:
        if name not in found:
            raise Failure(500, f"missing value for required option '{name}'")
    collection = call.state.collection("storage")
    if storage in collection:
        raise Failure(500, f"create storage failed: storage ID '{storage}' already defined")
    for name in facts.get("sensitive", ()):
        found.pop(name, None)
    if type == "zfs":
        found.setdefault("zfs-base-path", "/dev/zvol")
    if found.get("content") == "none" and not found.get("disable") and type in storages.FILE_TYPES:
        raise Failure(500, "create storage failed: unknown vtype 'none'")
    if type in storages.MOUNTED_TYPES:
        found.setdefault("path", f"/mnt/pve/{storage}")
    found.setdefault("content", ",".join(facts["content_default"]))
    if not found.get("disable"):
        found.pop("disable", None)
    collection[storage] = {"type": type, **found}
    return {"storage": storage, "type": type, **({"config": {}} if type == "pbs" else {})}


@handler("PUT", "/storage/{storage}")
def update(call: Call) -> dict[str, Any]:
    prefix = "update storage failed: "
    values = dict(call.args)
    storage = str(values.pop("storage"))
    deleted = call.list("delete")
    for name in ("delete", "digest"):
        values.pop(name, None)
    call.check_digest(_digest(call), prefix + MODIFIED)
    collection = call.state.collection("storage")
    if storage not in collection:
        raise Failure(500, f"{prefix}storage '{storage}' does not exist")
    old = collection[storage]
    facts = storages.types()[old["type"]]
    for name in values:
        if name in facts["fixed_after_creation"]:
            raise Failure(500, f"{prefix}can't change value of fixed parameter '{name}'")
    if "nodes" in values and not values["nodes"]:
        del values["nodes"]
        deleted = [*deleted, "nodes"]
    found = _checked(call, old["type"], values, prefix)
    key = values.get("encryption-key", "autogen")
    if key != "autogen" and not str(key).lstrip().startswith("{"):
        raise Failure(500, f"{prefix}the encryption key does not look like one in JSON")
    for name in (name for name in values if name not in found):
        old.pop(name, None)
    for name in facts.get("sensitive", ()):
        found.pop(name, None)
    for name in deleted:
        if name not in facts["options"]:
            raise Failure(500, f"{prefix}no such option '{name}'")
        if name in facts["required"]:
            raise Failure(500, f"{prefix}unable to delete required option '{name}'")
        if name in facts["fixed_after_creation"]:
            raise Failure(500, f"{prefix}unable to delete fixed option '{name}'")
        if name in values:
            raise Failure(500, f"{prefix}cannot set and delete property '{name}' at the same time!")
        old.pop(name, None)
    new = {**old, **found}
    if not new.get("disable"):
        new.pop("disable", None)
    new.setdefault("content", ",".join(facts["content_default"]))
    collection[storage] = new
    return {"storage": storage, "type": new["type"], **({"config": {}} if new["type"] == "pbs" else {})}


@handler("DELETE", "/storage/{storage}")
def delete(call: Call) -> None:
    storage = call.str("storage")
    collection = call.state.collection("storage")
    if storage not in collection:
        raise Failure(500, f"delete storage failed: storage '{storage}' does not exist")
    if any(str(other.get("base", "")).startswith(f"{storage}:") for other in collection.values()):
        raise Failure(500, "delete storage failed: can't remove storage - storage is used as base of another storage")
    del collection[storage]
    drop_entries(call.state, lambda entry: entry["path"] == f"/storage/{storage}")


# -- state on a node -----------------------------------------------------------------------------------------------


@handler("GET", "/nodes/{node}/storage")
def on_node(call: Call) -> list[dict[str, Any]]:
    """Storages with their state; those that are off or for other nodes are shown too, unless a content is asked for."""
    wanted, target = set(call.list("content")), call.str("target")
    known = {
        name: found
        for name, found in call.state.collection("storage").items()
        if not call.has("content") or (wanted & storages.contents(found) and _usable_here(call, found))
    }
    if call.str("storage") and call.str("storage") not in known:
        call.bad(storage="No such storage.")
    rows = []
    for name, found in known.items():
        if call.str("storage", name) != name:
            continue
        if not call.may(f"/storage/{name}", "Datastore.Audit", "Datastore.AllocateSpace"):
            continue
        if call.bool("enabled") and not storages.enabled(found):
            continue
        if target not in ("", "localhost", call.node) and not (
            storages.shared(found) and storages.on_node(found, call.node) and storages.on_node(found, target)
        ):
            continue
        row = {"storage": name, **state(call, name, found)}
        if call.bool("format") and row["enabled"]:
            row |= _formats(found)
        rows.append(row)
    return rows


def _usable_here(call: Call, found: Mapping[str, Any]) -> bool:
    return storages.enabled(found) and storages.on_node(found, call.node)


def _formats(found: Mapping[str, Any]) -> dict[str, Any]:
    """The formats of volumes, in both shapes."""
    supported, usual = sorted(storages.formats(found)), storages.default_format(found)
    return {
        "formats": {"supported": supported, "default": usual},
        "format": [dict.fromkeys(supported, 1), usual],
    }


@handler("GET", "/nodes/{node}/storage/{storage}/status")
def status(call: Call) -> dict[str, Any]:
    storage = call.str("storage")
    found = call.state.collection("storage").get(storage)
    if found is None:
        raise bad_parameters({"storage": "No such storage."})
    return state(call, storage, found, fraction=False)


def state(call: Call, storage: str, found: Mapping[str, Any], *, fraction: bool = True) -> dict[str, Any]:
    """How a storage stands on the call's node: sizes in bytes."""
    active = _usable_here(call, found)
    total = used = 0
    if active:
        total = (1024 if storages.shared(found) else 100) * GIB
        used = sum(
            int(volume.get("used") or volume["size"])
            for volume in call.state.collection("volumes").values()
            if volume["storage"] == storage and volume.get("node") in (None, call.node)
        )
    answer: dict[str, Any] = {
        "type": found["type"],
        "content": ",".join(sorted(storages.contents(found))),
        "enabled": int(active),
        "active": int(active),
        "shared": int(storages.shared(found)),
        "total": total,
        "used": min(used, total),
        "avail": max(total - used, 0),
    }
    if fraction and total:
        answer["used_fraction"] = min(used, total) / total
    return answer
