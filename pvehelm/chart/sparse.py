"""The sparse index: one small file a chart, for who wants to know about one chart only.

``sparse/index.json`` names the newest version of every chart and the SHA-256 of its file, and
``sparse/charts/NAME.json.gz`` lists its versions as ``index.yaml`` does. Relative urls are below the index's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pvehelm.chart.deflate import gzip

FOLDER = "sparse"


def sparse(index: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of an index (as :func:`pvehelm.chart.repo.collect` makes it) by path; the same bytes everywhere."""
    files = {}
    charts = {}
    for name, entries in index["entries"].items():
        data = gzip(_json({"apiVersion": "v1", "name": name, "versions": entries}))
        path = f"charts/{name}.json.gz"
        files[f"{FOLDER}/{path}"] = data
        charts[name] = {"version": entries[0]["version"], "file": path, "sha256": hashlib.sha256(data).hexdigest()}
    head = {"apiVersion": "v1", "generated": index["generated"], "charts": charts}
    if index.get("publicKeys"):
        head["publicKeys"] = index["publicKeys"]
    return {f"{FOLDER}/index.json": _json(head), **files}


def _json(data: Any) -> bytes:
    return (json.dumps(data, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode()
