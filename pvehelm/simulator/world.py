"""What a simulated cluster holds, as data that can be compared before and after."""

from __future__ import annotations

import json
from typing import Any

from pvehelm.simulator.state import State

#: Not what somebody configured: records of work, log-ins, and what the server rolls at each change.
RECORDS = frozenset({"tasks", "tickets", "sessions"})
ROLLED = frozenset({"vmgenid", "digest", "meta"})
#: What a guest is doing rather than what it is: changes under way, what ran in it and what that wrote.
PASSING = frozenset({"pending", "delete", "started", "processes", "files"})

World = dict[str, Any]


def world(state: State) -> World:
    """Everything configured, ``collection/key -> document``; of a guest what it is after its next restart."""
    found: World = {}
    for collection, key, body in state.execute("SELECT collection, key, body FROM documents"):
        if collection not in RECORDS:
            document = json.loads(body)
            if collection == "nodes" and "vnets" in document:  # a set, there once networks were applied
                document["vnets"] = sorted(document["vnets"])
                document = {key: value for key, value in document.items() if key != "vnets" or value}
            if any(document.values()):  # a scope's firewall is kept when everything is gone from it
                found[f"{collection}/{key}"] = guest(document) if collection in ("qemu", "lxc") else document
    return found


def guest(document: dict[str, Any]) -> dict[str, Any]:
    config = {**document["config"], **document.get("pending", {})}
    config = {k: v for k, v in config.items() if k not in document.get("delete", ()) and k not in ROLLED}
    volumes = [str(v).partition(",")[0] for k, v in config.items() if not k.startswith("unused")]
    # The simulator leaves an unusedN behind when a waiting change of a disk is taken back.
    config = {k: v for k, v in config.items() if not (k.startswith("unused") and v in volumes)}
    return {**{k: v for k, v in document.items() if k not in PASSING}, "config": config}


def differences(before: World, after: World) -> list[str]:
    """One line for each document that is not as it was."""
    lines = []
    for place in sorted(before.keys() | after.keys()):
        if place not in after:
            lines.append(f"- {place}: {before[place]}")
        elif place not in before:
            lines.append(f"+ {place}: {after[place]}")
        elif before[place] != after[place]:
            lines.append(f"~ {place}:\n    {before[place]}\n    {after[place]}")
    return lines
