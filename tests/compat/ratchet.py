"""Writes ``ratchet.yaml``: which charts render byte for byte as Helm renders them, and which do not and why.

PVEHELM_HELM_CHARTS=... PVEHELM_HELM_VALUES=... python -m tests.compat.ratchet
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.compat.beside import charts, compared, digest, loaded, value_sets

FILE = Path(__file__).parent / "ratchet.yaml"
HEAD = """\
# Charts that were rendered beside Helm 4 in process (helm-python-sdk), file by file; value sets by the digest of their
# values. `same: true`: every file that Helm renders twice alike is ours byte for byte; `same: error`: both refuse.
# `not`: why it is not the same. Made by `python -m tests.compat.ratchet`; the charts are not kept here.
"""


def main() -> None:
    known: dict[str, Any] = {}
    for chart in charts():
        metadata = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
        sets: dict[str, Any] = {}
        ours = loaded(chart)
        done: dict[str, dict[str, Any]] = {}
        for name, values in value_sets(chart):
            key = digest(values)
            if key not in done:
                refused, different = compared(chart, ours, values)
                said = {"not": different[0].splitlines()[0][:200]} if different else {}
                done[key] = {"values": key, **(said or {"same": "error" if refused else True})}
            sets[name] = {**done[key]}
        known[chart.name] = {"version": str(metadata["version"]), "sets": sets}
        print(chart.name, len(sets), sum("not" in entry for entry in sets.values()), flush=True)
    text = yaml.safe_dump({"charts": known}, sort_keys=True, default_flow_style=None, width=120)
    FILE.write_text(HEAD + text, encoding="utf-8")


if __name__ == "__main__":
    main()
