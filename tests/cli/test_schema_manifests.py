"""pvehelm schema manifests: files that an editor can use."""

from __future__ import annotations

import json

from tests.release.lab import Lab


def test_schemas_are_written(lab: Lab) -> None:
    out = lab.folder / "schemas"
    shown = lab.run("schema", "manifests", "--out", str(out))
    assert "yaml-language-server" in shown.out
    every = json.loads((out / "manifests.json").read_text())
    for rule in every["allOf"]:
        assert (out / rule["then"]["$ref"]).is_file()
    older = lab.run("schema", "manifests", "--out", str(out / "8.4"), "--pve-version", "8.4")
    assert "schemas written" in older.out
    assert not (out / "8.4" / "HARule.json").exists()
    assert (out / "8.4" / "HAGroup.json").is_file()
