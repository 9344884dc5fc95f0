"""What reaches past its own release is privileged, however it is written; what stays within it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.api.kinds import Kinds, explain
from pvehelm.api.privilege import Privileges
from pvehelm.api.schema import Schema
from pvehelm.chart.manifest import parse

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "privilege.yaml").read_text())
PLACED = ("VirtualMachine", "Container", "Image")


def privileged(kind: str, spec: str, *, name: str = "one", release: str = "9.2") -> list[str]:
    node = "node: pve1, " if kind in PLACED else ""
    (resource,) = parse(f"kind: {kind}\nmetadata: {{ name: {name} }}\nspec: {{ {node}{spec} }}\n", file="x")
    return list(Kinds.load(Schema.load(release)).get(kind).lower(resource, lambda ref: "100").privileged)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']} {case['spec']}"[:60])
def test_what_reaches_past_its_release(case: dict[str, Any]) -> None:
    given = {name: case[name] for name in ("name", "release") if name in case}
    assert privileged(case["kind"], case["spec"], **given) == case["uses"]


def test_a_rule_that_is_written_wrong_is_found() -> None:
    """Every rule names a field that its kind has, or an object's name or scope."""
    for release in ("8.4", "9.2"):
        for kind in Kinds.load(Schema.load(release)):
            names = {field["name"] for field in explain(kind)["fields"]} | {"name", "scope", "*", "ostemplate"}
            for rule in explain(kind).get("privileged_fields", ()):
                assert rule.partition(".")[0] in names, (kind.name, rule)


def test_what_is_not_known_yet_counts_as_anything() -> None:
    rules = Privileges(["usb[n].host~(?!spice)", "url~http:"])
    assert list(rules.used({"usb0": "${secret://release/x}", "url": "secret://env/URL"})) == ["usb0", "url"]
    assert list(rules.used({"usb0.host": "spice", "usb1.mapping": "key", "url": None})) == []
