"""Golden plans: from a manifest, an inventory and a server's answers to exactly these changes and calls.

A case is a file of ``cases/plan``: ``manifest`` (what is desired), ``inventory`` (what is owned, by ref), ``guests``
(by VMID: node, type, status, config and pending changes) and ``server`` (other GETs and their answers), ``allowed``,
``environ`` and ``keep``; ``expect`` is the plan in short form. ``python -m tests.release.test_plan NAME...`` writes
``expect`` anew, for a person to read and judge.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.api.kinds import Kinds
from pvehelm.api.schema import Schema
from pvehelm.chart.manifest import parse
from pvehelm.errors import InvalidError
from pvehelm.release.inventory import Inventory, Owned
from pvehelm.release.live import Reader, gather
from pvehelm.release.plan import Allowed, Change, Plan, plan
from pvehelm.release.resolvers import env_resolver
from pvehelm.release.secrets import Secrets

FOLDER = Path(__file__).parent / "cases" / "plan"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_"))
UID = "11111111-2222-3333-4444-555555555555"


class Server:
    """Answers GETs from data; anything else is a mistake of the case."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        base = yaml.safe_load((FOLDER / "_base.yaml").read_text())
        self.answers: dict[str, Any] = {**base, **case.get("server", {})}
        rows = list(self.answers["/cluster/resources"])
        on_node: dict[str, list[Any]] = {}
        for vmid, guest in (case.get("guests") or {}).items():
            kind, node = guest.get("type", "qemu"), guest.get("node", "pve-node1")
            config = guest.get("config", {})
            name = config.get("name" if kind == "qemu" else "hostname")
            row = {"type": kind, "id": f"{kind}/{vmid}", "vmid": vmid, "node": node, "name": name, "template": 0}
            rows.append(
                row | {"status": guest.get("status", "stopped"), **({"pool": guest["pool"]} if "pool" in guest else {})}
            )
            on_node.setdefault(f"/nodes/{node}/{kind}", []).append(
                {"vmid": vmid, "status": guest.get("status", "stopped")}
            )
            entries = [{"key": key, "value": value} for key, value in config.items()]
            for key, value in guest.get("pending", {}).items():
                entries = [entry for entry in entries if entry["key"] != key]
                entries.append({"key": key, "value": config.get(key), "pending": value})
            self.answers[f"/nodes/{node}/{kind}/{vmid}/pending"] = entries
        self.answers["/cluster/resources"] = rows
        for path, found in on_node.items():
            self.answers[path] = found

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self.answers[path]


def made(case: Mapping[str, Any]) -> Plan:
    kinds = Kinds.load(Schema.load("9.2"))
    resources = parse(case.get("manifest") or "", file="manifest.yaml")
    inventory = Inventory()
    for ref, row in (case.get("inventory") or {}).items():
        kind, _, name = ref.partition("/")
        inventory.entries[ref] = Owned(ref, kind, name, None, **{"uid": UID, "metadata": {}, **row})
        inventory.entries[ref].metadata.setdefault("after", [])
    allowed = Allowed(**{name: frozenset(given) for name, given in case.get("allowed", {}).items()})
    secrets = Secrets({"env": env_resolver(case.get("environ", {}))}, lambda text: f"key:{text[::-1]}")

    async def decided() -> Plan:
        desired, observed = await gather(
            resources,
            inventory,
            kinds=kinds.get,
            reader=Reader(Server(case)),
            secrets=secrets,
            replaced=allowed.replace,
            taken=allowed.owns,
        )
        return plan(
            "upgrade",
            "web",
            "default",
            desired,
            inventory,
            observed,
            kinds=kinds.get,
            uid=UID,
            allowed=allowed,
            keep=case.get("keep", False),
        )

    return asyncio.run(decided())


def short(found: Plan) -> dict[str, Any]:
    """A plan as a case states it: every decision, nothing else."""
    result: dict[str, Any] = {"summary": found.summary(), "changes": {c.ref: _change(c) for c in found.changes}}
    for name in ("problems", "refusals"):
        rows = [f"{p.where}: {p.what}" for p in getattr(found, name)]
        result |= {name: rows} if rows else {}
    return result


def _change(change: Change) -> dict[str, Any]:
    row: dict[str, Any] = {"op": str(change.op), "reason": change.reason}
    if change.effect.name != "live":
        row["effect"] = change.effect.name
    if str(change.op) not in ("create", "replace"):
        row |= {"fields": [_field(f) for f in change.fields]} if change.fields else {}
    steps = [f"{s.method} {s.path} {_params(s.params)}".strip() or f"({s.note})" for s in change.steps]
    row |= {"steps": steps} if steps else {}
    for name in ("needs", "losses", "privileged"):
        row |= {name: list(getattr(change, name))} if getattr(change, name) else {}
    row |= {"waits": sorted(change.pending)} if change.pending else {}
    if change.owned is not None and change.owned.found:
        row["found"] = dict(change.owned.found)
    return row


def _field(field: Any) -> str:
    tail = f" [{field.effect.name}]" if field.effect.name != "live" else ""
    return f"{field.leaf}: {field.before} -> {field.after}{tail}{f' ({field.reason})' if field.reason else ''}"


def _params(params: Mapping[str, Any]) -> str:
    text = " ".join(f"{name}={value}".replace("\n", "\\n") for name, value in params.items())
    return re.sub(r"<!-- pvehelm release=1{8}-\S+ object=(\S+) vmid=(\S+) -->", r"<mark \1 \2>", text)


def outcome(case: Mapping[str, Any]) -> Any:
    try:
        return short(made(case))
    except InvalidError as error:
        return {"error": str(error), "problems": [f"{p.where}: {p.what}" for p in error.problems]}


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str) -> None:
    case = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    found = outcome(case)
    assert yaml.safe_load(yaml.safe_dump(found)) == case["expect"]


@pytest.mark.parametrize("name", CASES)
def test_the_same_plan_again(name: str) -> None:
    """The decision is a function of its input: the same digest, and JSON that says the same."""
    case = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    try:
        one, two = made(case), made(case)
    except InvalidError:
        return
    assert one.digest == two.digest
    assert one.as_dict() == two.as_dict()


def write(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    text = path.read_text()
    given = text.partition("\nexpect:\n")[0].rstrip() + "\n"
    expect = yaml.safe_dump({"expect": outcome(yaml.safe_load(given))}, sort_keys=False, width=1000, allow_unicode=True)
    path.write_text(f"{given}\n{expect}")


if __name__ == "__main__":
    for one in sys.argv[1:] or CASES:
        write(one)
