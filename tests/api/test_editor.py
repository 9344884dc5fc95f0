"""The JSON Schemas for editors accept what is valid, and see what an editor should see."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml

from pvehelm.api import editor
from tests.api.kindlab import CASES, load_kinds
from tests.api.sweep import TABLE, variants

DOCUMENTS = [doc for doc in yaml.safe_load_all((CASES / "manifests.yaml").read_text(encoding="utf-8")) if doc]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return {release: editor.documents(load_kinds(release)) for release in ("9.2", "8.4")}


def checker(schemas: Any, kind: str, release: str = "9.2") -> Any:
    return jsonschema_rs.validator_for(schemas[release][f"{kind}.json"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=[f"{d['kind']}-{d['metadata']['name']}" for d in DOCUMENTS])
def test_valid_manifests_are_valid(schemas: Any, document: Any) -> None:
    plain = json.loads(json.dumps(document))
    assert [str(error) for error in checker(schemas, plain["kind"]).iter_errors(plain)] == []


def test_everything_that_the_sweep_begins_with_is_valid(schemas: Any) -> None:
    for variant in variants():
        for row in (*variant.row.get("setup", []), {"kind": variant.kind, "name": variant.name, "spec": variant.spec}):
            document = {"kind": row["kind"], "metadata": {"name": row["name"]}, "spec": row["spec"]}
            found = list(checker(schemas, row["kind"], variant.release).iter_errors(document))
            assert [str(error) for error in found] == [], document


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("VirtualMachine", {"node": "a", "memroy": 512}),
        ("VirtualMachine", {"node": "a", "net0": {"bridge": "vmbr0", "tagg": 5}}),
        ("Storage", {"path": "/x"}),
        ("Zone", {"type": "simpel"}),
        ("BackupJob", {"schedule": "daily", "all": "perhaps"}),
        ("SecurityGroup", {"rules": [{"type": "in", "acton": "ACCEPT"}]}),
        ("MetricServer", {"type": "graphite", "server": "a", "port": 99999999}),
    ],
)
def test_slips_are_seen(schemas: Any, kind: str, spec: Any) -> None:
    document = {"apiVersion": "proxmox.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    assert not checker(schemas, kind).is_valid(document)


def test_one_schema_for_files_of_any_kind(schemas: Any) -> None:
    every = schemas["9.2"]["manifests.json"]
    assert set(every["properties"]["kind"]["enum"]) == set(load_kinds("9.2").names())
    assert len(every["allOf"]) == len(every["properties"]["kind"]["enum"])
    assert TABLE["kinds"].keys() <= set(every["properties"]["kind"]["enum"]) | {"HAGroup"}
