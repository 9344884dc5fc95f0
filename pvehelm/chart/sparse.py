"""The sparse index: one small file a chart, for who wants to know about one chart only.

``sparse/index.json`` names the newest version of every chart and the SHA-256 of its file, and
``sparse/charts/NAME.json.gz`` lists its versions as ``index.yaml`` does. Relative urls are below the index's folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from pvehelm.chart.book import NAME
from pvehelm.chart.deflate import gzip
from pvehelm.chart.fetch import MAX_SMALL, Fetcher
from pvehelm.chart.files import gunzip
from pvehelm.chart.index import Entry, read
from pvehelm.errors import InvalidError, NotFoundError

FOLDER = "sparse"


def sparse(index: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of an index (as :func:`pvehelm.chart.repo.collect` makes it) by path; the same bytes everywhere."""
    files = {}
    charts: dict[str, Any] = {}
    for name, entries in index["entries"].items():
        if not entries or "version" not in entries[0]:
            continue
        data = gzip(_json({"apiVersion": "v1", "name": name, "versions": entries}))
        path = f"charts/{name}.json.gz"
        files[f"{FOLDER}/{path}"] = data
        charts[name] = {"version": entries[0]["version"], "file": path, "sha256": hashlib.sha256(data).hexdigest()}
    head = {"apiVersion": "v1", "generated": index["generated"], "charts": charts}
    if index.get("publicKeys"):
        head["publicKeys"] = index["publicKeys"]
    return {f"{FOLDER}/index.json": _json(head), **files}


def versions(fetcher: Fetcher, base: str, name: str) -> tuple[Entry, ...] | None:
    """The versions of a chart, newest first, from the repository at ``base``; None where it has no sparse index.

    Raises InvalidError for a file that is not what the index says, or does not hold what it should.
    """
    place = f"{base}/{FOLDER}/index.json"
    try:
        answer = fetcher.get(place, limit=MAX_SMALL, encoded=True)
    except NotFoundError:
        return None
    try:
        listed = json.loads(answer.body)["charts"]
        if not re.fullmatch(NAME, name) or name not in listed:
            return ()
        file = f"{base}/{FOLDER}/charts/{name}.json.gz"
        data = fetcher.get(file, limit=MAX_SMALL).body
        if hashlib.sha256(data).hexdigest() != listed[name]["sha256"]:
            raise InvalidError(f"{file} is not the file that {place} names", hint="ask the repository's owner")
        entries = json.loads(gunzip(data, 16 * MAX_SMALL))["versions"]
    except (ValueError, RecursionError, LookupError, TypeError, zlib.error) as error:
        raise InvalidError(f"{place} is no sparse index: {error}") from None
    whole = {"apiVersion": "v1", "entries": {name: entries}}
    return read(json.dumps(whole).encode(), url=base).entries.get(name, ())


def _json(data: Any) -> bytes:
    return (json.dumps(data, sort_keys=True, ensure_ascii=False, default=str) + "\n").encode()
