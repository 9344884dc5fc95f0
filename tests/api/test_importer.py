"""The importer keeps facts, and what is shipped is what it makes of the sources."""

from __future__ import annotations

import json

import pytest

from pvehelm.api import importer
from tests.helpers import ROOT, SHARED, needs_shared


@pytest.mark.parametrize(
    ("description", "deprecated"),
    [
        ("Deprecated: Use 'schedule' instead. Day of week.", "schedule"),
        ("How many. Deprecated, use 'max-workers' instead.", "max-workers"),
        ("Both at once!Deprecated, use 'max-workers' instead.", "max-workers"),
        ("Turn it off. DEPRECATED, use the 'migration' property instead!", "migration"),
        ("NOTE: Deprecated, use the 'one' and 'two' options instead.", "one"),
        ("Deprecated: Use 'boot: order=foo' instead.", "boot"),
        ("Bits. Depreacted. This was deprecated in recent versions.", True),
        ("Deprecated, do not use.", True),
        ("The viewer (VNC; deprecated and maps to html5).", None),
        ("Use as 'legacy=' is deprecated.", None),
        ("", None),
    ],
)
def test_what_is_given_up(description: str, deprecated: object) -> None:
    parameters = {"properties": {"x": {"type": "string", "description": description}}}
    tree = [{"path": "/a", "info": {"POST": {"name": "a", "parameters": parameters}}}]
    made = importer.import_tree(tree, release="9.2")
    (facts,) = [made["facts"][row] for row in made["operations"][0]["params"].values()]
    assert facts.get("deprecated") == deprecated
    assert description not in json.dumps(made) or not description


@needs_shared
@pytest.mark.parametrize("release", ["7.4", "8.4", "9.2"])
def test_what_is_shipped_is_what_the_sources_say(release: str) -> None:
    shipped = (ROOT / f"pvehelm/api/data/schema-{release}.json").read_text()
    tree = importer.decode((SHARED / f"pve-api/apidoc-{release}.js.gz").read_bytes())
    made = importer.import_tree(tree, release=json.loads(shipped)["release"])
    assert importer.to_text(made) == shipped, (
        f"pvehelm schema import apidoc.js --out pvehelm/api/data/schema-{release}.json"
    )
