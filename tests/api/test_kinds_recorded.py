"""What was written and what a real server showed then: to every kind they have to mean the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pvehelm.api import rows, values
from pvehelm.chart.manifest import parse
from pvehelm.errors import InvalidError
from tests.api.kindlab import load_kinds
from tests.helpers import SHARED, needs_shared

FAMILIES = {
    "storage": "Storage",
    "user": "User",
    "group": "Group",
    "role": "Role",
    "pool": "Pool",
    "backup-job": "BackupJob",
    "fw-alias": "Alias",
    "fw-options-cluster": "FirewallOptions",
    "cluster-options": "ClusterOptions",
    "node-config": "NodeConfig",
    "realm": "Realm",
    "metric-server": "MetricServer",
    "mapping-pci": "PCIMapping",
    "token": "Token",
    "fw-options-node": "FirewallOptions",
    "fw-options-guest": "FirewallOptions",
    "ha-resource": "HAResource",
    "ha-rule": "HARule",
}


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    path = SHARED / "pve-wire" / "get-after-put.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        row = json.loads(line)
        if row.get("status") == 200:
            yield row["family"], row


def plain(got: Any) -> Any:
    """A recorded value; ``<set:a,b>`` stands for the list in any order."""
    if isinstance(got, str) and got.startswith("<set:"):
        return got[5:-1]
    return got


@needs_shared
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_written_reads_as_the_same(family: str) -> None:
    kind: Any = load_kinds("9.2").get(FAMILIES[family])
    wrong = []
    for found, row in recorded():
        if found != family or not isinstance(row.get("got"), dict):
            continue
        got = row["got"]
        for name, sent in row["sent"].items():
            place = next((p for p in ("node", "guest") if found.endswith(p)), kind.places[0])
            if kind.shape(place).param(name) is None or name == "delete":
                continue
            if family == "role":
                got = {"privs": ",".join(got)}
            live = kind.live_fields({k: plain(v) for k, v in got.items()}, place).get(name)
            try:
                wanted = values.normal(kind.facts(name, place), sent)
            except InvalidError:
                continue
            if kind.rule(name).first_line:
                wanted = wanted.partition("\n")[0].rstrip()
            pairs = [(name, wanted, live)]
            if isinstance(wanted, dict):
                pairs = [(f"{name}.{sub}", wanted[sub], (live or {}).get(sub)) for sub in wanted]
            wrong += [(row["sent"], got, pair) for pair in pairs if not kind.same(*pair)]
    assert wrong == []


@needs_shared
@pytest.mark.parametrize(("family", "shape"), [("fw-rule", "ordered"), ("fw-ipset-entry", "keyed")])
def test_rows_read_as_the_same(family: str, shape: str) -> None:
    kind: Any = load_kinds("9.2").get("FirewallRules" if shape == "ordered" else "IPSet")
    facts = kind.row_facts("cluster")
    wrong = []
    for found, row in recorded():
        if found != family or row["method"] != "POST":
            continue
        wanted = rows.normal_row(facts, {"enable": 0, **row["sent"]} if shape == "ordered" else row["sent"], shape)
        live = rows.live_row(facts, row["got"], shape)
        if not rows.same_rows(shape, [wanted], [live]):
            wrong.append((wanted, live))
    assert wrong == []


@needs_shared
def test_the_documents_of_the_shapes_page_validate() -> None:
    text = (SHARED / "MANIFESTS.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    documents = [doc if "apiVersion" in doc else f"apiVersion: proxmox.io/v1\n{doc}" for doc in text.split("\n---\n")]
    resources = parse("\n---\n".join(documents), file="MANIFESTS.md")
    assert len(resources) == 18
    assert load_kinds("9.2").validate(resources) == []
    assert [found[0].ref for found in load_kinds("8.4").validate(resources)] == ["HARule/keep-apart"]
